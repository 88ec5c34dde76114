"""What changes outside, and when it is worth a load: files below the datasets' folders, rows in their databases.

`watch` is the core and knows no Prefect: it calls back with the name of a dataset, once its sources have been quiet for
a moment. Files are watched through the operating system, PostgreSQL through LISTEN (channel `runatlas`, payload: a
table's name, or nothing), SQLite by asking for its `data_version`.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from components.locations import absolute, glob_root, is_url
from components.settings import Settings
from components.sources.discover import is_written_by_us

if TYPE_CHECKING:
    from watchfiles import Change

logger = logging.getLogger(__name__)

channel = "runatlas"
rescan_s = 5.0  # how often folders that vanished or came back, and sources that were added, are looked for
longest_wait_debounces = 10  # what never falls quiet is loaded after so many debounce times
poll_sqlite_s = 1.0
reconnect_s = (1.0, 2.0, 5.0, 10.0, 30.0)

Sources = Mapping[str, tuple[str, ...]]  # dataset -> what it is loaded from


@dataclass(slots=True, kw_only=True)
class Debounce:
    """Which datasets have changed and have been quiet since. Times are seconds of any one clock.

    >>> changes = Debounce(quiet_s=2.0)
    >>> changes.note("runs", 10.0); changes.note("runs", 11.0)
    >>> changes.due(12.5), changes.due(13.0), changes.due(20.0)
    ([], ['runs'], [])
    """

    quiet_s: float
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)

    def note(self, dataset: str, now_s: float) -> None:
        """Something of this dataset changed."""
        self.first.setdefault(dataset, now_s)
        self.last[dataset] = now_s

    def due(self, now_s: float) -> list[str]:
        """Datasets to load now, each once; what changes without a pause is due after ten quiet times."""
        ready = [name for name in self.first if self._is_due(name, now_s)]
        for name in ready:
            del self.first[name], self.last[name]
        return sorted(ready)

    def _is_due(self, name: str, now_s: float) -> bool:
        is_quiet = now_s - self.last[name] >= self.quiet_s
        return is_quiet or now_s - self.first[name] >= longest_wait_debounces * self.quiet_s


def folder_of(source: str) -> Path:
    """The folder to watch for a source given as file, folder or glob.

    >>> folder_of("/logs/**/*.jsonl").as_posix(), folder_of("/logs/run-?.json").as_posix()
    ('/logs', '/logs')
    """
    path = Path(glob_root(absolute(source.removeprefix("file://"))))
    return path.parent if path.is_file() else path


def is_database(source: str) -> bool:
    """Is it a URL of tables rather than of files?"""
    return is_url(source) and not source.startswith("file://")


def watch(
    settings: Settings,
    on_change: Callable[[str], None],
    stop: threading.Event,
    *,
    sources: Callable[[], Sources] | None = None,
) -> None:
    """Calls `on_change(dataset)` after each burst of changes, until `stop` is set; returns then.

    `sources` says what is to be watched, and is asked again every few seconds; by default it is what the settings
    name. A callback that fails is logged, and tried again with the next change.
    """
    wanted = sources or (lambda: {name: dataset.sources for name, dataset in settings.datasets.items()})
    # a document is taken once it has been quiet for `quiet_s`: a load that comes sooner would come in vain
    changes = Debounce(quiet_s=max(settings.watch.debounce_s, settings.load.quiet_s + 0.2))
    watchers = _Watchers(stop, str(settings.home.absolute()))
    try:
        while not stop.is_set():
            with _logged("The watched sources could not be read; the old ones stay until the next check."):
                watchers.follow(wanted())
            end = time.monotonic() + rescan_s
            while time.monotonic() < end and not stop.wait(0.2):
                for dataset in watchers.take():
                    changes.note(dataset, time.monotonic())
                for dataset in changes.due(time.monotonic()):
                    with _logged(f"The load of {dataset} could not be started; the next change tries again."):
                        on_change(dataset)
    finally:
        watchers.close()


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """A watch outlives what fails in it."""
    try:
        yield
    except Exception:
        logger.exception("%s", what)


class _Watchers:
    """One thread for all files, one for each database; they leave the names of changed datasets to be taken."""

    def __init__(self, stop: threading.Event, home: str) -> None:
        self._stop = stop
        self._home = home  # what is written there while a load works must not start the next one
        self._changed: set[str] = set()
        self._lock = threading.Lock()
        self._files: tuple[tuple[tuple[str, str, Any], ...], threading.Event, threading.Thread] | None = None
        self._databases: dict[tuple[str, str], tuple[threading.Event, threading.Thread]] = {}

    def note(self, dataset: str) -> None:
        with self._lock:
            self._changed.add(dataset)

    def take(self) -> set[str]:
        """Names of the datasets that changed since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def follow(self, sources: Sources) -> None:
        """Watches exactly these from now on."""
        pairs = [(dataset, source) for dataset, given in sources.items() for source in given]
        self._follow_files([(dataset, folder_of(source)) for dataset, source in pairs if not is_database(source)])
        self._follow_databases([(dataset, source) for dataset, source in pairs if is_database(source)])

    def close(self) -> None:
        running = [(ended, thread) for ended, thread in self._databases.values()]
        if self._files:
            running.append(self._files[1:])
        for ended, _ in running:
            ended.set()
        for _, thread in running:
            thread.join(5)

    def _follow_files(self, folders: Iterable[tuple[str, Path]]) -> None:
        """A folder that was deleted, created or mounted is another one: the watch restarts, and its datasets are due."""
        found = tuple(sorted({(dataset, str(folder), _identity(folder)) for dataset, folder in folders}, key=str))
        before = self._files[0] if self._files else ()
        if found == before and (not self._files or self._files[2].is_alive()):
            return
        if self._files:
            self._files[1].set()
            self._files[2].join(5)
        for dataset, folder, identity in set(found) - set(before):
            if before and identity is not None:
                logger.info("Watching %s for %s.", folder, dataset)
                self.note(dataset)
        ended = threading.Event()
        present = {folder for _, folder, identity in found if identity is not None}
        owners = [(Path(folder), dataset) for dataset, folder, identity in found if identity is not None]
        thread = threading.Thread(target=self._watch_files, args=(present, owners, ended), daemon=True)
        thread.start()
        self._files = found, ended, thread

    def _watch_files(self, folders: set[str], owners: list[tuple[Path, str]], ended: threading.Event) -> None:
        from watchfiles import watch as changes_below

        if not folders:
            return
        try:
            for changes in changes_below(
                *folders,
                watch_filter=lambda _, path: not is_written_by_us(path, self._home),
                debounce=400,
                step=100,
                stop_event=ended,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                for dataset in datasets_of(changes, owners):
                    self.note(dataset)
        except OSError as error:  # no more inotify watches, or a folder that went as we came: the rescan tries again
            logger.warning("Folders can't be watched just now: %s", error)

    def _follow_databases(self, databases: list[tuple[str, str]]) -> None:
        for key in set(self._databases) - set(databases):
            self._databases.pop(key)[0].set()
        for dataset, source in databases:
            if (dataset, source) in self._databases:
                continue
            ended = threading.Event()
            target = _watch_sqlite if source.startswith("sqlite") else _watch_postgres
            arguments = (source, lambda dataset=dataset: self.note(dataset), ended)
            thread = threading.Thread(target=target, args=arguments, daemon=True)
            thread.start()
            self._databases[dataset, source] = ended, thread


def datasets_of(changes: Iterable[tuple[Change, str]], owners: Iterable[tuple[Path, str]]) -> set[str]:
    """The datasets whose folders contain the changed paths."""
    paths = {Path(path) for _, path in changes}
    return {dataset for folder, dataset in owners if any(path.is_relative_to(folder) for path in paths)}


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


# --- databases -------------------------------------------------------------------------------------------------


def sqlite_file_of(source: str) -> str:
    """The file that a `sqlite:///path?table=...` URL names.

    >>> sqlite_file_of("sqlite:////var/lib/runs.db?table=steps")
    '/var/lib/runs.db'
    """
    return unquote(urlsplit(source).path.removeprefix("/"))


def connection_of(source: str) -> tuple[str, str]:
    """A URL that libpq understands, and the table that the source reads ("" if there is none).

    >>> connection_of("postgresql+psycopg://me@host/db?table=steps&sslmode=require")
    ('postgresql://me@host/db?sslmode=require', 'steps')
    """
    parts = urlsplit(source)
    query = dict(parse_qsl(parts.query))
    table = query.get("table", "")
    ours = {"table", "cursor", "key", "columns", "schema"}
    rest = urlencode({name: value for name, value in query.items() if name not in ours})
    return urlunsplit((parts.scheme.partition("+")[0], parts.netloc, parts.path, rest, "")), table


def concerns(payload: str, table: str) -> bool:
    """Is a notification meant for this table? One without payload is meant for all.

    >>> concerns("", "steps"), concerns("public.steps", "steps"), concerns("other", "steps")
    (True, True, False)
    """
    named = payload.strip().rpartition(".")[2]
    return not named or not table or named == table.rpartition(".")[2]


def _watch_sqlite(source: str, changed: Callable[[], None], ended: threading.Event) -> None:
    """`data_version` changes with each commit of another connection; a replaced file is another inode."""
    path = Path(sqlite_file_of(source)).absolute()
    before: tuple[Any, ...] | None = None
    while not ended.is_set():
        identity = _identity(path)
        if identity is None:
            ended.wait(poll_sqlite_s)
            continue
        try:
            connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0)
            try:
                before = _follow_versions(connection, path, identity, before, changed, ended)
            finally:
                connection.close()
        except sqlite3.Error as error:
            logger.warning("%s can't be watched just now: %s", path, error)
            ended.wait(reconnect_s[1])


