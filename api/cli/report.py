"""Every report as the lines that a person reads. Counts that are zero are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components.contracts import IndexReport, LoadReport, Problem
from components.load.report import printable, problem_lines
from components.settings import DEFAULT_DATASET
from components.sources.read_totals import spelled

if TYPE_CHECKING:
    from api.cli.doctor import Finding
    from components.contracts import Check
    from components.dataset_sources import ListedSource, RemovedSources

map_changes: Final = {"fit": "Map created", "refit": "Map rebuilt", "transform": "Map updated"}


def counted(n: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "record"), counted(2_396, "record")
    ('1 record', '2,396 records')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def command_for(command: str, dataset: str) -> str:
    """The command line to type for this dataset.

    >>> command_for("index", "default"), command_for("index", "demo")
    ('`runatlas index`', '`runatlas index -d demo`')
    """
    return f"`runatlas {command}{'' if dataset == DEFAULT_DATASET else f' -d {dataset}'}`"


# --- load and index


def load_lines(report: LoadReport, *, next_step: bool = True) -> Iterator[str]:
    """What was loaded, what was not and why, and the next step, unless it follows anyway."""
    records = report.records
    existing = f", {records.existing:,} already loaded" if records.existing else ""
    read = f" ({report.bytes / 1e6:.1f} MB in {report.seconds:.1f} s)" if report.bytes else ""
    yield f'Dataset "{report.dataset}": {counted(records.new, "new record")}{existing}{read}.'
    if report.sources.discovered or report.sources.failed:
        yield _sources_line(report)
    yield from _explained_counts(report)
    if report.skipped_by_rule:
        yield skipped_line(report.skipped_by_rule)
    if report.redacted:
        yield f"Secrets redacted: {', '.join(f'{n:,} {kind}' for kind, n in report.redacted.items())}."
    yield from (f"  {line}" for line in problem_lines(report.problems))
    if report.sources.failed and any(not problem.known for problem in report.problems):
        yield "  Details: `runatlas load --explain SOURCE`"
    if not report.sources.discovered and not report.problems:
        yield "No sources. Name files or folders, for example `runatlas load ~/.claude/projects`."
    if records.unindexed and next_step:
        yield f"{counted(records.unindexed, 'record')} pending. Next: {command_for('index', report.dataset)}"


def _sources_line(report: LoadReport) -> str:
    s = report.sources
    counts = {
        "loaded": s.loaded,
        "resumed": s.resumed,
        "unchanged": s.skipped,
        "not ready": s.not_ready,
        "failed": s.failed,
        "gone": s.gone,
    }
    return f"Sources: {s.discovered:,} found{''.join(f', {n:,} {name}' for name, n in counts.items() if n)}."


def _explained_counts(report: LoadReport) -> Iterator[str]:
    """One line for each count that is not zero and not obvious."""
    s = report.sources
    if s.failed:
        yield f"Failed: {counted(s.failed, 'source')} could not be read: missing, damaged or in an unsupported format."
    if s.not_ready:
        yield f"Not ready: {counted(s.not_ready, 'source')} still being written; a later load reads the rest."
    if s.gone:
        yield f"Gone: {counted(s.gone, 'source')} not found any more; the records loaded from there stay."
    if report.defects:
        defects = counted(report.defects, "line or item").replace("line or items", "lines or items")
        yield f"Defects: {defects} could not be converted to records. Details: {command_for('defects', report.dataset)}"
    if n := report.records.superseded:
        yield f"Superseded: {counted(n, 'older record')} replaced or no longer in the source; the next index removes them from the map."


def skipped_line(skipped: Mapping[str, int]) -> str:
    """How many items were skipped, by rule."""
    return f"Skipped by rule: {spelled(skipped)}."


def index_lines(report: IndexReport, output: Path) -> Iterator[str]:
    """What was indexed, what happened to the map, and where the snapshot is."""
    name = report.dataset
    failed = f"Failed: {counted(report.failed, 'record')} could not be embedded. Details: {command_for('failed', name)}"
    if report.snapshot is None:
        yield f'Dataset "{name}" has no records to index; no snapshot was published.'
    elif report.step == "none" and not report.records:
        yield f'Dataset "{name}": no pending records. Snapshot {report.snapshot} holds all {counted(report.rows, "record")}.'
    else:
        texts = ", ".join(
            f"{n:,} {what}" for n, what in ((report.embedded, "embedded"), (report.reused, "reused")) if n
        )
        change = map_changes.get(report.step)
        yield (
            f'Dataset "{name}": {counted(report.records, "record")} indexed{f" ({texts})" if texts else ""}.'
            + (f" {change} (layout {report.layout})." if change else "")
        )
        yield f"Snapshot {report.snapshot}: {counted(report.rows, 'row')} in {output / 'current'} ({report.seconds.total:.1f} s)."
    if report.failed:
        yield failed
    if report.drift is not None and report.drift >= 0.005:
        rebuild = command_for("index --recompute", name)
        yield f"{report.drift:.0%} of the new records do not fit the map; consider {rebuild}"


# --- inspection


def status_lines(datasets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A block for each dataset."""
    if not datasets:
        yield "No datasets yet. `runatlas load PATH` creates the first one."
    for name, state in datasets.items():
        yield name
        for label, value in _status_rows(name, state):
            yield f"  {label:<9} {value}"


