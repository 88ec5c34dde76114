"""What a snapshot says of itself: its manifest, its region names, and the names of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from components.snapshot.parts import KINDS, Kind, Part

MANIFEST = "manifest.json"
LABELS = "labels.parquet"
TOPICS = "topics.parquet"
CURRENT = "current"  # the symbolic link to the newest snapshot
POINTER = "CURRENT"  # the file that names the newest snapshot where symbolic links are not supported


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`text_settings` is their hash; `parts` of a kind are in the order of their rows."""

    snapshot: int
    dataset: str
    layout: int | None
    model: str
    text_settings: str
    dim: int
    rows: int
    parts: Sequence[Part]
    created: datetime

    def of(self, kind: Kind) -> list[Part]:
        """The parts of one kind, in order."""
        return [part for part in self.parts if part.kind == kind]

    def files(self) -> Iterator[tuple[Part, str]]:
        """Each part with its file's path below the snapshot, in the order of `manifest.json`."""
        for kind in KINDS:
            for index, part in enumerate(self.of(kind)):
                yield part, f"{kind}/{snapshot_file_name(index)}"

    def holds_the_same_as(self, other: Manifest) -> bool:
        """Are the two equal but for the time at which they were made?"""
        mine, theirs = (replace(one, created=other.created, parts=[p for p, _ in one.files()]) for one in (self, other))
        return mine == theirs

    def to_json(self) -> bytes:
        """The content of `manifest.json`."""
        body: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        body |= {"version": 1, "parts": [{**asdict(part), "file": file} for part, file in self.files()]}
        return orjson.dumps(body, option=orjson.OPT_INDENT_2)


def manifest_from_json(raw: bytes) -> Manifest:
    """The manifest that `to_json` wrote; keys of later versions are left out."""
    body = orjson.loads(raw)
    parts = [Part(**{name: part[name] for name in Part.__slots__}) for part in body["parts"]]
    known = {name: body[name] for name in Manifest.__slots__}
    return Manifest(**known | {"parts": parts, "created": datetime.fromisoformat(body["created"])})


def snapshot_file_name(index: int) -> str:
    """Parts are numbered in a snapshot, so that `logs/*.parquet`, sorted, gives their rows in order."""
    return f"part-{index:05d}.parquet"


def snapshot_name(number: int) -> str:
    """The folder of a snapshot, below `snapshots/`."""
    return f"{number:06d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A region's name at a position. `level` 0 is shown from afar; a higher `priority` is shown sooner."""

    x: float
    y: float
    text: str
    level: int
    priority: float


def labels_schema() -> pa.Schema:
    """Columns of `labels.parquet`; `content` repeats `text`, since Embedding Atlas documents one and reads the other."""
    return pa.schema(
        [
            ("x", pa.float64()),
            ("y", pa.float64()),
            ("text", pa.string()),
            ("content", pa.string()),
            ("level", pa.int32()),
            ("priority", pa.float64()),
        ]
    )


def topics_schema() -> pa.Schema:
    """Columns of `topics.parquet`: all topics and groups, also those that have ended or are part of another one."""
    event = pa.struct([("event", pa.string()), ("snapshot", pa.int32()), ("other", pa.int32())])
    return pa.schema(
        [
            ("id", pa.int32()),
            ("parent", pa.int32()),
            ("level", pa.int32()),
            ("name", pa.string()),
            ("description", pa.string()),
            ("size", pa.int64()),
            ("texts", pa.int64()),
            ("name_source", pa.string()),
            ("state", pa.string()),
            ("born", pa.int32()),
            ("last_seen", pa.int32()),
            ("lineage", pa.list_(event)),
            ("examples", pa.list_(pa.string())),
        ]
    )
