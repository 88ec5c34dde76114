"""Which home keeps the output of a dataset.

The database says what the output consists of, but the files are in one home. Two homes on one database and dataset
would each miss the other's files and publish everything again at every run; so one keeps the output, and others are
refused until they adopt it. A home is identified by an id in a file of its own, so that it may be moved.
"""

from __future__ import annotations

import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from components.atomic import atomic_write, create_file
from components.contracts import Home
from components.errors import OutputElsewhere

ID_FILE = "home-id"


def location_of(folder: Path) -> str:
    """Host and path of a home.

    >>> location_of(Path("/")).endswith(":/")
    True
    """
    return f"{socket.gethostname()}:{folder.resolve()}"


def expect_home(own: Home, recorded: Home | None, *, is_copy: bool, dataset: str) -> None:
    """Raises `OutputElsewhere` unless `own` may publish the dataset whose output `recorded` keeps.

    `is_copy`: the recorded home still exists elsewhere, and `own` was copied from it.
    """
    if recorded is None or (recorded.id == own.id and not is_copy):
        return
    what = f"this one, {own.place}, is a copy of it" if is_copy else f"this is home {own.place}"
    raise OutputElsewhere(
        f'The output of dataset "{dataset}" is kept by home {recorded.place}, and {what}: on one database they would '
        "publish over each other. Index there; or run `runatlas publish --adopt` here, which moves the output to this "
        "home and excludes the other one; or give this home a database (RUNATLAS_DATABASE_URL) or dataset of its own."
    )


def home_at(folder: Path, recorded: Home | None) -> Home:
    """The home in this folder; it gets an id if it has none.

    One whose id was deleted gets it back if the database has recorded its location.
    """
    location = location_of(folder)
    is_known = recorded is not None and recorded.place == location
    found = _read_id(folder) or _written_id(folder, recorded.id if recorded and is_known else uuid.uuid4().hex)
    return Home(id=found, place=location)


def is_copy_of(own: Home, recorded: Home | None, folder: Path) -> bool:
    """Does the recorded home still exist elsewhere on this machine, with the same id?"""
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
    content = f"{id}\n".encode("ascii")
    create_file(folder / ID_FILE, content)
    if _read_id(folder) is None:  # the file that was there is damaged
        with atomic_write(folder / ID_FILE) as file:
            file.write_bytes(content)
    return _read_id(folder) or id
