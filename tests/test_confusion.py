"""Which formats take which logs: exactly one takes each, whether ours or another reader's."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from reading import CORPUS, golden_logs, verdicts
from shelf import QUIET

from components.errors import NotReady, SourceError
from components.sources.files import FileSource
from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Options, Turns, accept
from components.sources.recognition.evidence import evidence

MORE = CORPUS / "agent-logs-more"
FOLDERS = {  # folder of samples -> formats
    "aider": {"aider"},
    "antigravity": {"antigravity"},
    "cline_sdk": {"cline"},
    "copilot_cli": {"copilot_cli"},
    "cursor_agent": {"cursor"},
    "cursor_vscdb": {"cursor_ide"},
    "droid": {"droid"},
    "grok_build": {"grok_build"},
    "iflow": {"iflow"},
    "kimi_code": {"kimi_code"},
    "opencode": {"opencode"},
    "qwen_code": {"qwen_code"},
}
NO_LOGS = {"antigravity/small.md", "cursor_agent/test-store.db", "grok_build/summary.json", "MANIFEST.json"}


def takers(log: Path) -> list[str]:
    return sorted({row.name for row, verdict in verdicts(FORMATS, log) if verdict.accepted})


@pytest.mark.parametrize("log", golden_logs(), ids=lambda log: f"{log.parent.name}-{log.name}")
def test_exactly_one_format_takes_a_log(log: Path) -> None:
    assert len(takers(log)) == 1


def test_a_dialect_in_which_a_format_finds_nothing_is_not_its_own() -> None:
    strange = [{"type": "user", "uuid": f"u{n}", "sessionId": "s", "message": {"body": "words"}} for n in range(3)]
    claude = next(row for row in FORMATS if row.name == "claude_code")
    assert claude.recognises(Head(name="a.jsonl", shape="lines", lines=strange)).accepted
    assert "finds something to read in 0 only" in evidence(claude, strange, Options()).objection
    own = [{**line, "message": {"content": "words"}} for line in strange]
    assert not evidence(claude, [*own, *strange], Options()).objection


def test_a_reader_that_raises_has_not_understood() -> None:
    class Raises:
        def read(self, _: object) -> list[object]:
            raise ValueError("odd")

        def state(self) -> None:
            return None

    row = Format(name="x", shape="lines", recognises=lambda _: accept("all"), reader=lambda *_: Raises())  # type: ignore[arg-type,return-value]
    assert evidence(row, [{}] * 3, Options()).objection
    assert Turns().iteration == 0


# --- real files ------------------------------------------------------------------------------------------------------


def readings(folder: Path) -> dict[str, tuple[str, Counter[str]]]:
    """What a load of the folder makes of each source: its format, and how many records of each type."""
    source = FileSource(QUIET)
    found: dict[str, tuple[str, Counter[str]]] = {}
    for locator in source.discover([str(folder)]).locators:
        name, types = "", Counter[str]()
        with suppress(NotReady):
            try:
                for batch in source.read(locator, None):
                    name = batch.cursor.format
                    types.update(record.type for record in batch.records)
                    assert not batch.defects, locator.key
            except SourceError:
                name = "refused"
        found[locator.key] = (name, types)
    return found


@pytest.mark.corpus
@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_sample_is_recognised_as_its_folder_says(folder: str) -> None:
    if not MORE.exists():
        pytest.skip("no shared data here")
    for key, (name, types) in readings(MORE / folder).items():
        if f"{folder}/{key}" in NO_LOGS:
            assert name == "refused"
        else:
            assert name in FOLDERS[folder], key
            assert types, key


@pytest.mark.corpus
def test_every_item_of_the_samples_is_accounted_for() -> None:
    if not MORE.exists():
        pytest.skip("no shared data here")
    unknown: Counter[str] = Counter()
    source = FileSource(QUIET)
    for locator in source.discover([str(MORE / folder) for folder in FOLDERS]).locators:
        with suppress(NotReady, SourceError):
            for batch in source.read(locator, None):
                unknown[locator.key] += batch.n_unknown
    assert +unknown == Counter()


@pytest.mark.corpus
def test_calls_and_results_of_a_sample_are_read_once_each() -> None:
    if not MORE.exists():
        pytest.skip("no shared data here")
    (iflow,) = (types for _, types in readings(MORE / "iflow").values())
    assert (iflow["tool_call"], iflow["tool_result"], iflow["assistant"]) == (6, 6, 3)
    qwen = readings(MORE / "qwen_code")
    assert sum((types for _, types in qwen.values()), Counter[str]())["user"] == 4
    aider = readings(MORE / "aider")["chat-history-first.md"][1]
    raw = (MORE / "aider" / "chat-history-first.md").read_text()
    turns = sum(
        line.startswith("#### ") and not before.startswith("#### ")
        for before, line in zip(["", *raw.split("\n")], raw.split("\n"), strict=False)
    )
    assert aider["user"] == turns


@pytest.mark.corpus
def test_no_new_format_takes_what_is_no_log() -> None:
    if not CORPUS.exists():
        pytest.skip("no shared data here")
    names = set[str]().union(*FOLDERS.values(), {"goose", "chatgpt", "vscode_copilot", "amp", "cline_api"})
    new = [row for row in FORMATS if row.name in names]
    folders = [CORPUS / "agent-logs" / "negatives", CORPUS / "papers", CORPUS / "csv"]
    files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    small = [path for path in files if path.stat().st_size < 30 << 20]
    assert [path.name for path in small if any(verdict.accepted for _, verdict in verdicts(new, path))] == []
