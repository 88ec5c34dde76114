"""opencode's storage folder: a file for each session, message and part, which together make one run.

storage/session/<project>/<session>.json
storage/message/<session>/<message>.json
storage/part/<message>/<part>.json
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Final

from components.contracts import Json
from components.sources.stores.contract import StoredSession
from components.sources.stores.opencode import items_of, value_of

PARTS: Final = frozenset({"message", "part", "session_diff", "todo", "project", "session_share", "snapshot"})
STABLE: Final = ("id", "parentID", "directory")


def storage_of(path: str) -> Path | None:
    """The storage folder whose session file this is; None for any other file."""
    if not path.endswith(".json") or f"{os.sep}session{os.sep}" not in path:  # as nearly all files
        return None
    place = Path(path)
    storage = place.parent.parent.parent
    if place.parent.parent.name != "session" or not (storage / "message").is_dir():
        return None
    return storage


def is_part_of_storage(path: str) -> bool:
    """Is it a file of a storage folder other than a session?"""
    place = Path(path)
    for folder in list(place.parents)[:4]:
        if folder.name in PARTS and (folder.parent / "session").is_dir() and (folder.parent / "message").is_dir():
            return True
    return place.name == "migration" and (place.parent / "session").is_dir() and (place.parent / "message").is_dir()


def session_at(path: str, storage: Path) -> StoredSession:
    """The session of this file, by the sizes and times of all its files."""
    files = [Path(path), *_message_files(path, storage)]
    files += [part for message in files[1:] for part in _part_files(storage, message)]
    stats = [found for file in files for found in _stat(file)]
    return StoredSession(
        id=Path(path).stem,
        n_items=len(stats),
        changed_ns=max((info.st_mtime_ns for _, info in stats), default=0),
        version=repr(sorted((name, info.st_size, info.st_mtime_ns) for name, info in stats)),
    )


def _message_files(path: str, storage: Path) -> list[Path]:
    """The messages lie in a folder of the session's id, which is the name of its file, too."""
    return _files(storage / "message" / Path(path).stem) or _files(storage / "message" / _id(Path(path)))


def _part_files(storage: Path, message: Path) -> list[Path]:
    return _files(storage / "part" / message.stem) or _files(storage / "part" / _id(message))


def _id(path: Path) -> str:
    """The id in a file that is not named by it; one that leads elsewhere is none."""
    value = _read(path)
    id = value.get("id") if isinstance(value, dict) else None
    return id if isinstance(id, str) and PurePath(id).name == id else path.stem


def _stat(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    with suppress(OSError):
        yield str(path), path.stat()


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError:
        return []


def items_at(path: str, storage: Path, settled_ms: float) -> Iterator[Json]:
    """The session, its messages and their parts. Raises `StillWritten` before what is not complete."""
    about = _read(Path(path))
    about = about if isinstance(about, dict) else {"id": Path(path).stem}
    session = {key: about[key] for key in STABLE if about.get(key) is not None}
    messages = [(message, file) for file in _message_files(path, storage) if (message := _read(file)) is not None]
    messages.sort(key=lambda found: _created(found[0]))
    with_parts = ((message, [_read(part) for part in _part_files(storage, file)]) for message, file in messages)
    yield from items_of(session, with_parts, settled_ms=settled_ms)


def _created(message: Json) -> tuple[float, str]:
    about = message if isinstance(message, dict) else {}
    time = about.get("time")
    when = time.get("created") if isinstance(time, dict) else None
    return (float(when) if isinstance(when, int | float) else 0.0, str(about.get("id")))


def _read(path: Path) -> Json:
    try:
        return value_of(path.read_bytes())
    except OSError:
        return None