def _follow_versions(
    connection: sqlite3.Connection,
    path: Path,
    identity: tuple[int, int],
    before: tuple[Any, ...] | None,
    changed: Callable[[], None],
    ended: threading.Event,
) -> tuple[Any, ...]:
    """What was seen last: the file's identity and `data_version`. Ends with `ended`, or when the file is another."""
    seen: tuple[Any, ...] = (identity, connection.execute("pragma data_version").fetchone()[0])
    if before is not None and before[0] != identity:
        changed()
    while not ended.wait(poll_sqlite_s) and _identity(path) == identity:
        now = (identity, connection.execute("pragma data_version").fetchone()[0])
        if now != seen:
            changed()
        seen = now
    return seen


def _watch_postgres(source: str, changed: Callable[[], None], ended: threading.Event) -> None:
    """Listens, and connects again with growing waits; what was missed in between is asked for by one change."""
    import psycopg

    url, table = connection_of(source)
    attempt, was_connected = 0, False
    while not ended.is_set():
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="runatlas watch") as opened:
                opened.execute(f"listen {channel}")
                if was_connected:
                    changed()
                attempt, was_connected = 0, True
                while not ended.is_set():
                    for notice in opened.notifies(timeout=1.0):
                        if concerns(notice.payload, table):
                            changed()
                    if not ended.is_set():
                        opened.execute("select 1")  # a dead connection is noticed here, not never
        except psycopg.Error as error:
            wait_s = reconnect_s[min(attempt, len(reconnect_s) - 1)]
            host = urlsplit(url).hostname or "PostgreSQL"
            logger.warning(
                "No notifications from %s just now (%s); next try in %g s.", host, type(error).__name__, wait_s
            )
            attempt += 1
            ended.wait(wait_s)
