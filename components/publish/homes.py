"""Which home keeps the output of a dataset.

The database says of what the output consists, but the files lie in one home. Two homes on one database and dataset would
each miss the other's files and publish everything again at every run; so one keeps the output, and others are refused
until they are told to take it over. A home is known by an id in a file of its own, so that it may be moved.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from components.atomic import NO_LINK, fsync_file, fsync_folder, make_folder
from components.contracts import Home
from components.errors import OutputElsewhere

ID_FILE = "home-id"


def place_of(folder: Path) -> str:
    """Host and path of a home.

    >>> place_of(Path("/")).endswith(":/")
    True
    """
    return f"{socket.gethostname()}:{folder.resolve()}"


def expect_home(own: Home, recorded: Home | None, *, is_copy: bool, dataset: str) -> None:
    """Raises `OutputElsewhere` unless `own` may publish the dataset whose output `recorded` keeps.

    `is_copy`: the recorded one still lies where it was, and `own` was made from it.
    """
    if recorded is None or (recorded.id == own.id and not is_copy):
        return
    what = f"this one, {own.place}, is a copy of it" if is_copy else f"this is home {own.place}"
    raise OutputElsewhere(
        f'The output of dataset "{dataset}" is kept by home {recorded.place}, and {what}: on one database they would '
        "publish over each other. Index there; or run `runatlas publish --adopt` here, which moves the output to this "
        "home and leaves the other one out; or give this home a database (RUNATLAS_DATABASE_URL) or dataset of its own."
    )


def home_at(folder: Path, recorded: Home | None) -> Home:
    """The home in this folder; it gets an id if it has none.

    One whose id was deleted gets it back where the database knows its place.
    """
    place = place_of(folder)
    is_known = recorded is not None and recorded.place == place
    found = _read_id(folder) or _written_id(folder, recorded.id if recorded and is_known else uuid.uuid4().hex)
    return Home(id=found, place=place)


def is_copy_of(own: Home, recorded: Home | None, folder: Path) -> bool:
    """Does the recorded home still lie elsewhere on this machine, with the same id?"""
    if recorded is None or recorded.id != own.id or recorded.place == own.place:
        return False
    host, _, path = recorded.place.partition(":")
    if host != socket.gethostname():
        return False
    with suppress(OSError):
        return _read_id(Path(path)) == own.id and not Path(path).samefile(folder)
    return False


def _read_id(folder: Path) -> str | None:
    try:
        text = (folder / ID_FILE).read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{32}", text) else None


def _written_id(folder: Path, id: str) -> str:
    """The id that the home has from now on: this one, or that of a process that was quicker."""
    make_folder(folder)
    target = folder / ID_FILE
    aside = folder / f".{ID_FILE}-{uuid.uuid4().hex[:8]}"
    try:
        aside.write_text(f"{id}\n", "ascii")
        fsync_file(aside)
        _link(aside, target)
        if _read_id(folder) is None:  # what was there is damaged
            os.replace(aside, target)  # noqa: PTH105 - the call that crash tests watch
        fsync_folder(folder)
    finally:
        aside.unlink(missing_ok=True)
    return _read_id(folder) or id


def _link(aside: Path, target: Path) -> None:
    try:
        os.link(aside, target)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        os.replace(aside, target)  # noqa: PTH105 - the call that crash tests watch
