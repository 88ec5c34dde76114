"""What a person sees of a run in the Prefect UI: live progress, the report as a table, the map with what is new."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from components.contracts import IndexReport, IndexSeconds, LoadReport, RecordCounts, SourceCounts, Step
from components.load.report import problem_lines
from components.sources.read_totals import bounded

Row = dict[str, str]
told_problems = 50  # nobody reads a longer table
by_reach: Sequence[Step] = ("none", "transform", "fit", "refit")


def artifact_key(kind: str, dataset: str) -> str:
    """The key under which the UI keeps the history of this artifact: lower case, digits and dashes alone.

    >>> artifact_key("load", "runs"), artifact_key("load", "Runs.v2")
    ('load-runs', 'load-runs-v2-db738f')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    if plain != dataset:
        plain = f"{plain}-{hashlib.sha256(dataset.encode()).hexdigest()[:6]}".strip("-")
    return f"{kind}-{plain}"


# --- reports ---------------------------------------------------------------------------------------------------


def load_rows(report: LoadReport) -> list[Row]:
    """What a load did, a figure a row, and then its problems."""
    rows = [_row(f"sources {name}", n) for name, n in _counts(report.sources) if n]
    rows += [_row(f"records {name.replace('existing', 'already there')}", n) for name, n in _counts(report.records)]
    rows += [
        _row("defects", report.defects),
        *(_row(f"redacted: {kind}", n) for kind, n in report.redacted.items()),
        _row("bytes", report.bytes),
        {"what": "seconds", "is": f"{report.seconds:.1f}"},
    ]
    rows += [_row(f"left out: {rule}", n) for rule, n in report.skipped_by_rule.items()]
    lines = list(problem_lines(report.problems))
    rows += [{"what": "problem", "is": line} for line in lines[:told_problems]]
    if len(lines) > told_problems:
        rows.append(_row("further problems", len(lines) - told_problems))
    return rows


def index_rows(report: IndexReport) -> list[Row]:
    """What an index did, a figure a row."""
    drift = "-" if report.drift is None else f"{100 * report.drift:.1f} %"
    return [
        _row("records that waited", report.records),
        _row("texts embedded", report.embedded),
        _row("texts that had a vector already", report.reused),
        _row("texts longer than the model's window", report.shortened),
        _row("records that could not be embedded", report.failed),
        {"what": "placed by", "is": report.step},
        {"what": "layout", "is": _or_dash(report.layout)},
        {"what": "new records off the map", "is": drift},
        {"what": "snapshot", "is": _or_dash(report.snapshot)},
        _row("records on the map", report.rows),
        *({"what": f"seconds, {name}", "is": f"{n:.1f}"} for name, n in _counts(report.seconds)),
    ]


def load_line(report: LoadReport) -> str:
    """A load in one sentence."""
    sources, records = report.sources, report.records
    return (
        f"{report.dataset}: {records.new:,} new records from {sources.loaded + sources.resumed:,} of "
        f"{sources.discovered:,} sources in {report.seconds:.1f} s; {sources.not_ready:,} not ready, "
        f"{sources.failed:,} failed, {report.defects:,} defects; {records.unindexed:,} records wait for an index."
    )


def index_line(report: IndexReport) -> str:
    """An index in one sentence."""
    return (
        f"{report.dataset}: {report.records:,} records waited, {report.embedded:,} texts embedded, {report.reused:,} reused, "
        f"{report.failed:,} failed ({report.step}); snapshot {_or_dash(report.snapshot)} holds {report.rows:,} "
        f"records after {report.seconds.total:.1f} s."
    )


def total_load(reports: Sequence[LoadReport]) -> LoadReport:
    """One report of several datasets, everything added up; its dataset is `*`."""
    return LoadReport(
        dataset="*",
        sources=SourceCounts(**_sums([report.sources for report in reports], SourceCounts)),
        records=RecordCounts(**_sums([report.records for report in reports], RecordCounts)),
        defects=sum(report.defects for report in reports),
        bytes=sum(report.bytes for report in reports),
        seconds=round(sum(report.seconds for report in reports), 3),
        problems=[problem for report in reports for problem in report.problems],
        skipped_by_rule=bounded(sum((Counter(report.skipped_by_rule) for report in reports), Counter[str]())),
        redacted=dict(sum((Counter(report.redacted) for report in reports), Counter[str]()).most_common()),
        redacted_by_source={
            f"{report.dataset}: {source}": kinds
            for report in reports
            for source, kinds in report.redacted_by_source.items()
        },
    )


