"""Bad days on demand: small disks, other users, disks that refuse, databases that crash, processes that stall."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from components.errors import TransientError
from components.pipeline import Pipeline
from components.settings import EmbedSettings, LoadSettings, PublishSettings, Settings

root = Path(__file__).parents[1]
nobody = 65_534


def small_steps(home: Path, **changes: Any) -> Settings:
    """Small batches, so that there are many moments between two commits; nothing old is kept for long."""
    defaults: dict[str, Any] = {
        "home": home,
        "model": "hash://16",
        "load": LoadSettings(quiet_s=0, batch_records=20),
        "embed": EmbedSettings(batch_tokens=64, backoff_s=0.01),
        "publish": PublishSettings(part_rows=5_000, keep_s=0),
        "lease": {"ttl_s": 1.0},
    }
    return Settings(**(defaults | changes))


def environment(settings: Settings) -> dict[str, str]:
    """The same settings for a process of its own."""
    given = {
        "HOME": settings.home,
        "MODEL": settings.model,
        "SHARED_CACHE": settings.shared_cache,
        "LOAD__QUIET_S": settings.load.quiet_s,
        "LOAD__BATCH_RECORDS": settings.load.batch_records,
        "EMBED__BATCH_TOKENS": settings.embed.batch_tokens,
        "EMBED__BACKOFF_S": settings.embed.backoff_s,
        "PUBLISH__PART_ROWS": settings.publish.part_rows,
        "PUBLISH__KEEP_S": settings.publish.keep_s,
        "LEASE__TTL_S": settings.lease.ttl_s,
        "CONFIG": "",
    }
    if settings.database_url:
        given["DATABASE_URL"] = settings.database_url
    return {"PYTHONPATH": str(root), **{f"RUNATLAS_{name}": str(value) for name, value in given.items()}}


def shell(
    settings: Settings, *words: str | Path, more: Mapping[str, str] = {}, **options: Any
) -> subprocess.Popen[str]:
    """`runatlas WORDS` in a process of its own, on these settings."""
    return subprocess.Popen(
        [sys.executable, "-c", "from api.cli.main import main; main()", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, **environment(settings), **more},
        **options,
    )


def said(child: subprocess.Popen[str]) -> tuple[int, str]:
    """How a child ended, and what it said on stderr."""
    _, err = child.communicate(timeout=120)
    return child.returncode, err


def patient_index(pipeline: Pipeline, **options: Any) -> None:
    """Index as soon as the lease of whoever died has run out."""
    deadline = time.monotonic() + 60
    while True:
        try:
            pipeline.index(**options)
        except TransientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def texts(pipeline: Pipeline) -> Counter[str]:
    """The texts in the published output."""
    files = pipeline.snapshot().logs_files
    return Counter(text for path in files for text in pq.read_table(path, columns=["text"])["text"].to_pylist())


def failing(pipeline: Pipeline) -> list[Any]:
    """The promises that do not hold."""
    return [check for check in pipeline.verify() if not check.ok]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A folder on a disk of that size; skips where this user can't mount one."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Another size, or read-only."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def limited_files(size_bytes: int) -> Any:
    """For `preexec_fn`: no file may grow beyond this size, as on a disk that is full."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    return limit


shim = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FAULT_PATH: a piece of the paths meant; FAULT_CALLS: which calls fail on them; FAULT_ERRNO: how. */
static int is_meant(const char *call, const char *path) {
    const char *piece = getenv("FAULT_PATH"), *calls = getenv("FAULT_CALLS");
    return piece && calls && strstr(calls, call) && strstr(path, piece);
}

static int refused(const char *call, int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    if (!is_meant(call, path)) return 0;
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}

int fsync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return refused("fsync", descriptor) ? -1 : real(descriptor);
}

int fdatasync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return refused("fsync", descriptor) ? -1 : real(descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t n) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return refused("write", descriptor) ? -1 : real(descriptor, bytes, n);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t n, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    return refused("write", descriptor) ? -1 : real(descriptor, bytes, n, at);
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    if (is_meant("rename", to)) { errno = atoi(getenv("FAULT_ERRNO")); return -1; }
    return real(from, to);
}
"""


def build_shim(folder: Path) -> Path:
    """A library that makes calls on chosen files fail; skips where there is no compiler."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc here to build the library that makes disks fail")
    (folder / "shim.c").write_text(shim)
    library = folder / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, folder / "shim.c", "-ldl"], check=True)
    return library


def crash_postgres(url: str) -> None:
    """Kill a server process of that database: PostgreSQL then throws out everybody and recovers from its log."""
    with connected(url) as connection:
        pid = connection.info.backend_pid
        os.kill(pid, signal.SIGKILL)


def recovered(url: str) -> None:
    """Wait until that server takes connections again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with connected(url):
                return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection outside of any pool, closed whatever happens."""
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(plain, autocommit=True)
    try:
        yield connection
    finally:
        connection.close()
