"""The map as one HTML file that opens from disk without a network: points, topics, chosen records, search by words.

Texts are redacted once more, whatever the settings were when they were loaded, and stand in the file as data: the page
writes them with `textContent` alone, and its policy runs no other script and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from components.contracts import TOPIC_LEVEL
from components.redact import Redactor
from components.snapshot.parts import read_columns, read_row_groups
from components.snapshot.read import Snapshot, read_topics, topic_column

MAX_BYTES: Final = 50_000_000  # of the file, about
MAX_TEXT_CHARS: Final = 4_000  # of a record
MAX_POINTS: Final = 1_000_000
MAX_TOPICS: Final = 200
COLUMNS: Final = ["type", "filename", "timestamp", "text"]
_folder = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFile:
    """The file, how many records it holds, and what was redacted, cut and left out, in sentences."""

    html: bytes
    records: int
    redacted: dict[str, int]
    report: Sequence[str]


def map_file(snapshot: Snapshot, rows: NDArray[np.bool_], *, max_bytes: int = MAX_BYTES) -> MapFile:
    """The map of a snapshot with the records of the chosen rows (rows,), as many as fit into `max_bytes`."""
    redactor = Redactor()
    shown = _spread(np.arange(len(rows)), MAX_POINTS)
    positions, topics_of_rows = _positions(snapshot)[shown], topic_column(snapshot)[shown]
    wanted = rows[shown]
    topics = [
        [topic["id"], redactor.redact(topic["name"]), topic["size"]]
        for topic in sorted(read_topics(snapshot), key=lambda one: -one["size"])
        if topic["level"] == TOPIC_LEVEL and topic["state"] == "active"
    ]
    budget = max_bytes - 14 * len(shown) - 100_000
    kept = _Kept(redactor, budget)
    kept.read(snapshot, shown, wanted)
    report = [f"{len(kept.records):,} records of {snapshot.manifest.rows:,}, snapshot {snapshot.number}."]
    found = dict(sorted(redactor.found.items()))
    listed = ", ".join(f"{kind}: {n:,}" for kind, n in found.items())
    report.append(f"Secrets were redacted: {listed}." if found else "No secrets of known shapes were found.")
    if kept.cut:
        report.append(f"{kept.cut:,} texts were cut to {MAX_TEXT_CHARS:,} characters.")
    if kept.left_out:
        report.append(
            f"{kept.left_out:,} chosen records were left out, since the file may hold {max_bytes / 1e6:,.0f} MB: choose fewer by filters."
        )
    if len(shown) < len(rows):
        report.append(f"{len(rows) - len(shown):,} points were left out.")
    if len(topics) > MAX_TOPICS:
        report.append(f"{len(topics) - MAX_TOPICS:,} small topics are not listed.")
    data = {
        "positions": base64.b64encode(positions.astype("<u2").tobytes()).decode(),
        "topics_of_rows": base64.b64encode(topics_of_rows.astype("<i4").tobytes()).decode(),
        "topics": topics[:MAX_TOPICS],
        "records": kept.records,
        "report": report,
    }
    return MapFile(
        html=_page(f"runatlas: {snapshot.manifest.dataset}", data),
        records=len(kept.records),
        redacted=found,
        report=report,
    )


class _Kept:
    """The records that are written, and how many were cut or left out."""

    def __init__(self, redactor: Redactor, budget: int) -> None:
        self._redactor = redactor
        self._left = budget
        self.records: list[list[Any]] = []
        self.cut = self.left_out = 0

    def read(self, snapshot: Snapshot, shown: NDArray[np.int64], wanted: NDArray[np.bool_]) -> None:
        """Take the wanted ones of the shown rows; if not all fit, a share that is spread evenly over the snapshot."""
        chosen, place = shown[wanted], np.flatnonzero(wanted)
        share = 1.0
        if len(chosen):
            share = min(1.0, max(0, self._left) / max(1.0, _mean_bytes(snapshot, chosen) * len(chosen)))
        keep = _spread(np.arange(len(chosen)), int(len(chosen) * share))
        self.left_out = len(chosen) - len(keep)
        place_of = dict(zip(chosen[keep].tolist(), place[keep].tolist(), strict=True))
        start = 0
        for file in snapshot.logs_files:
            for table in read_row_groups(file, COLUMNS):
                inside = [row for row in range(start, start + table.num_rows) if row in place_of]
                if inside:
                    taken = table.take(pa.array([row - start for row in inside]))
                    for row, record in zip(inside, taken.to_pylist(), strict=True):
                        self._add(place_of[row], record)
                start += table.num_rows

    def _add(self, place: int, record: dict[str, Any]) -> None:
        text = self._redactor.redact(record["text"])  # before the cut, which could halve a secret
        is_cut = len(text) > MAX_TEXT_CHARS
        time = record["timestamp"].isoformat() if record["timestamp"] else ""
        row = [
            place,
            self._redactor.redact(record["type"]),
            self._redactor.redact(record["filename"]),
            time,
            text[:MAX_TEXT_CHARS] + (" … (cut)" if is_cut else ""),
        ]
        size = len(_json(row))
        if size > self._left:
            self.left_out += 1
            return
        self._left -= size
        self.cut += is_cut
        self.records.append(row)


def _mean_bytes(snapshot: Snapshot, chosen: NDArray[np.int64]) -> float:
    """About how many bytes a record takes in the file, from the lengths of the texts."""
    lengths = []
    for file in snapshot.logs_files:
        for table in read_row_groups(file, ["text"]):
            lengths += [np.array([min(len(text), MAX_TEXT_CHARS) for text in table["text"].to_pylist()])]
    return float(np.concatenate(lengths)[chosen].mean()) * 1.15 + 120


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)] if most else rows[:0]


def _positions(snapshot: Snapshot) -> NDArray[np.uint16]:
    """Positions (rows, 2) on a square grid of 65,536 steps."""
    table = read_columns(snapshot.logs_files, ["projection_x", "projection_y"])
    at = np.stack([table[name].to_numpy().astype(np.float64) for name in ("projection_x", "projection_y")], axis=1)
    if not len(at):
        return np.zeros((0, 2), np.uint16)
    low, extent = at.min(axis=0), float(np.ptp(at, axis=0).max()) or 1.0
    return np.asarray(np.round((at - low) / extent * 65_535), np.uint16)


def _page(title: str, data: dict[str, Any]) -> bytes:
    style, script = ((_folder / f"map_file.{kind}").read_text("utf-8") for kind in ("css", "js"))
    page = (_folder / "map_file.html").read_text("utf-8")
    parts = {
        "title": escape(title),
        "style_hash": _hash(style),
        "script_hash": _hash(script),
        "style": style,
        "script": script,
        "data": _json(data).decode(),
    }
    before, *rest = page.split("{")  # each part once: what is put in is never searched for names
    found = [before]
    for piece in rest:
        name, _, after = piece.partition("}")
        found += [parts[name], after]
    return "".join(found).encode("utf-8", "replace")


def _json(value: Any) -> bytes:
    """JSON that can't end the element it stands in."""
    return orjson.dumps(value).replace(b"<", b"\\u003c")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
