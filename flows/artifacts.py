"""Artifacts of a run in the Prefect UI: live progress, the report as a table, the map with new records marked."""

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

from components.contracts import IndexReport, IndexSeconds, LoadReport, RecordCounts, SourceCounts, Step, TopicReport
from components.corpus import IngestReport
from components.load.report import problem_lines
from components.sources.read_totals import bounded
from components.survey.run import SurveyReport

Row = dict[str, str]
max_problems = 50  # in a table
max_topics = 30
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
    """The report of a load, one figure per row, and its problems."""
    rows = [_row(f"sources {name}", n) for name, n in _counts(report.sources) if n]
    rows += [_row(f"records {name}", n) for name, n in _counts(report.records)]
    rows += [
        _row("defects", report.defects),
        *(_row(f"redacted: {kind}", n) for kind, n in report.redacted.items()),
        _row("bytes", report.bytes),
        _text_row("seconds", f"{report.seconds:.1f}"),
    ]
    rows += [_row(f"left out: {rule}", n) for rule, n in report.skipped_by_rule.items()]
    lines = list(problem_lines(report.problems))
    rows += [_text_row("problem", line) for line in lines[:max_problems]]
    if len(lines) > max_problems:
        rows.append(_row("further problems", len(lines) - max_problems))
    return rows


def index_rows(report: IndexReport) -> list[Row]:
    """The report of an index, one figure per row."""
    drift = "-" if report.drift is None else f"{100 * report.drift:.1f} %"
    return [
        _row("records pending", report.records),
        _row("texts embedded", report.embedded),
        _row("texts with a reused vector", report.reused),
        _row("texts shortened to the model's window", report.shortened),
        _row("records that could not be embedded", report.failed),
        _text_row("placed by", report.step),
        _text_row("layout", _or_dash(report.layout)),
        _text_row("new records off the map", drift),
        _text_row("snapshot", _or_dash(report.snapshot)),
        _row("records on the map", report.rows),
        *topic_rows(report.topics),
        *(_text_row(f"seconds, {name}", f"{n:.1f}") for name, n in _counts(report.seconds)),
    ]


def topic_rows(topics: TopicReport | None) -> list[Row]:
    """Topics, records in none, and the names of those that are new or have returned."""
    if topics is None:
        return []
    changes = [("new topic", topics.new), ("topic split off", topics.split), ("topic that returned", topics.returned)]
    named = [_text_row(change, f"{name} ({id})") for change, found in changes for id, name in found.items()]
    rows = [_row("topics", topics.active), _row("records without a topic", topics.counts.noise), *named[:max_topics]]
    return rows if len(named) <= max_topics else [*rows, _row("further topics", len(named) - max_topics)]


def load_line(report: LoadReport) -> str:
    """A load in one sentence."""
    sources, records = report.sources, report.records
    return (
        f"{report.dataset}: {records.new:,} new records from {sources.loaded + sources.resumed:,} of "
        f"{sources.discovered:,} sources in {report.seconds:.1f} s; {sources.not_ready:,} not ready, "
        f"{sources.failed:,} failed, {report.defects:,} defects; {records.unindexed:,} records are pending."
    )


def index_line(report: IndexReport) -> str:
    """An index in one sentence."""
    return (
        f"{report.dataset}: {report.records:,} records were pending, {report.embedded:,} texts embedded, {report.reused:,} reused, "
        f"{report.failed:,} failed ({report.step}); snapshot {_or_dash(report.snapshot)} has {report.rows:,} "
        f"records after {report.seconds.total:.1f} s."
    )


def ingest_line(report: IngestReport) -> str:
    """An ingest in one sentence."""
    missing = f"; no file for {len(report.missing_years)} of the years" if report.missing_years else ""
    rows, n_written = sum(one.rows for one in report.out), sum(one.is_written for one in report.out)
    files = f"; {rows:,} vectors in files, {n_written} years of them written" if report.out else ""
    return f"{report.dataset}: {len(report.files):,} files of the corpus in {report.seconds:.1f} s{missing}{files}."


def ingest_rows(report: IngestReport) -> list[Row]:
    """The report of an ingest: files, years, vectors."""
    return [
        _row("files", len(report.files)),
        *(_text_row("left out", name) for name in report.left_out[:max_problems]),
        *(_text_row("no file for", str(year)) for year in report.missing_years[:max_problems]),
        *(
            _text_row(f"vectors {one.year}", f"{one.rows:,}{' (written)' if one.is_written else ''}")
            for one in report.out
        ),
    ]


