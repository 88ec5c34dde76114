"""URLs of database tables: `postgresql://host/db?table=NAME&cursor=COLUMN`, or any other that SQLAlchemy opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from components.contracts import Locator
from components.errors import SourceError
from components.locations import without_credentials, without_password

if TYPE_CHECKING:
    from sqlalchemy import URL

NO_DATABASES: Final = frozenset({"http", "https", "ftp", "s3", "gs", "az", "abfs", "hf"})


def table_locator(spec: str) -> Locator:
    """The locator of a table's URL. Raises `SourceError` where it names no table."""
    if spec.partition("://")[0].lower() in NO_DATABASES:
        raise SourceError("Only database tables are read by URL. Download it, and name the file or folder.")
    if "table" not in parsed_url(spec).query:
        raise SourceError("The URL names no table; write it as postgresql://host/db?table=NAME&cursor=COLUMN.")
    return Locator(location=without_password(spec), key=without_credentials(spec), kind="table", url=spec)


def parsed_url(spec: str) -> URL:
    """The URL. Raises `SourceError`, which does not quote it, where it can't be parsed."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(spec)
    except (ArgumentError, ValueError):
        raise SourceError(
            "The URL can't be parsed; write it as postgresql://USER:PASSWORD@HOST:PORT/DB?table=NAME&cursor=COLUMN."
        ) from None  # whatever it is may hold a password
