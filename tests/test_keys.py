"""Records with keys: one current record a key, versions, and who may bring an older one back; on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from databases import fresh_database, postgres_server

from components.contracts import Batch, Cursor, Locator, Record, keyed_record_id
from components.store import Store
from components.store.keyed import RecordPlace, write_keyed
from components.store.record_writer import Persisted
from components.store.tables import RecordState


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        opened = Store(f"sqlite:///{tmp_path / 'runatlas.db'}")
        yield opened
        opened.close()
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        opened = Store(url)
        yield opened
        opened.close()


def paper(key: str, text: str, filename: str = "1999.jsonl") -> Record:
    made = Record("", None, filename, text, 0, 0, "document", {"key": key}, key=key)
    return made._replace(id=keyed_record_id(made))


def read(store: Store, file: str, records: Sequence[Record], *, again: bool = False, of: int = 5_000) -> Persisted:
    """Persist the records of a file, `of` a transaction; `again`: the file is read from its start once more."""
    dataset_id = store.datasets.id("papers", create=True)
    assert dataset_id is not None
    entry = store.ledger.register(dataset_id, Locator(location=f"/data/{file}", key=file, root="/data"))
    generation = entry.generation + again or 1
    total = Persisted(new=0, existing=0, version=entry.version)
    for start in range(0, len(records), of):
        cursor = Cursor(format="corpus", offset=start + of)
        batch = Batch(records=records[start : start + of], defects=(), cursor=cursor, size_bytes=of)
        kept = store.writer.persist(dataset_id, entry, batch, generation=generation, version=total.version)
        total = replace(
            kept,
            new=total.new + kept.new,
            existing=total.existing + kept.existing,
            superseded=total.superseded + kept.superseded,
        )
    return total


def current(store: Store) -> dict[str, str]:
    """Key -> text of what would be indexed."""
    dataset_id = store.datasets.id("papers")
    assert dataset_id is not None
    batches = store.records.stream(dataset_id, RecordState.WAITING, RecordState.INDEXED)
    rows = [stored.record for batch in batches for stored in batch]
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row.text for row in rows}


def counts(kept: Persisted) -> tuple[int, int, int]:
    return kept.new, kept.existing, kept.superseded


def test_a_record_comes_back_by_its_key(store: Store) -> None:
    given = paper("astro-ph/9901001", "dust")
    read(store, "1999.jsonl", [given, paper("math/9901001", "rings")])
    stored = store.records.by_key(1, "astro-ph/9901001")
    assert stored is not None
    assert stored.record == given
    assert store.records.by_key(1, "9901001") is None


def test_records_with_equal_texts_are_told_apart_by_their_keys(store: Store) -> None:
    kept = read(store, "1999.jsonl", [paper("a", "the same"), paper("b", "the same")])
    assert counts(kept) == (2, 0, 0)
    assert current(store) == {"a": "the same", "b": "the same"}


@pytest.mark.parametrize("of", [1, 2, 5_000])
def test_other_content_under_a_key_is_a_new_version_however_a_file_is_cut(store: Store, of: int) -> None:
    texts = ["first", "first", "second", "third"]
    kept = read(store, "1999.jsonl", [paper("a", text) for text in texts] + [paper("b", "b")], of=of)
    assert counts(kept) == (4, 1, 2)
    assert current(store) == {"a": "third", "b": "b"}
    assert [(one.version, one.is_current) for one in store.records.versions(1, "a")] == [
        (3, True),
        (2, False),
        (1, False),
    ]


def test_records_keep_the_order_of_their_file(store: Store) -> None:
    keys = [f"k{n * 7919 % 50}" for n in range(50)]
    read(store, "1999.jsonl", [paper(key, f"text of {key}") for key in keys], of=20)
    assert list(current(store)) == keys


def test_a_record_that_stands_in_two_files_is_one_record(store: Store) -> None:
    read(store, "1999.jsonl", [paper("a", "same")])
    assert counts(read(store, "2000.jsonl", [paper("a", "same", "2000.jsonl")])) == (0, 1, 0)
    found = store.records.by_key(1, "a")
    assert found is not None
    assert found.record.filename == "1999.jsonl"


def test_an_older_file_that_is_read_again_does_not_undo_a_newer_one(store: Store) -> None:
    old, new = paper("a", "first"), paper("a", "second", "2000.jsonl")
    read(store, "1999.jsonl", [old])
    read(store, "2000.jsonl", [new])
    assert counts(read(store, "1999.jsonl", [old], again=True)) == (0, 1, 0)
    assert current(store) == {"a": "second"}


def test_a_file_may_take_its_own_change_back(store: Store) -> None:
    first, second = paper("a", "first"), paper("a", "second")
    read(store, "1999.jsonl", [first])
    read(store, "1999.jsonl", [second], again=True)
    assert counts(read(store, "1999.jsonl", [first], again=True)) == (0, 1, 1)
    assert current(store) == {"a": "first"}
    assert [one.version for one in store.records.versions(1, "a")] == [3, 2]


def test_a_file_with_several_versions_that_is_read_again_changes_nothing(store: Store) -> None:
    history = [paper("a", text) for text in ("first", "second", "third")]
    read(store, "1999.jsonl", history)
    before = store.records.versions(1, "a")
    assert counts(read(store, "1999.jsonl", history, again=True)) == (0, 3, 0)
    assert store.records.versions(1, "a") == before


def test_keys_with_odd_characters_are_keys_like_others(store: Store) -> None:
    keys = ["1999A&AS...5%2F..1C", "../../etc/passwd", "a?v=1#top", "9901.0010", "'; drop table record; --", "ключ"]
    read(store, "1999.jsonl", [paper(key, f"of {key}") for key in keys])
    for key in keys:
        found = store.records.by_key(1, key)
        assert found is not None
        assert found.record.text == f"of {key}"


def test_what_is_received_can_be_written_in_a_transaction_of_the_caller(store: Store) -> None:
    read(store, "receiver", [])
    dataset_id = store.datasets.id("papers")
    assert dataset_id is not None
    entry = store.ledger.register(dataset_id, Locator(location="receiver:papers", key="receiver"))
    place = RecordPlace(dataset_id=dataset_id, source_id=entry.source_id, generation=1)
    with store.db.write() as connection:
        first = write_keyed(connection, store.db, place, [paper("a", "early report", "receiver")])
    with store.db.write() as connection:
        later = write_keyed(connection, store.db, place, [paper("a", "later report", "receiver")])
    assert (first.new, later.new, later.superseded) == (1, 1, 1)
    assert current(store) == {"a": "later report"}
