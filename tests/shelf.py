"""What a load does with a source, without a database: decide, read, keep records by id and the cursor as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from components.contracts import Cursor, Decision, Defect, LedgerEntry, Locator, Record
from components.errors import NotReady
from components.settings import LoadSettings
from components.sources.files import FileSource

DATA = Path(__file__).parents[1].parent / "shared" / "data"
LOGS = DATA / "agent-logs"
QUIET = LoadSettings(quiet_s=0)


@dataclass
class Shelf:
    """The ledger's entry of one source and the records read from it."""

    source: FileSource = field(default_factory=lambda: FileSource(QUIET))
    key: str | None = None
    records: dict[str, Record] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    entry: LedgerEntry | None = None
    waits: str = ""
    n_batches: int = 0
    generation: int = 0

    def locator(self, path: Path) -> Locator:
        (locator,) = self.source.discover([str(path)]).locators
        self.key = self.key or locator.key
        return Locator(**{**_fields(locator), "key": self.key})

    def decide(self, path: Path, *, verify: bool = False) -> Decision:
        return self.source.decide(self.locator(path), self.entry, verify=verify)

    def load(self, path: Path, *, stop_after: int | None = None) -> Decision:
        """One load; `stop_after` batches the process dies."""
        locator, decision = self.locator(path), self.decide(path)
        self.waits = ""
        if decision.action == "skip":
            return decision
        cursor = self.entry.cursor if self.entry and decision.action == "resume" else None
        if cursor is None:
            self.generation += 1
        try:
            for n, batch in enumerate(self.source.read(locator, cursor), start=1):
                self._keep(locator, batch.records, batch.defects, batch.cursor)
                self.skipped.update(batch.skipped)
                if n == stop_after:
                    return decision
        except NotReady as error:
            self.waits = str(error)
        return decision

    def _keep(self, locator, records, defects, cursor) -> None:
        self.n_batches += 1
        for record in records:
            known = self.records.setdefault(record.id, record)
            assert known[2:7] == record[2:7]  # all that the id is made of; the store numbers the occurrences
        self.defects += defects
        stored = orjson.loads(orjson.dumps(asdict(cursor)))
        self.entry = LedgerEntry(
            source_id=1,
            key=locator.key,
            location=locator.location,
            status="loaded",
            generation=self.generation,
            size_bytes=cursor.size_bytes,
            mtime_ns=cursor.mtime_ns,
            inode=cursor.inode,
            cursor=Cursor(**stored),
            version=1,
        )

    @property
    def texts(self) -> list[str]:
        return [record.text for record in self.records.values()]

    @property
    def ids(self) -> set[str]:
        return set(self.records)


def _fields(locator: Locator) -> dict[str, object]:
    return {name: getattr(locator, name) for name in Locator.__slots__}


def loaded(path: Path, **source: object) -> Shelf:
    """A shelf after one load of one file."""
    settings = source.pop("settings", QUIET)
    shelf = Shelf(source=FileSource(settings, **source))  # type: ignore[arg-type]
    shelf.load(path)
    return shelf


def jsonl(*items: object) -> bytes:
    return b"".join(orjson.dumps(item) + b"\n" for item in items)


def generic(n: int, start: int = 0) -> list[dict[str, object]]:
    """Generic records whose texts are their numbers."""
    return [{"iteration": i, "idx": 0, "type": "user", "text": f"text {i}"} for i in range(start, start + n)]


def corpus(folder: str) -> Iterator[Path]:
    return iter(sorted(path for path in (LOGS / folder).glob("*") if path.is_file()))
