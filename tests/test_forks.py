"""Sessions that begin with a copy of another one: what is copied counts once, in whichever order the files come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from databases import fresh_database, postgres_server
from reading import events, reads, row_of
from shelf import jsonl

from components.contracts import COPIED_FROM
from components.pipeline import Pipeline
from components.settings import DatasetSettings, LoadSettings, Settings
from components.sources.formats import claude_code, codex, pi
from components.sources.read_totals import COPIED_RULE

P, F, G = (f"019e0000-{letter * 4}-7000-8000-000000000001" for letter in "abc")
Opened = Callable[..., Pipeline]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    pipelines: list[Pipeline] = []

    def one(home: str = "home", **settings: Any) -> Pipeline:
        load = LoadSettings(quiet_s=0, **settings.pop("load", {}))
        pipelines.append(Pipeline(Settings(home=tmp_path / home, model="hash://32", load=load, **settings)))
        return pipelines[-1]

    yield one
    for pipeline in pipelines:
        pipeline.close()


def line(at: str, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": f"2026-03-01T{at}Z", "type": kind, "payload": payload}


def meta(at: str, id: str, **more: Any) -> dict[str, Any]:
    return line(at, "session_meta", {"id": id, "cwd": "/w", "base_instructions": {"text": "Be brief."}, **more})


def said(at: str, role: str, text: str) -> dict[str, Any]:
    return line(
        at, "response_item", {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
    )


def turns(at: str, *texts: str) -> list[dict[str, Any]]:
    return [said(at, "assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]


PARENT = [
    meta("08:00:00", P),
    *turns("08:00:05", "How tall is it?", "Nine metres."),
    *turns("09:00:00", "And wide?", "Two."),
]
FORK = [
    meta("10:00:00", F, forked_from_id=P),
    meta("10:00:00", P),
    *turns("10:00:00.1", "How tall is it?", "Nine metres."),
    *turns("10:01:00", "And deep?", "Five."),
]
GRANDCHILD = [
    meta("11:00:00", G, forked_from_id=F),
    meta("11:00:00", F, forked_from_id=P),
    meta("11:00:00", P),
    *turns("11:00:00.1", "How tall is it?", "Nine metres."),
    *turns("11:00:00.2", "And deep?", "Five."),
    *turns("11:02:00", "And old?", "A century."),
]
SIBLING = [
    meta("12:00:00", G, forked_from_id=P),
    meta("12:00:00", P),
    *turns("12:00:00.1", "How tall is it?", "Nine metres."),
    *turns("12:01:00", "And heavy?", "Very."),
]


def file(folder: Path, id: str, lines: list[dict[str, Any]]) -> Path:
    path = folder / f"rollout-2026-03-01T00-00-00-{id}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(jsonl(*lines))
    return path


def kept(pipeline: Pipeline) -> list[tuple[str, str]]:
    """Session and text of all records that are not superseded, sorted."""
    number = pipeline.store.datasets.id("default")
    assert number is not None
    from components.store.tables import RecordState

    states = (RecordState.WAITING, RecordState.INDEXED)
    found = [stored.record for batch in pipeline.store.records.stream(number, *states) for stored in batch]
    return sorted((record.extra["session_id"], record.text) for record in found)


def of(session: str, *texts: str) -> list[tuple[str, str]]:
    return [(session, text) for text in ("Be brief.", *texts)]


OF_PARENT = of(P, "How tall is it?", "Nine metres.", "And wide?", "Two.")
OF_FORK = of(F, "And deep?", "Five.")


def texts(pipeline: Pipeline) -> list[str]:
    return sorted(text for _, text in kept(pipeline))


# --- formats name what is copied ---------------------------------------------------------------------------------------


def test_a_codex_fork_bears_its_own_id_and_marks_what_it_repeats() -> None:
    found = events(reads(codex.ROWS[0], FORK))
    assert {event.extra["session_id"] for event in found} == {F}
    marked = [event.text for event in found if event.extra.get(COPIED_FROM) == P]
    assert marked == ["Be brief.", "How tall is it?", "Nine metres."]
    assert [event.text for event in found if COPIED_FROM not in event.extra] == ["Be brief.", "And deep?", "Five."]


def test_an_older_codex_fork_is_known_by_the_second_session_line() -> None:
    found = events(reads(codex.ROWS[0], [meta("10:00:00", F), *FORK[1:]]))
    assert [event.text for event in found if COPIED_FROM in event.extra] == [
        "Be brief.",
        "How tall is it?",
        "Nine metres.",
    ]


def test_a_codex_session_that_is_no_fork_marks_nothing() -> None:
    assert not any(COPIED_FROM in event.extra for event in events(reads(codex.ROWS[0], PARENT)))


def test_a_codex_reader_resumed_within_the_copy_goes_on_marking() -> None:
    whole = events(reads(codex.ROWS[0], FORK))
    for cut in range(len(FORK)):
        first = codex.Reader(None, None)  # type: ignore[arg-type]
        found = [read for item in FORK[:cut] for read in first.read(item)]
        second = codex.Reader(first.state(), None)  # type: ignore[arg-type]
        assert events(found + [read for item in FORK[cut:] for read in second.read(item)]) == whole


def claude(session: str, uuid: str, text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"type": "user", "uuid": uuid, "sessionId": session, "isSidechain": False, "message": message, **more}


def test_a_claude_code_branch_marks_the_lines_that_name_their_origin() -> None:
    origin = {"sessionId": P, "messageUuid": "u1"}
    found = events(
        reads(row_of(claude_code.ROWS, "lines"), [claude(F, "u1", "a", forkedFrom=origin), claude(F, "u2", "b")])
    )
    assert [event.extra.get(COPIED_FROM) for event in found] == [P, None]


def entry(at: str, text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": text,
        "timestamp": f"2026-03-01T{at}Z",
        "message": {"role": "user", "content": text},
    }


def test_a_branched_pi_session_marks_the_entries_that_are_older_than_itself() -> None:
    header = {"type": "session", "version": 3, "id": F, "timestamp": "2026-03-01T10:00:00Z", "cwd": "/w"}
    header["parentSession"] = f"/home/a/sessions/2026-03-01T08-00-00_{P}.jsonl"
    found = events(reads(pi.ROWS[0], [header, entry("08:00:00", "a"), entry("10:00:01", "b")]))
    assert [event.extra.get(COPIED_FROM) for event in found] == [P, None]


# --- a copy counts once ------------------------------------------------------------------------------------------------


def test_what_a_fork_repeats_is_left_out_by_a_counted_rule(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened()
    file(tmp_path / "logs", P, PARENT)
    file(tmp_path / "logs", F, FORK)
    report = pipeline.load([tmp_path / "logs"])
    assert (report.records.new, report.skipped_by_rule[COPIED_RULE], report.problems) == (8, 3, [])
    assert kept(pipeline) == sorted(OF_PARENT + OF_FORK)


def test_without_its_parent_a_fork_keeps_the_history(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened()
    report = pipeline.load([file(tmp_path / "logs", F, FORK)])
    assert (report.records.new, report.skipped_by_rule) == (6, {})
    assert {session for session, _ in kept(pipeline)} == {F}


@pytest.mark.parametrize("order", list(permutations("PFG")))
def test_the_order_in_which_a_family_is_loaded_makes_no_difference(
    opened: Opened, tmp_path: Path, order: tuple[str, ...]
) -> None:
    logs = {"P": (P, PARENT), "F": (F, FORK), "G": (G, GRANDCHILD)}
    pipeline = opened()
    for name in order:
        pipeline.load([file(tmp_path / "logs", *logs[name])])
    assert kept(pipeline) == sorted(OF_PARENT + OF_FORK + of(G, "And old?", "A century."))
    assert pipeline.load().records.superseded == 0  # settled


@pytest.mark.parametrize("order", [(F, G), (G, F)])
def test_of_two_forks_without_their_parent_one_keeps_the_history(
    opened: Opened, tmp_path: Path, order: tuple[str, ...]
) -> None:
    pipeline, logs = opened(), {F: FORK, G: SIBLING}
    for name in order:
        pipeline.load([file(tmp_path / "logs", name, logs[name])])
    assert texts(pipeline).count("How tall is it?") == 1
    pipeline.load([file(tmp_path / "logs", P, PARENT)])
    assert [session for session, text in kept(pipeline) if text == "How tall is it?"] == [P]


def test_a_parent_that_appears_later_takes_its_history_over_on_the_map_too(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened()
    pipeline.load([file(tmp_path / "logs", F, FORK)])
    pipeline.index()
    report = pipeline.load([file(tmp_path / "logs", P, PARENT)])
    assert (report.records.new, report.records.superseded) == (5, 3)
    assert pipeline.index().rows == 8
    assert [check for check in pipeline.verify() if not check.ok] == []


def test_a_fork_that_is_read_again_from_its_start_repeats_nothing(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened()
    log = file(tmp_path / "logs", F, FORK)
    pipeline.load([log])
    pipeline.load([file(tmp_path / "logs", P, PARENT)])
    before = kept(pipeline)
    log.write_bytes(b" " + log.read_bytes())  # rewritten: another generation
    report = pipeline.load()
    assert (report.records.new, report.records.existing) == (0, 3)
    assert kept(pipeline) == before


def test_a_load_that_died_before_its_end_is_settled_by_the_next(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened()

    def die(_step: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    for id, lines in ((F, FORK), (P, PARENT)):
        with pytest.raises(KeyboardInterrupt):
            pipeline.load([file(tmp_path / "logs", id, lines)], progress=die)
    assert texts(pipeline).count("How tall is it?") == 2
    assert pipeline.load().records.superseded == 3
    assert texts(pipeline).count("How tall is it?") == 1


@pytest.mark.parametrize("size", [1, 2, 1_000])
def test_what_counts_does_not_depend_on_the_size_of_a_batch(opened: Opened, tmp_path: Path, size: int) -> None:
    pipeline = opened(load={"batch_records": size})
    file(tmp_path / "logs", P, PARENT)
    file(tmp_path / "logs", F, FORK)
    report = pipeline.load([tmp_path / "logs"])
    assert (report.records.new, report.skipped_by_rule[COPIED_RULE]) == (8, 3)


def test_new_items_of_a_fork_with_texts_of_the_parent_are_kept(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened()
    file(tmp_path / "logs", P, PARENT)
    file(tmp_path / "logs", F, [*FORK[:4], *turns("10:01:00", "And wide?", "Two.")])
    pipeline.load([tmp_path / "logs"])
    assert texts(pipeline).count("And wide?") == 2


def test_the_whole_history_is_kept_where_the_dataset_asks_for_it(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened(datasets={"default": DatasetSettings(history="all")})
    file(tmp_path / "logs", P, PARENT)
    file(tmp_path / "logs", F, FORK)
    assert pipeline.load([tmp_path / "logs"]).records.new == 11


def test_a_claude_code_branch_counts_once(opened: Opened, tmp_path: Path) -> None:
    pipeline = opened()
    (tmp_path / f"{P}.jsonl").write_bytes(jsonl(claude(P, "u1", "Open the gate"), claude(P, "u2", "Close it")))
    origin = {"sessionId": P, "messageUuid": "u1"}
    branch = [claude(F, "u1", "Open the gate", forkedFrom=origin), claude(F, "u3", "Paint it")]
    (tmp_path / f"{F}.jsonl").write_bytes(jsonl(*branch))
    report = pipeline.load([tmp_path / f"{F}.jsonl", tmp_path / f"{P}.jsonl"])
    assert kept(pipeline) == sorted([(P, "Open the gate"), (P, "Close it"), (F, "Paint it")])
    assert report.records.new - report.records.superseded == 3


def test_sessions_read_before_the_upgrade_are_known_as_parents(opened: Opened, tmp_path: Path) -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from components.store.migrate import migrations
    from components.store.sessions import session_t

    pipeline = opened()
    pipeline.load([file(tmp_path / "logs", P, PARENT)])
    (path,) = (migrations / "versions").glob("*_sessions.py")
    spec = spec_from_file_location("migration", path)
    assert spec is not None
    assert spec.loader is not None
    migration = module_from_spec(spec)
    spec.loader.exec_module(migration)
    with pipeline.store.db.write() as connection:
        connection.execute(session_t.delete())
        with Operations.context(MigrationContext.configure(connection)):
            migration._fill(session_t)
    report = pipeline.load([file(tmp_path / "logs", F, FORK)])
    assert (report.records.new, report.skipped_by_rule) == (3, {COPIED_RULE: 3})


@pytest.mark.slow
def test_on_postgresql_a_parent_that_appears_later_takes_its_history_over(opened: Opened, tmp_path: Path) -> None:
    with postgres_server() as server, fresh_database(server) as url:
        pipeline = opened(database_url=url)
        pipeline.load([file(tmp_path / "logs", F, FORK)])
        report = pipeline.load([file(tmp_path / "logs", P, PARENT)])
        assert (report.records.new, report.records.superseded) == (5, 3)
        assert pipeline.load([file(tmp_path / "logs", G, SIBLING)]).skipped_by_rule == {COPIED_RULE: 3}
        pipeline.close()


def test_a_session_with_an_odd_id_is_loaded_and_not_compared(opened: Opened, tmp_path: Path) -> None:
    pipeline, odd = opened(), 'x"%\x00' + "y" * 5_000
    origin = {"sessionId": odd, "messageUuid": "u1"}
    (tmp_path / "a.jsonl").write_bytes(jsonl(claude(odd, "u1", "Open the gate")))
    (tmp_path / "b.jsonl").write_bytes(jsonl(claude(F, "u1", "Open the gate", forkedFrom=origin)))
    assert pipeline.load([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]).records.new == 2
