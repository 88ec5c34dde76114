"""The same content gives the same records, however it is cut into batches, loads and crashes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import orjson
import pytest
from databases import fresh_database
from hypothesis import strategies as st
from logs import write

from components import contracts
from components.contracts import Batch, Cursor, Locator, Record, record_id
from components.pipeline import Pipeline
from components.settings import LoadSettings, Settings
from components.snapshot.verify import verify_dataset
from components.store import Store
from components.store.tables import RecordState, record_t


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        opened = Store(f"sqlite:///{tmp_path / 'runatlas.db'}", lease_ttl_s=60)
        yield opened
        opened.close()
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        opened = Store(url, lease_ttl_s=60)
        yield opened
        opened.close()


def settings(home: Path, **load: Any) -> Settings:
    return Settings(home=home, model="hash://16", load=LoadSettings(quiet_s=0, **load))


def ids(pipeline: Pipeline) -> set[str]:
    streamed = pipeline.store.records.stream(pipeline.dataset_id("default"), *RecordState)
    return {stored.record.id for batch in streamed for stored in batch}


def numbered(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"iteration": i, "idx": 0, "type": "user", "text": f"text {i}"} for i in range(start, start + n)]


def expected(items: Sequence[dict[str, Any]], key: str) -> set[str]:
    """What the specification says of a log whose records bear their own places."""
    seen: Counter[bytes] = Counter()
    found = set()
    for item in items:
        spelled = orjson.dumps(item)
        place = {"iteration": item["iteration"], "idx_in_iteration": item["idx"]}
        found.add(record_id(filename=key, type=item["type"], text=item["text"], occurrence=seen[spelled], **place))
        seen[spelled] += 1
    return found


def test_a_record_equal_to_one_of_an_earlier_batch_is_kept(tmp_path: Path) -> None:
    items = [*numbered(50), numbered(1)[0]]
    log = write(tmp_path / "logs" / "a.jsonl", items)
    with Pipeline(settings(tmp_path / "home", batch_records=50)) as pipeline:
        assert pipeline.load([log]).records.new == 51
        assert ids(pipeline) == expected(items, "a.jsonl")


items_st = st.lists(
    st.builds(
        lambda i, text: {"iteration": i, "idx": 0, "type": "user", "text": text},
        st.integers(0, 2),
        st.sampled_from("ab"),
    ),
    min_size=1,
    max_size=40,
)


@hypothesis.given(
    items=items_st, batch_records=st.integers(1, 9), cuts=st.lists(st.integers(0, 3_000), max_size=4), kill=st.data()
)
@hypothesis.settings(max_examples=12, deadline=None)
def test_ids_depend_on_content_alone(
    items: list[dict[str, Any]], batch_records: int, cuts: list[int], kill: st.DataObject
) -> None:
    """Any size of a batch, any places at which the log stood when it was loaded, any crash between two batches."""
    content = b"".join(orjson.dumps(item) + b"\n" for item in items)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "a.jsonl"
        with Pipeline(settings(Path(folder) / "home", batch_records=batch_records)) as pipeline:
            for cut in [*sorted(cut for cut in cuts if cut < len(content)), len(content)]:
                log.write_bytes(content[:cut])
                if kill.draw(st.booleans(), "crash first"):
                    load_and_die(pipeline, log, after=kill.draw(st.integers(1, 4), "batches"))
                pipeline.load([log])
            pipeline.load([log], verify=True)
            assert ids(pipeline) == expected(items, "a.jsonl")
            assert [check for check in pipeline.verify() if not check.ok] == []


class Died(BaseException):
    """The process ends here."""


def load_and_die(pipeline: Pipeline, log: Path, *, after: int) -> None:
    """A load that ends with its `after`-th transaction on the source."""
    writer = pipeline.store.writer
    persist, n_done = writer.persist, 0

    def persist_and_die(*args: Any, **options: Any) -> Any:
        nonlocal n_done
        kept = persist(*args, **options)
        n_done += 1
        if n_done == after:
            raise Died
        return kept

    writer.persist = persist_and_die  # type: ignore[method-assign]
    try:
        pipeline.load([log])
    except Died:
        pass
    finally:
        del writer.persist  # type: ignore[method-assign]


@pytest.mark.slow
def test_equal_records_beyond_a_hundred_thousand_are_verified(store: Store) -> None:
    n = 100_500
    _insert(store, [_record("tick", occurrence) for occurrence in range(n)])
    assert _ids_check(store) == []


def test_a_record_that_was_changed_is_found_among_its_equals(store: Store) -> None:
    _insert(store, [_record("tick", occurrence) for occurrence in range(20)])
    assert _ids_check(store) == []
    changed = record_t.update().where(record_t.c.id == _record("tick", 7).id).values(text="tock")
    with store.db.write() as connection:
        connection.execute(changed)
    (check,) = _ids_check(store)
    assert "was changed after it was loaded" in check


def test_the_hashing_of_equal_records_grows_with_their_number_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: hashing is what equal records cost."""
    hashed = 0

    def counted(**fields: Any) -> str:
        nonlocal hashed
        hashed += 1
        return record_id(**fields)

    monkeypatch.setattr(contracts, "record_id", counted)
    dataset_id, entry = _register(store)
    version, n = entry.version, 4_000
    for at in range(0, n, 500):
        version = store.writer.persist(
            dataset_id, entry, _batch([_record("tick")] * 500, offset=at + 1), generation=1, version=version
        ).version
    assert store.records.count(dataset_id, RecordState.WAITING) == n
    assert hashed < 2 * n
    hashed = 0
    assert _ids_check(store) == []
    assert hashed <= 2 * n


def _record(text: str, occurrence: int = 0) -> Record:
    place = {"filename": "a.jsonl", "iteration": 0, "idx_in_iteration": 0, "type": "user"}
    return Record(record_id(**place, text=text, occurrence=occurrence), None, text=text, **place)


def _batch(records: Sequence[Record], offset: int) -> Batch:
    return Batch(records=records, defects=[], cursor=Cursor(format="generic", offset=offset), size_bytes=offset)


def _register(store: Store) -> tuple[int, Any]:
    dataset_id = store.datasets.id("default", create=True)
    assert dataset_id is not None
    return dataset_id, store.ledger.register(dataset_id, Locator(location="/logs/a.jsonl", key="a.jsonl"))


def _insert(store: Store, records: Sequence[Record]) -> None:
    dataset_id, entry = _register(store)
    rows = [
        {
            **record._asdict(),
            "extra": "{}",
            "key": None,
            "dataset_id": dataset_id,
            "source_id": entry.source_id,
            "generation": 1,
        }
        for record in records
    ]
    with store.db.write() as connection:
        connection.execute(record_t.insert(), rows)


def _ids_check(store: Store) -> list[str]:
    dataset_id, _ = _register(store)
    checks = verify_dataset(store, "default", dataset_id, Path("/nonexistent"))
    return [check.detail for check in checks if "id follows" in check.name and not check.ok]
