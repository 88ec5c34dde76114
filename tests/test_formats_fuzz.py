"""Every golden log, damaged at random: each reader gives records, defects or a reason, quickly and in bounded memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from shelf import Shelf

from components.errors import UnknownFormat, Unreadable
from components.sources.formats import FORMATS

GOLDEN = sorted(path for path in (Path(__file__).parent / "data").glob("*/*") if ".expected." not in path.name)
SHORT, LONG = 6, 150  # mutants of each log
MUTANT_S = 5.0  # CPU; each takes some ms
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
        with suppress(UnknownFormat, Unreadable):
            shelf.load(path)
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


def test_every_format_with_a_golden_log_is_attacked():
    taken = {golden.parent.name for golden in GOLDEN}
    assert {row.name.removesuffix("_swe_agent").split("_")[0] for row in FORMATS} - {
        name.split("_")[0] for name in taken
    } <= {"flat", "plain"}
