"""Files for one user alone: the content of a home is as private as the logs that it was made from.

New files are private by the umask, which entry points set; the home's folder, the database and files of an older version
are made private whenever the store is opened. `private_files = false` leaves all modes to the user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from components.settings import Settings

UMASK: Final = 0o077
OTHERS: Final = 0o077  # the bits of group and others
OURS: Final = frozenset(
    {"up.pid", "prefect-deployed", "credentials.json", "home-id", "output", "cache", "logs", "prefect"}
)
DATABASE: Final = "runatlas.db"  # and its -wal, -shm, -journal

_given: ContextVar[int | None] = ContextVar("umask of the user", default=None)


@contextmanager
def private_umask(settings: Settings | None) -> Iterator[None]:
    """Files made in the block, by this process and those that it starts, are for this user alone."""
    if settings is not None and not settings.private_files:
        yield
        return
    before = os.umask(UMASK)
    token = _given.set(before)
    try:
        yield
    finally:
        _given.reset(token)
        os.umask(before)


@contextmanager
def users_umask() -> Iterator[None]:
    """Within `private_umask`: files made in the block have the modes that the user gave the process, as exports do."""
    given = _given.get()
    if given is None:
        yield
        return
    before = os.umask(given)
    try:
        yield
    finally:
        os.umask(before)


def secure_home(settings: Settings) -> None:
    """Creates the home, unless the database is elsewhere, and makes our files in it private.

    A home that also holds other files keeps its own mode. What can't be changed is skipped: it belongs to another
    user, or is on a file system without modes.
    """
    if not settings.private_files:
        return
    home = settings.home.absolute()
    with suppress(OSError):  # opening the database or the logs reports what is wrong
        if settings.database_url is None:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = list(home.iterdir())
        for path in found:
            if is_ours(path.name):
                close_below(path)
        if all(is_ours(path.name) for path in found):
            close(home)


def is_ours(name: str) -> bool:
    """Does runatlas make entries of this name in a home?"""
    return name in OURS or name.startswith((DATABASE, ".probe-", ".credentials.json."))


def close_below(path: Path) -> None:
    """Makes this entry private, and if it was not, everything below it."""
    if not close(path) or not path.is_dir():
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            close(Path(folder, name))


def close(path: Path) -> bool:
    """Removes all permissions of group and others; False where there were none, or they can't be changed."""
    with suppress(OSError):
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & OTHERS and found.st_uid == os.getuid():
            path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
            return True
    return False