def total_index(reports: Sequence[IndexReport]) -> IndexReport:
    """One report of several datasets: figures added up, the furthest step, the largest drift; its dataset is `*`."""
    return IndexReport(
        dataset="*",
        records=sum(report.records for report in reports),
        embedded=sum(report.embedded for report in reports),
        reused=sum(report.reused for report in reports),
        failed=sum(report.failed for report in reports),
        step=max((report.step for report in reports), key=by_reach.index, default="none"),
        layout=None,
        drift=max((report.drift for report in reports if report.drift is not None), default=None),
        snapshot=None,
        rows=sum(report.rows for report in reports),
        seconds=IndexSeconds(**_sums([report.seconds for report in reports], IndexSeconds)),
        shortened=sum(report.shortened for report in reports),
    )


def _counts(value: Any) -> list[tuple[str, Any]]:
    return [(field.name.replace("_", " "), getattr(value, field.name)) for field in fields(value)]


def _sums(values: Sequence[Any], kind: Any) -> dict[str, Any]:
    return {field.name: sum(getattr(value, field.name) for value in values) for field in fields(kind)}


def _row(what: str, n: int) -> Row:
    return {"what": what, "is": f"{n:,}"}


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


# --- artifacts -------------------------------------------------------------------------------------------------
#
# The Prefect UI renders descriptions, table cells and Markdown artifacts as Markdown, HTML included. File names, keys and
# texts of logs stand in them, so whatever was not written here goes through `escaped`.


def escaped(text: str) -> str:
    r"""Markdown that shows exactly this text on one line: no link, image, HTML, table or code comes of it.

    Every ASCII punctuation character may be escaped by a backslash (CommonMark 0.31, section 2.4). Unescaped, `:`, `.`
    and `@` would make links of bare addresses.

    >>> print(escaped("![a](//b)"), escaped("<b>|`x`"), escaped("two\nlines"))
    \!\[a\]\(\/\/b\) \<b\>\|\`x\` two lines
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(printable.split()))


def show_load(report: LoadReport) -> None:
    """The load's report among the run's artifacts."""
    _show_table(artifact_key("load", report.dataset), load_rows(report), load_line(report))


def show_index(report: IndexReport) -> None:
    """The index's report among the run's artifacts."""
    _show_table(artifact_key("index", report.dataset), index_rows(report), index_line(report))


def _show_table(key: str, rows: Sequence[Row], description: str) -> None:
    table = [{column: escaped(cell) for column, cell in row.items()} for row in rows]
    create_table_artifact(table=list(table), key=key, description=escaped(description))


def show_map(dataset: str, png: bytes, *, api: str, caption: str) -> None:
    """The map as a picture, with the way to the real one."""
    picture = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    name, path = escaped(dataset), quote(dataset, safe="")
    text = (
        f"![Map of {name}]({picture})\n\n{escaped(caption)}\n\n"
        f"[Open the map]({api}/atlas/{path}/), or, without WebGPU, [the light one]({api}/map/{path})."
    )
    create_markdown_artifact(text, key=artifact_key("map", dataset), description=f"The map of {name}")


class ProgressBar:
    """A progress artifact, made at the first call and moved on with each further one."""

    def __init__(self, dataset: str) -> None:
        self._key = artifact_key("progress", dataset)
        self._id: UUID | None = None

    def show(self, share: float, text: str) -> None:
        """`share` of the work is done, from 0 to 1; `text` says the rest."""
        percent, description = round(100 * min(max(share, 0.0), 1.0), 1), escaped(text)
        if self._id is None:
            made = create_progress_artifact(progress=percent, key=self._key, description=description)
            self._id = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(artifact_id=self._id, progress=percent, description=description)

    def end(self) -> None:
        """All is done; a bar that was never shown stays away."""
        if self._id is not None:
            self.show(1.0, "done")


def progress_text(step: str, done: int, total: int, seconds: float, tokens: tuple[int, int] = (0, 0)) -> str:
    """How far a step is after so many seconds, how fast, and for how long yet; by tokens (done, in all) where known.

    >>> progress_text("embed", 500, 2_000, 5.0)
    'embed: 500 of 2,000 records, 100 records/s, 15 s left'
    >>> progress_text("embed", 500, 2_000, 5.0, (10_000, 90_000))
    'embed: 500 of 2,000 records, 100 records/s, 2,000 tokens/s, 40 s left'
    """
    text = f"{step}: {done:,} of {total:,} records"
    if not done or seconds <= 0 or done >= total:
        return text
    text += f", {done / seconds:,.0f} records/s"
    if not tokens[0]:
        return f"{text}, {duration((total - done) * seconds / done)} left"
    return (
        f"{text}, {tokens[0] / seconds:,.0f} tokens/s, {duration((tokens[1] - tokens[0]) * seconds / tokens[0])} left"
    )


def duration(seconds: float) -> str:
    """A time as a person says it.

    >>> duration(15), duration(170), duration(9000)
    ('15 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
