"""Small logs for tests: generic JSONL with enough different words to make a map."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

words = """
    agent run token error retry search file patch test build deploy query cache index vector layout snapshot
    model prompt answer plan tool call result timeout network disk memory process signal thread lock lease batch
    record python shell browser click table column row sort filter join merge branch commit review issue fix bug
    crash log
""".split()  # noqa: SIM905 - one word a line otherwise


def lines(n: int, *, seed: int = 0, start: int = 0) -> list[dict[str, Any]]:
    """`n` records of one run, from iteration `start` on; every tenth text is the same one."""
    rng = random.Random(seed * 100_003 + start)
    return [
        {
            "iteration": start + i,
            "idx": 0,
            "type": ("user", "assistant", "tool_call", "tool_result")[i % 4],
            "text": "ok" if i % 10 == 9 else " ".join(rng.choices(words, k=rng.randint(4, 12))),
            "timestamp": f"2026-01-01T00:00:{i % 60:02d}Z",
        }
        for i in range(n)
    ]


def write(path: Path, items: Iterable[Mapping[str, Any]]) -> Path:
    """A JSONL file of these items."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(item) + b"\n" for item in items))
    return path


def append(path: Path, items: Iterable[Mapping[str, Any]]) -> None:
    """The same file, grown."""
    with path.open("ab") as file:
        file.write(b"".join(orjson.dumps(item) + b"\n" for item in items))