def _status_rows(name: str, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "records", f"{state['records']:,}"
    if n := state["unindexed"]:
        yield "pending", f"{n:,}. Next: {command_for('index', name)}"
    if n := state["failed"]:
        yield "failed", f"{counted(n, 'record')} could not be embedded. Details: {command_for('failed', name)}"
    if n := state["defects"]:
        yield "defects", f"{n:,} not converted to records. Details: {command_for('defects', name)}"
    if state["indexing"]:
        yield "indexing", "in progress"
    if state["snapshot"] is not None:
        yield "snapshot", f"{state['snapshot']} in {state['output']}"
    if state["layout"] is not None:
        drift = f", {state['drift']:.0%} of the new records do not fit it" if state["drift"] else ""
        yield "map", f"layout {state['layout']}{drift}"
    if state["model"]:
        yield "model", state["model"].partition(" ")[0]
    for n, source in enumerate(state["sources"]):
        yield ("" if n else "sources"), source


def source_lines(listed: Sequence[ListedSource], problems: Sequence[Problem]) -> Iterator[str]:
    """The sources of a dataset, then the files and tables that are not read."""
    yield from (f"{printable(one.source)}  ({one.origin})" for one in listed)
    if not listed:
        yield "No sources. `runatlas load PATH` loads one and remembers it."
    if problems:
        yield f"\n{len(problems):,} not read:"
        yield from (f"  {line}" for line in problem_lines(problems))


def removal_line(removed: RemovedSources, *, with_records: bool) -> str:
    """What was removed, and what happens to the records."""
    records = (
        f"the next `runatlas index` removes {counted(removed.records, 'record')} from the map"
        if with_records
        else "their records stay on the map"
    )
    files = "file or table" if removed.files == 1 else "files or tables"
    return f"Removed {', '.join(removed.sources)} ({removed.files:,} {files}); {records}."


def defect_lines(defects: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each defect, with its position."""
    for defect in defects:
        source, reason = printable(defect["source"]), printable(defect["reason"])
        yield f"{source} at {defect['offset']}: {reason}  {defect['excerpt'][:80]!r}"
    if not defects:
        yield "No defects."


def failure_lines(failures: Sequence[Mapping[str, Any]], dataset: str) -> Iterator[str]:
    """A line for each record that could not be embedded, and how to retry."""
    for failure in failures:
        filename, error = printable(failure["filename"]), printable(failure["error"])
        yield f"{failure['id']} {filename} ({counted(failure['attempts'], 'attempt')}): {error}"
    yield f"Retry: {command_for('index --retry-failed', dataset)}" if failures else "No failed records."


def record_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """The fields of a record, where its vector comes from, its versions, then its text."""
    for key in ("id", "filename", "timestamp", "iteration", "idx_in_iteration", "type"):
        yield f"{key:<17} {printable(str(record[key]))}"
    for key, value in record["extra"].items():
        yield f"{printable('extra.' + key):<17} {printable(str(value))}"
    if vector := record["vector"]:
        yield f"{'vector':<17} {vector['dim']} dimensions, {printable(vector['model'])}"
        yield f"{'text_hash':<17} {vector['text_hash']}"
    for one in record["versions"]:
        yield f"{'version':<17} {one['version']}, id {one['id']}{' (current)' if one['is_current'] else ''}"
    yield f"\n{record['text']}"


def check_lines(checks: Sequence[Check | Finding]) -> Iterator[str]:
    """A line for each check of `verify` or `doctor`: its result, its name, details."""
    for check in checks:
        yield f"{'ok    ' if check.ok else 'FAILED'} {check.name}{': ' + check.detail if check.detail else ''}"
