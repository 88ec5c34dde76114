"""Locations of sources: URL or path, absolute paths, the fixed part of a glob, URLs without their credentials."""

from __future__ import annotations

import glob
import os
import posixpath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from sqlalchemy import URL

SECRET_WORDS: Final = ("password", "passwd", "pwd", "secret", "token", "odbc_connect")  # in names of parameters


def is_url(spec: str) -> bool:
    """Is it a URL rather than a path?

    >>> is_url("postgresql+psycopg://db/app?table=logs"), is_url("/logs/a://b"), is_url("logs/*.jsonl")
    (True, False, False)
    """
    scheme, found, _ = spec.partition("://")
    return bool(found) and "/" not in scheme


def absolute(spec: str) -> str:
    """The path or glob as it is valid in any working folder, `~` expanded; a URL as it is."""
    return spec if is_url(spec) else os.path.abspath(os.path.expanduser(spec))  # noqa: PTH100, PTH111 - a Path costs more


def glob_root(path: str) -> str:
    """The part of a path before its first wildcard; all of it where there is none.

    >>> glob_root("/logs/app/*/run-?.jsonl"), glob_root("/logs/a.jsonl")
    ('/logs/app', '/logs/a.jsonl')
    """
    while glob.has_magic(path):
        path = os.path.dirname(path)  # noqa: PTH120
    return path


def without_password(spec: str) -> str:
    """The URL without password and secret parameters; what holds none, as it is.

    The user stays: the same URL opens the database again where the password comes from elsewhere.

    >>> without_password("postgresql://me:p%2Fw@db:5432/app?table=logs&password=x")
    'postgresql://me@db:5432/app?table=logs'
    >>> without_password("/srv/logs"), without_password("sqlite:////srv/app.db?table=logs")
    ('/srv/logs', 'sqlite:////srv/app.db?table=logs')
    """
    if not is_url(spec):
        return spec
    if (url := _parsed(spec)) is None:
        return _unparsable(spec)
    secret = [name for name in url.query if any(word in name.lower() for word in SECRET_WORDS)]
    if url.password is None and not secret:
        return spec
    bare = url.difference_update_query(secret)._replace(password=None)
    return bare.render_as_string(hide_password=False)


def without_credentials(spec: str) -> str:
    """The URL without user, password and all parameters but `schema` and `table`, as it may be shown; a path as it is.

    >>> without_credentials("postgresql://me:p/w@db:5432/app?table=logs&cursor=id&sslkey=k")
    'postgresql://db:5432/app?table=logs'
    """
    if not is_url(spec):
        return spec
    if (url := _parsed(spec)) is None:
        return _unparsable(spec)
    host = (url.host or "").rpartition("@")[2]
    at = f"[{host}]" if ":" in host else host
    at = f"{at}:{url.port}" if url.port else at
    database = url.database or ""
    name = database.rpartition("@")[2] if host else posixpath.basename(database)
    kept = urlencode([(key, value) for key, value in url.query.items() if key in ("schema", "table")], doseq=True)
    return f"{url.drivername}://{at}/{name}?{kept}".rstrip("?")


def _parsed(spec: str) -> URL | None:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(spec)
    except (ArgumentError, ValueError):
        return None


def _unparsable(spec: str) -> str:
    """What may be shown of a URL that can't be parsed: any part behind its scheme may be a password."""
    return f"{spec.partition('://')[0]}://…"
