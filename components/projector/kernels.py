"""umap-learn's compiled functions, kept on disk.

umap compiles its functions anew in every process (10 to 70 s); numba can keep them, it only has to be told. The first
process on a machine still compiles, so installation calls `warm_kernels`. They are kept where numba keeps its own: in
`NUMBA_CACHE_DIR` where that is set (an image sets it), else beside umap's sources, so that every dataset and folder
shares them, and only where those can't be written in the cache of this installation's data.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.projector.kernel_cache import tolerate_damage

_one_fit = threading.Lock()  # numba's default thread pool ends the process when two threads enter it at once


@contextmanager
def umap_kernels(cache: Path) -> Iterator[Any]:
    """umap-learn's functions, compiled ones kept on disk; on one thread, so that sums have one order.

    Its warnings are silenced: they speak of Tensorflow at import, and of options we don't use.
    """
    with _one_fit, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import numba

        config: Any = numba.config
        if not config.CACHE_DIR and not _sources_are_writable():
            config.CACHE_DIR = str(cache / "kernels")
        tolerate_damage()  # before umap, which reads some of them at its import
        from umap import layouts, umap_

        _keep_compiled(umap_, layouts)
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            yield umap_
        finally:
            numba.set_num_threads(threads)


def _sources_are_writable() -> bool:
    found = find_spec("umap")
    return found is not None and found.origin is not None and os.access(Path(found.origin).parent, os.W_OK)


def _keep_compiled(*modules: Any) -> None:
    """Make numba keep what it compiles of these modules, as `cache=True` in their source would."""
    from numba.core.caching import NullCache
    from numba.core.dispatcher import Dispatcher

    for module in modules:
        functions: list[Any] = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
        for function in functions:
            if isinstance(function._cache, NullCache):  # noqa: SLF001
                function.enable_caching()
