"""The columns that people filter by, under one spelling for all formats: `run`, `tool`, `model`, `project`, `outcome`,
`score`, `tokens`, `cost`.

Formats keep what a log says in the log's own words; this is where those words become columns. Pure: a migration gives stored
records the same columns, from their `extra` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Final

from components.contracts import Json

RUN_KEYS: Final = (
    *("session_id", "session", "sessionId", "sessionKey", "conversation_id", "conversationId", "thread_id"),
    *("traj_id", "instance_id", "custom_id", "run_id", "conv_id", "question_ID", "task_name"),
)
PROJECT_KEYS: Final = ("project", "cwd", "workspace", "working_directory", "working_dir", "repository", "repo")
SCORE_GRADES: Final = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}  # Inspect: correct, incorrect, partial, no answer
GRADED: Final = "score_"  # of a scorer of Inspect
RESULTS: Final = ("tool_result", "error")
MAX_CALLS: Final = 64  # without a result; what is remembered is written with every cursor
CALL_IDS: Final = ("tool_call_id", "call_id")

Read = Callable[[Json], Json]


def with_columns(extra: Mapping[str, Json], run: str = "") -> dict[str, Json]:
    """What `extra` lacks of the columns, as far as the log says it; `run` is the name of the run within its file.

    >>> with_columns({"cwd": "/home/ada/pond", "session_id": "s-1", "output_tokens": 7, "resolved": False})
    {'run': 's-1', 'project': '/home/ada/pond', 'outcome': 'fail', 'tokens': 7}
    >>> with_columns({"reward": 1.0}, run="3-0")
    {'outcome': 'pass', 'score': 1.0, 'run': '3-0'}
    """
    found: dict[str, Json] = {}
    for key, column, read in _plan(tuple(extra)):
        if column not in found and (value := read(extra[key])) is not None:
            found[column] = value
    if run and "run" not in found and "run" not in extra and (named := own_name(run)):
        found["run"] = named
    return found


@lru_cache(maxsize=4_096)
def _plan(keys: tuple[str, ...]) -> tuple[tuple[str, str, Read], ...]:
    """What to read of an `extra` with these keys: key, column and how, the best key of a column first."""
    found = [
        (COLUMNS.index(column), rank, key, column, read)
        for key in keys
        for column, rank, read in _RULES.get(key) or (_GRADES if key.startswith(GRADED) else ())
        if column not in keys
    ]
    return tuple((key, column, read) for _, _, key, column, read in sorted(found, key=itemgetter(0, 1)))


def own_name(run: str) -> str:
    """The name that the log gives a run within its file; "" for a number that only counts the file's runs.

    >>> own_name("humaneval_7~2"), own_name("12"), own_name("run~3")
    ('humaneval_7', '', '')
    """
    base, _, number = run.rpartition("~")
    name = base if base and number.isdecimal() else run
    return "" if name.isdecimal() or name == "run" else name


def call_id_of(extra: Mapping[str, Json]) -> str:
    """The id by which a tool's result is matched with its call; "" where there is none."""
    for key in CALL_IDS:
        if isinstance(found := extra.get(key), str):
            return found
    return ""


@dataclass(slots=True)
class OpenCalls:
    """The tools of calls whose results have not come yet, by call id: most logs name the tool in its call alone."""

    tools: dict[str, str] = field(default_factory=dict)

    def tool_of(self, type: str, extra: Mapping[str, Json]) -> str:
        """The tool that a result comes from, where only its call named it; calls are remembered, the latest ones.

        >>> calls = OpenCalls()
        >>> calls.tool_of("tool_call", {"tool": "Bash", "call_id": "c1"}), calls.tool_of("error", {"call_id": "c1"})
        ('', 'Bash')
        """
        if type == "tool_call":
            tool, call_id = extra.get("tool"), call_id_of(extra)
            if call_id and isinstance(tool, str):
                self.tools[call_id] = tool
                if len(self.tools) > MAX_CALLS:
                    del self.tools[next(iter(self.tools))]
            return ""
        if type not in RESULTS or not self.tools:
            return ""
        tool = self.tools.pop(call_id_of(extra), "")
        return "" if extra.get("tool") else tool


# --- what a log's value says -----------------------------------------------------------------------------------------


def _text(value: Json) -> Json:
    return value if type(value) is str and value and not value.isspace() else None


def _name(value: Json) -> Json:
    if type(value) is str:
        return value if value and not value.isspace() else None
    return str(value) if type(value) is int else None


def _passed(value: Json) -> Json:
    """Of a flag that tells whether the task was solved."""
    if isinstance(value, bool):
        return "pass" if value else "fail"
    return _rewarded(value)


def _rewarded(value: Json) -> Json:
    """Of a reward from 0 to 1; what lies between is neither."""
    number = _number(value)
    return None if number is None else "pass" if number >= 1 else "fail" if number <= 0 else None


def _graded(value: Json) -> Json:
    return {"C": "pass", "I": "fail", "N": "fail"}.get(value) if isinstance(value, str) else None


def _grade(value: Json) -> Json:
    return SCORE_GRADES.get(value) if isinstance(value, str) else _number(value)


def _number(value: Json) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _count(value: Json) -> Json:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _ranked(column: str, read: Read, *keys: str) -> list[tuple[str, tuple[str, int, Read]]]:
    return [(key, (column, rank, read)) for rank, key in enumerate(keys)]


COLUMNS: Final = ("run", "tool", "model", "project", "outcome", "score", "tokens", "cost")
_GRADES: Final[tuple[tuple[str, int, Read], ...]] = (("outcome", 8, _graded), ("score", 8, _grade))
_LISTED: Final = (
    *_ranked("run", _name, *RUN_KEYS),
    *_ranked("tool", _text, "tool", "toolName", "tool_name"),
    *_ranked("model", _text, "model", "model_name"),
    *_ranked("project", _text, *PROJECT_KEYS),
    *_ranked("outcome", _passed, "resolved", "success", "is_solved", "is_correct", "correct", "reward"),
    ("r_game", ("outcome", 6, _passed)),
    ("exit_status", ("outcome", 9, _text)),  # the log's own word; the exit status of a command is a number
    *_ranked("score", _number, "score", "reward", "r"),
    *_ranked("tokens", _count, "output_tokens", "tokens_out", "completion_tokens", "total_tokens"),
    *_ranked("cost", _number, "cost_usd", "costUSD", "total_cost_usd", "total_cost", "response_cost"),
)
_RULES: Final = {name: tuple(rule for key, rule in _LISTED if key == name) for name, _ in _LISTED}
