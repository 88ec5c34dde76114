"""numba's cache of compiled functions, made safe against damage.

numba replaces its files by rename but never flushes them, checks nothing when it reads them, and lets whatever goes
wrong then end the program: after a power cut every later fit would fail, also at importing umap. Here every file
carries a checksum, and one that is damaged counts as missing: the function is compiled again.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

_MARK = b"runatlas-crc32:"
_TRAILER_BYTES = len(_MARK) + 4  # after the pickle, which readers without this module ignore


@cache
def tolerate_damage() -> None:
    """From now on this process takes a damaged file of numba's cache for a missing one. Once is enough."""
    from numba.core.caching import IndexDataCacheFile

    files: Any = IndexDataCacheFile
    load_index, load_data, dump = files._load_index, files._load_data, files._dump  # noqa: SLF001

    def _load_index(self: Any) -> Any:
        try:
            with open(self._index_path, "rb") as file:  # noqa: PTH123 - numba keeps paths as text
                _expect_whole(file.read())
            return load_index(self)
        except Exception:  # noqa: BLE001 - a damaged pickle raises anything
            return {}

    def _load_data(self: Any, name: str) -> Any:
        try:
            with open(self._data_path(name), "rb") as file:  # noqa: PTH123
                _expect_whole(file.read())
            return load_data(self, name)
        except Exception as error:
            raise FileNotFoundError(name) from error  # numba takes it for removed, and compiles

    def _dump(self: Any, value: Any) -> bytes:
        raw: bytes = dump(self, value)
        return raw + _MARK + zlib.crc32(raw).to_bytes(4, "little")

    files._load_index, files._load_data, files._dump = _load_index, _load_data, _dump  # noqa: SLF001


def _expect_whole(content: bytes) -> None:
    """Raises `ValueError` where the checksum does not match the content; a file without one was written by plain numba."""
    at = len(content) - _TRAILER_BYTES
    if at < 0 or not content.startswith(_MARK, at):
        return
    stored = int.from_bytes(content[-4:], "little")
    body = content[:at]
    # an index file begins with a pickle of numba's version, which is not part of the sum
    if zlib.crc32(body) != stored and zlib.crc32(_after_first_pickle(body)) != stored:
        raise ValueError("damaged")


def _after_first_pickle(body: bytes) -> bytes:
    import io
    import pickle

    stream = io.BytesIO(body)
    pickle.load(stream)  # noqa: S301 - numba reads the same bytes the same way
    return stream.read()
