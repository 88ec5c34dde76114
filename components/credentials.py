"""Passwords of source URLs: in the settings, or in a file in the home that only this user can read.

The database, records, reports and logs hold URLs without them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import orjson

from components.atomic import atomic_write
from components.errors import BadSetting
from components.locations import is_url, without_password


class Credentials:
    """Source URLs with their passwords, by the URL without; those that the settings name come first."""

    def __init__(self, file: Path, configured: Iterable[str] = ()) -> None:
        self._file = file
        self._configured = _by_bare_url(configured)

    def completed(self, spec: str) -> str:
        """The URL with its password, where one is known; anything else as it is.

        A password in `spec` itself goes first. Without any the driver looks in its own files, such as `~/.pgpass`.
        """
        if not is_url(spec) or without_password(spec) != spec:
            return spec
        return self._configured.get(spec) or self._kept().get(spec) or spec

    def keep(self, specs: Iterable[str]) -> None:
        """Store the passwords in these URLs for later loads. Raises `BadSetting` where the file can't be written."""
        fresh = _by_bare_url(specs)
        known = self._kept()
        if all(known.get(bare) == spec or self._configured.get(bare) == spec for bare, spec in fresh.items()):
            return
        self._write(known | fresh)

    def forget(self, bare: Collection[str]) -> None:
        """Delete the passwords of these URLs, given without them."""
        known = self._kept()
        if not known.keys().isdisjoint(bare):
            self._write({url: spec for url, spec in known.items() if url not in bare})

    def _write(self, known: Mapping[str, str]) -> None:
        try:
            with atomic_write(self._file) as aside:
                descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(orjson.dumps(known, option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise BadSetting(
                f"The password of a source can't be kept in {self._file} ({error.strerror}): make it writable, or give the "
                "URL without password and name it with its password in datasets.NAME.sources."
            ) from error

    def _kept(self) -> dict[str, str]:
        try:
            found = orjson.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            raise BadSetting(
                f"{self._file}, which holds passwords of sources, can't be read ({error}): restore it, or remove it and load "
                "those sources once more with their passwords."
            ) from error
        return found if isinstance(found, dict) else {}


def _by_bare_url(specs: Iterable[str]) -> dict[str, str]:
    """URL without password -> URL, of those that hold one; of several for one URL the last."""
    pairs = [(without_password(spec), spec) for spec in specs if is_url(spec)]
    return {bare: spec for bare, spec in pairs if bare != spec and not bare.endswith("…")}
