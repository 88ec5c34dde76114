"""What `load --explain` shows: the format that each file was recognised as, and why the others declined it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from api.cli.report import counted, skipped_line
from components.contracts import Locator
from components.errors import SourceError
from components.load.report import printable
from components.settings import load_settings
from components.sources.files import FileSource
from components.sources.read_totals import shortfall
from components.wiring import open_source


def explanations(sources: Sequence[str], dataset: str, format: str | None) -> list[dict[str, Any]]:
    """One entry for each file or table, as `--json` prints it; nothing is loaded."""
    source = open_source(load_settings(), dataset, format=format)
    found = source.discover(sources)
    problems = [_unsupported(problem.source, problem.reason) for problem in found.problems]
    return [*problems, *(_explanation(source, locator) for locator in found.locators)]


def _explanation(source: FileSource, locator: Locator) -> dict[str, Any]:
    try:
        recognition = source.explain(locator)
        result = source.totals(locator)
    except SourceError as error:
        return _unsupported(locator.key, str(error))
    return {
        "source": locator.key,
        "format": recognition.format.name,
        "reason": recognition.reason,
        "declined": dict(recognition.declined),
        "records": result.n_records,
        "defects": result.n_defects,
        "skipped_by_rule": dict(result.skipped),
        "warning": shortfall(result, from_start=True),
    }


def _unsupported(source: str, reason: str) -> dict[str, Any]:
    return {"source": source, "format": None, "reason": reason}


def explain_lines(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One line for each file, then the details of those that have any."""
    for item in found:
        reason = item["reason"].partition("\n")[0]
        yield f"{printable(item['source'])}: {item['format'] or 'skipped'}: {printable(reason)}{_counts(item)}"
    for item in found:
        if details := list(_details(item)):
            yield f"\n{printable(item['source'])}"
            yield from (f"    {line}" for line in details)


def _counts(item: dict[str, Any]) -> str:
    if "records" not in item:
        return ""
    defects = f" and {counted(item['defects'], 'defect')}" if item["defects"] else ""
    return f"; gives {counted(item['records'], 'record')}{defects}"


def _details(item: dict[str, Any]) -> Iterator[str]:
    yield from (line.strip() for line in item["reason"].partition("\n")[2].splitlines())
    if item.get("warning"):
        yield f"Warning: {item['warning']}"
    if item.get("skipped_by_rule"):
        yield skipped_line(item["skipped_by_rule"])
    yield from (f"not {name}: {reason}" for name, reason in item.get("declined", {}).items())
