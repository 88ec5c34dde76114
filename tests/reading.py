"""What the tests of formats share: heads of files, what a row of the table makes of an item, and golden files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st

from components.contracts import Defect, Event, Skipped
from components.sources.formats import FORMATS
from components.sources.formats.contract import Format, Head, Options, Read, Shape, Verdict
from components.sources.lines import grouped
from components.sources.lines import lines as split

DATA = Path(__file__).parent / "data"
CORPUS = Path(__file__).parents[1].parent / "shared" / "data"


def heads(path: Path) -> list[Head]:
    """The heads that recognition may see of a file: as one document, as lines, or both."""
    raw = path.read_bytes()
    found = []
    with suppress(orjson.JSONDecodeError):
        found.append(Head(name=path.name, shape="document", document=orjson.loads(raw)))
    if lines := parsed_lines(raw)[:60]:
        found.append(Head(name=path.name, shape="lines", lines=lines))
    if path.suffix == ".md":
        found.append(Head(name=path.name, shape="text", text=raw.decode()))
    return found


def text_items(row: Format, raw: bytes) -> list[str]:
    """The items of a text, as its format parts them."""
    assert row.unit_of is not None
    assert row.grouping is not None
    closes = row.grouping(row.unit_of(raw.decode()))
    pieces = grouped(split(iter([raw]), 0, 1 << 20), closes, at_blank_line=False, max_bytes=1 << 20)
    return [text for piece in pieces if (text := piece.data.decode().strip("\r\n"))]


def parsed_lines(raw: bytes) -> list[Any]:
    lines = []
    for line in raw.splitlines():
        try:
            lines.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return lines


def verdicts(rows: Iterable[Format], path: Path) -> list[tuple[Format, Verdict]]:
    return [(row, row.recognises(head)) for row in rows for head in heads(path) if row.shape == head.shape]


def taker(rows: Iterable[Format], path: Path) -> Format | None:
    return next((row for row, verdict in verdicts(rows, path) if verdict.accepted), None)


def row_of(rows: Iterable[Format], shape: Shape) -> Format:
    return next(row for row in rows if row.shape == shape)


def reads(row: Format, item: Any, options: Options | None = None) -> list[Read]:
    """All that a row makes of a document, or of a list of lines."""
    options = options or Options()
    if row.shape in ("lines", "text"):
        assert row.reader is not None
        reader = row.reader(None, options)
        return [found for line in item for found in reader.read(line)]
    assert row.read is not None
    return list(row.read(item, options))


def reads_file(rows: Sequence[Format], path: Path, options: Options | None = None) -> list[Read]:
    row = taker(rows, path)
    assert row is not None, f"no format takes {path.name}"
    raw = path.read_bytes()
    if row.shape == "text":
        return reads(row, text_items(row, raw), options)
    return reads(row, parsed_lines(raw) if row.shape == "lines" else orjson.loads(raw), options)


def events(found: Iterable[Read]) -> list[Event]:
    return [read for read in found if isinstance(read, Event)]


def rules(found: Iterable[Read]) -> Counter[str]:
    return Counter(read.rule for read in found if isinstance(read, Skipped))


def defects(found: Iterable[Read]) -> list[Defect]:
    return [read for read in found if isinstance(read, Defect)]


def as_json(found: Iterable[Read]) -> list[dict[str, Any]]:
    """Reads as a golden file holds them."""
    listed: list[dict[str, Any]] = []
    for read in found:
        if isinstance(read, Skipped):
            listed.append({"skipped": read.rule})
        elif isinstance(read, Defect):
            listed.append({"defect": read.reason})
        else:
            when = read.timestamp.isoformat() if read.timestamp else None
            place = [read.run, read.iteration, read.idx_in_iteration]
            listed.append(
                {"place": place, "type": read.type, "text": read.text, "time": when, "extra": dict(read.extra)}
            )
    return listed


def golden_logs() -> list[Path]:
    """Every log under tests/data; beside it lies `<name>.expected.json`, what it has to become."""
    return [path for path in sorted(DATA.glob("*/*")) if ".expected." not in path.name]


def rows_of(module: str) -> list[Format]:
    """The rows that a module of formats has in the table."""
    return [row for row in FORMATS if row.recognises.__module__ == f"components.sources.formats.{module}"]


def check_golden(log: Path) -> None:
    """The log is recognised as the format that its folder is named after, and becomes the expected records."""
    row = taker(FORMATS, log)
    assert row in rows_of(log.parent.name)
    found = reads_file(FORMATS, log)
    expected = json.loads(log.with_name(log.name + ".expected.json").read_text("utf-8"))
    assert json.loads(json.dumps(as_json(found))) == expected


def check_resumable(row: Format, items: Sequence[Any]) -> None:
    """Reading on from a state, taken after any line, gives what reading through gives."""
    assert row.reader is not None
    whole = reads(row, items)
    for cut in range(len(items) + 1):
        first = row.reader(None, Options())
        found = [read for item in items[:cut] for read in first.read(item)]
        second = row.reader(orjson.loads(orjson.dumps(first.state())), Options())
        assert found + [read for item in items[cut:] for read in second.read(item)] == whole, cut


def check_positions(found: Iterable[Read]) -> None:
    """Positions are unique within a run, idx counts from 0 without a gap, no text is blank."""
    last: dict[tuple[str, int], int] = {}
    for event in events(found):
        assert event.text.strip()
        key = (event.run, event.iteration)
        assert event.idx_in_iteration == last.get(key, -1) + 1, key
        last[key] = event.idx_in_iteration


def corpus(*folders: str) -> list[Path]:
    """The real files of these folders; skips the test where there are none."""
    if not CORPUS.exists():
        pytest.skip("no shared data here")
    return [path for folder in folders for path in sorted((CORPUS / folder).glob("*")) if path.is_file()]


def strangers(*own: str) -> Iterator[Path]:
    """Every real file that is not of these folders: other formats, negatives, papers, tables."""
    for path in corpus(*(f"agent-logs/{folder.name}" for folder in sorted((CORPUS / "agent-logs").glob("*/")))):
        if path.parent.name not in own:
            yield path
    yield from corpus("papers", "csv")


def read_whole(name: str, path: Path) -> list[Read]:
    """All of a real file, which has to be recognised as format `name`, without defects and with every position right."""
    row = taker(FORMATS, path)
    assert row is not None, path.name
    assert row.name == name, path.name
    found = reads_file(FORMATS, path)
    check_positions(found)
    assert not defects(found), path.name
    return found


def taken_of_others(rows: Sequence[Format], *own: str) -> list[Path]:
    """Real files that are not of these folders and yet are taken by these rows: none, if all is well."""
    return [path.relative_to(CORPUS) for path in strangers(*own) if taker(rows, path)]


@cache
def json_values(*keys: str) -> st.SearchStrategy[Any]:
    """Arbitrary JSON whose objects like the given keys, so that a reader is led deep into its cases."""
    texts = st.one_of(st.text(max_size=12), st.sampled_from(keys), st.just("{}"), st.just("[1"), st.just("\ud800"))
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64), st.floats(), texts, st.just("1740000000000000000")
    )
    names = st.one_of(st.sampled_from(keys), st.text(max_size=6))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=6)),
        max_leaves=25,
    )