def total_load(reports: Sequence[LoadReport]) -> LoadReport:
    """The reports of several datasets, summed; the dataset is `*`."""
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
    """The reports of several datasets, summed, with the furthest step and the largest drift; the dataset is `*`."""
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


def _row(metric: str, n: int) -> Row:
    return _text_row(metric, f"{n:,}")


def _text_row(metric: str, value: str) -> Row:
    return {"Metric": metric, "Value": value}


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


# --- artifacts -------------------------------------------------------------------------------------------------
#
# The Prefect UI renders descriptions, table cells and Markdown artifacts as Markdown, HTML included. They contain file names,
# keys and texts of logs, so all text from outside goes through `escaped`.


def escaped(text: str) -> str:
    r"""Markdown that shows exactly this text on one line, without a link, image, HTML, table or code.

    Every ASCII punctuation character may be escaped by a backslash (CommonMark 0.31, section 2.4). Unescaped, `:`, `.`
    and `@` would make links of bare addresses.

    >>> print(escaped("![a](//b)"), escaped("<b>|`x`"), escaped("two\nlines"))
    \!\[a\]\(\/\/b\) \<b\>\|\`x\` two lines
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(printable.split()))


def survey_rows(report: SurveyReport) -> list[Row]:
    """The report of a survey, one figure per row."""
    return [
        *(_row(name, getattr(report, name)) for name in ("rows", "hills", "noise")),
        *(_text_row(name, f"{getattr(report, name):.3f}") for name in ("gini", "flatness")),
        *(_row(f"labels: {source}", n) for source, n in report.labels.items()),
        *(_text_row(f"seconds {stage}", f"{seconds:.1f}") for stage, seconds in report.seconds.items()),
    ]


def survey_line(report: SurveyReport) -> str:
    """The report of a survey in one line."""
    return f"{report.dataset}: {report.rows:,} rows, {report.hills:,} hills, {report.noise:,} rows in none."


def show_survey(report: SurveyReport) -> None:
    """Show the report of a survey as a table."""
    _show_table(artifact_key("survey", report.dataset), survey_rows(report), survey_line(report))


def show_load(report: LoadReport) -> None:
    """Adds the load's report to the run's artifacts."""
    _show_table(artifact_key("load", report.dataset), load_rows(report), load_line(report))


def show_ingest(report: IngestReport) -> None:
    """Adds the ingest's report to the run's artifacts."""
    _show_table(artifact_key("ingest", report.dataset), ingest_rows(report), ingest_line(report))


def show_index(report: IndexReport) -> None:
    """Adds the index's report to the run's artifacts."""
    _show_table(artifact_key("index", report.dataset), index_rows(report), index_line(report))


def _show_table(key: str, rows: Sequence[Row], description: str) -> None:
    table = [{column: escaped(cell) for column, cell in row.items()} for row in rows]
    create_table_artifact(table=list(table), key=key, description=escaped(description))


def show_map(dataset: str, png: bytes, *, api: str, caption: str) -> None:
    """Adds a picture of the map, with links to the map."""
    picture = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    name, path = escaped(dataset), quote(dataset, safe="")
    text = (
        f"![Map of {name}]({picture})\n\n{escaped(caption)}\n\n"
        f"[Open the map]({api}/atlas/{path}/), or, without WebGPU, [the light map]({api}/map/{path})."
    )
    create_markdown_artifact(text, key=artifact_key("map", dataset), description=f"The map of {name}")


class ProgressBar:
    """A progress artifact, created by the first call of `show` and updated by the others."""

    def __init__(self, dataset: str) -> None:
        self._key = artifact_key("progress", dataset)
        self._id: UUID | None = None

    def show(self, share: float, text: str) -> None:
        """Shows the share of the work that is done, from 0 to 1, and a text."""
        percent, description = round(100 * min(max(share, 0.0), 1.0), 1), escaped(text)
        if self._id is None:
            made = create_progress_artifact(progress=percent, key=self._key, description=description)
            self._id = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(artifact_id=self._id, progress=percent, description=description)

    def end(self) -> None:
        """Shows that all is done; does nothing if it was never shown."""
        if self._id is not None:
            self.show(1.0, "done")


def progress_text(step: str, done: int, total: int, seconds: float, tokens: tuple[int, int] = (0, 0)) -> str:
    """The progress of a step after some seconds: records, rate and time left; by tokens (done, total) where known.

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
    """A duration for people.

    >>> duration(15), duration(170), duration(9000)
    ('15 s', '3 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
