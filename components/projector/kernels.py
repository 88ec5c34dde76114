"""umap-learn's compiled functions: kept on disk, compiled once, and ahead of time where a fit is foreseen.

umap compiles its functions again in every process; numba can keep them when it is configured to. They are kept where numba
keeps its own: in `NUMBA_CACHE_DIR` where that is set (an image sets it), else beside umap's sources, so that every
dataset and folder shares them, and only where those can't be written in the cache of this installation's data.

The first process on a machine still compiles (8 s). `compile_in_background` lets another process do that meanwhile; a
fit that comes too early waits for it. Importing umap imports pynndescent, which compiles 200 functions at its import
(16 s); our fits get their neighbours from `knn` and call none of them, so they are compiled when called, if ever.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

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

        _use_cache(cache)
        tolerate_damage()  # before umap, which reads some of them at its import
        with _compiled_when_called(numba):
            import pynndescent  # noqa: F401 - umap imports it
        from umap import layouts, umap_

        _keep_compiled(umap_, layouts)
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            yield umap_
        finally:
            numba.set_num_threads(threads)


def compile_once(cache: Path, small_fit: Callable[[], object]) -> None:
    """Make sure that the functions are compiled and kept: one process of the machine does it, others wait for it."""
    mark = _mark(cache)
    if mark.exists():
        return
    mark.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(mark.with_suffix(".lock")):
        if not mark.exists():
            small_fit()
            mark.touch()


def compile_in_background(cache: Path) -> None:
    """Start `compile_once` in a process of its own and return at once; does nothing where that was done before."""
    if _mark(cache).exists():
        return
    command = [sys.executable, "-P", "-m", "components.projector", str(cache)]
    quiet = subprocess.DEVNULL
    threading.Thread(
        target=lambda: subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, check=False),
        name="compile-umap",
        daemon=True,  # its process ends by itself
    ).start()


def _mark(cache: Path) -> Path:
    """The file that says that this installation of umap was compiled; if it is wrong, a compilation is repeated."""
    installation = f"{_sources()} {version('umap-learn')} {version('numba')} {sys.implementation.cache_tag}"
    return cache / "kernels" / f"compiled-{hashlib.sha256(installation.encode()).hexdigest()[:16]}"


def _use_cache(cache: Path) -> None:
    """Configure numba where to keep what it compiles of umap."""
    import numba

    config: Any = numba.config
    sources = _sources()
    if not config.CACHE_DIR and (sources is None or not os.access(sources, os.W_OK)):
        config.CACHE_DIR = str(cache / "kernels")


def _sources() -> Path | None:
    found = find_spec("umap")
    return Path(found.origin).parent if found is not None and found.origin is not None else None


@contextmanager
def _compiled_when_called(numba: Any) -> Iterator[None]:
    """What is declared with types meanwhile is compiled at its first call, not at its declaration."""
    eager = numba.njit

    def lazy(*signature_or_function: Any, **options: Any) -> Any:
        return eager(*(one for one in signature_or_function if callable(one)), **options)

    numba.njit = lazy
    try:
        yield
    finally:
        numba.njit = eager


def _keep_compiled(*modules: Any) -> None:
    """Make numba keep what it compiles of these modules, as `cache=True` in their source would."""
    from numba.core.caching import NullCache
    from numba.core.dispatcher import Dispatcher

    for module in modules:
        functions: list[Any] = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
        for function in functions:
            if isinstance(function._cache, NullCache):  # noqa: SLF001
                function.enable_caching()
