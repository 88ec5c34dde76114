"""Every golden log, damaged at random: each reader gives records, defects or a reason, quickly and in bounded memory."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from reading import golden_logs
from shelf import Shelf

from components.errors import UnknownFormat, Unreadable

GOLDEN = golden_logs()
SHORT, LONG = 6, 150  # mutants of each log
MUTANT_S = 5.0  # CPU; each takes some ms
MUTANT_BYTES, MUTANT_FACTOR = 4 << 20, 100  # memory of a load: so much, and so many times the size of the log
ODD: tuple[bytes, ...] = (
    b"\x00",
    b"\xff",
    b"\n",
    b"{",
    b"}",
    b"[",
    b'"',
    b"\\",
    b"null",
    b"-1",
    b"1e999",
    b"\\ud800",
    b"NaN",
)


def flipped(raw: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(raw)
    for _ in range(dice.randint(1, 20)):
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
    return bytes(damaged)


def cut(raw: bytes, dice: random.Random) -> bytes:
    return raw[: dice.randrange(1, len(raw))]


def holed(raw: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(raw))
    return raw[:start] + raw[start + dice.randint(1, 200) :]


def stuffed(raw: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(raw) + 1)
        raw = raw[:at] + dice.choice(ODD) + raw[at:]
    return raw


def shuffled(raw: bytes, dice: random.Random) -> bytes:
    """Lines doubled, dropped and in another order."""
    lines = raw.splitlines(keepends=True)
    return b"".join(dice.choices(lines, k=len(lines) + dice.randint(0, 5)))


def swapped(raw: bytes, dice: random.Random) -> bytes:
    """Values of another kind where a value was expected; the JSON stays whole."""
    old, new = dice.sample(
        [b'"text"', b'"role"', b'"content"', b'"type"', b'"id"', b"[]", b"null", b"true", b"{}", b"1"], 2
    )
    return raw.replace(b": " + old, b": " + new).replace(b":" + old, b":" + new).replace(old, new, dice.randint(1, 4))


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, cut, holed, stuffed, shuffled, swapped)


def attack(golden: Path, folder: Path, n_mutants: int) -> None:
    raw = golden.read_bytes()
    for n in range(n_mutants):
        dice = random.Random(f"{golden.name} {n}")
        mutant = WAYS[n % len(WAYS)](raw, dice) or b"\n"
        path = folder / golden.name
        path.write_bytes(mutant)
        shelf, started = Shelf(), time.process_time()
        tracemalloc.start()
        try:
            with suppress(UnknownFormat, Unreadable):
                shelf.load(path)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak_bytes < MUTANT_BYTES + MUTANT_FACTOR * len(mutant), n
        assert time.process_time() - started < MUTANT_S, n
        assert all(record.text.strip() and record.iteration >= 0 for record in shelf.records.values()), n
        assert len(shelf.records) <= len(mutant), n
        if shelf.entry and not shelf.waits:
            assert shelf.decide(path).action in ("skip", "resume"), n


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_damaged_log_never_crashes_its_reader(tmp_path, golden):
    attack(golden, tmp_path, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_log_damaged_in_many_ways_never_crashes_its_reader(tmp_path, golden):
    attack(golden, tmp_path, LONG)


RUN = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
READ = """
import re, sys
from pathlib import Path
from components.errors import SourceError
from components.settings import LoadSettings
from components.sources.files import FileSource

def peak_kib():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

source, before = FileSource(LoadSettings(quiet_s=0)), peak_kib()
for locator in source.discover(sys.argv[1:]).locators:
    try:
        for batch in source.read(locator, None):
            pass
    except SourceError as error:
        print(error, file=sys.stderr)
print(peak_kib() - before)
"""


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b"{}")
        archive.writestr("samples/1.json", bytes(300 << 20))


WORST: dict[str, tuple[str, Callable[[Path], object], int]] = {  # name, how it is written, MiB that its load may take
    "a line of 100 MB": ("a.jsonl", lambda p: p.write_bytes(RUN + b'{"role": "' + b"x" * (100 << 20) + b'"}\n' + RUN), 250),
    "a document of 100 MB": ("a.json", lambda p: p.write_bytes(b'{"role": "' + b"x" * (100 << 20) + b'"}\n'), 500),
    "a gzip bomb": ("a.gz", lambda p: p.write_bytes(gzip.compress(RUN + bytes(300 << 20))), 150),
    "a zip bomb": ("a.eval", zipped, 50),
    "deep lists": ("a.json", lambda p: p.write_bytes(b"[" * 2_000_000 + b"]" * 2_000_000), 100),
    "a deep line": ("a.jsonl", lambda p: p.write_bytes(RUN + b'{"a":' * 500_000 + b"1" + b"}" * 500_000 + b"\n" + RUN), 120),
    "messages without content": ("a.json", lambda p: p.write_bytes(b"[" + b"{}," * 5_000_000 + b"{}]"), 900),
    "many runs": ("a.jsonl", lambda p: p.write_bytes(b"".join(b'{"id":%d,' % n + RUN[1:] for n in range(100_000))), 100),
    "a quote that never ends": ("a.csv", lambda p: p.write_bytes(b'text,iteration\n"' + b"a,1\n" * 5_000_000), 100),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("worst", WORST)
def test_the_worst_inputs_take_bounded_memory(tmp_path, worst):
    name, write, allowed_mib = WORST[worst]
    write(tmp_path / name)
    root = Path(__file__).parents[1]
    child = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path / name)], cwd=root, capture_output=True, text=True, check=True
    )
    assert int(child.stdout) >> 10 < allowed_mib, child.stderr
