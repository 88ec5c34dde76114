"""URLs of databases without what is secret in them."""

from __future__ import annotations

from typing import Final

SECRET_WORDS: Final = ("password", "passwd", "pwd", "secret", "token", "odbc_connect")  # in names of parameters


def without_password(spec: str) -> str:
    """The URL without password and secret parameters; what holds none, as it is.

    The user stays: the same URL opens the database again where the password comes from elsewhere.

    >>> without_password("postgresql://me:p%2Fw@db:5432/app?table=logs&password=x")
    'postgresql://me@db:5432/app?table=logs'
    >>> without_password("/srv/logs"), without_password("sqlite:////srv/app.db?table=logs")
    ('/srv/logs', 'sqlite:////srv/app.db?table=logs')
    """
    scheme, found, _ = spec.partition("://")
    if not found:
        return spec
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(spec)
    except (ArgumentError, ValueError):
        return f"{scheme}://…"  # whatever it is may hold a password
    secret = [name for name in url.query if any(word in name.lower() for word in SECRET_WORDS)]
    if url.password is None and not secret:
        return spec
    bare = url.difference_update_query(secret)._replace(password=None)
    return bare.render_as_string(hide_password=False)
