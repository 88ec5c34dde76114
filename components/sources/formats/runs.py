"""Logs that hold several runs: their names, one run per line, and the end mark of a run's `info`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from components.contracts import Json
from components.sources.formats.contract import End, Options, Read
from components.sources.formats.values import mapping


class RunNames:
    """Makes the names of a file's runs unique: the second `a` becomes `a~2`.

    >>> names = RunNames()
    >>> names.unique("a"), names.unique("a"), names.unique("")
    ('a', 'a~2', 'run')
    """

    __slots__ = ("count",)

    def __init__(self, count: Mapping[str, int] | None = None) -> None:
        self.count: dict[str, int] = dict(count or {})

    def unique(self, name: Json) -> str:
        """The name, with a number behind it from the second run of that name on."""
        base = str(name) if isinstance(name, str | int | float) and str(name).strip() else "run"
        self.count[base] = n = self.count.get(base, 0) + 1
        return base if n == 1 else f"{base}~{n}"


ReadRun = Callable[[Json, RunNames, Options], Iterable[Read]]


@dataclass(frozen=True, slots=True)
class RunPerLine:
    """Reads a log with one run per line; its state is the names used so far."""

    read_run: ReadRun
    names: RunNames
    options: Options
    state_key: str

    def read(self, item: Json) -> Iterable[Read]:
        """The items of one run."""
        return self.read_run(item, self.names, self.options)

    def state(self) -> Json:
        """The names used so far, under `state_key` where there is one."""
        return {self.state_key: self.names.count} if self.state_key else self.names.count


def run_per_line(read_run: ReadRun, *, state_key: str = "") -> Callable[[Json, Options], RunPerLine]:
    """The `reader` of a format whose lines are runs. `state_key` is kept for cursors that are already stored."""

    def reader(state: Json, options: Options) -> RunPerLine:
        count = mapping(state).get(state_key) if state_key else state
        return RunPerLine(read_run, RunNames(count), options, state_key)

    return reader


def exit_status_end(document: Json) -> End:
    """The end mark of SWE-agent and mini-swe-agent: `info.exit_status`."""
    status = mapping(mapping(document).get("info")).get("exit_status")
    if status:
        return End(mark=True, reason=f"info.exit_status is {status}")
    return End(mark=False, reason="info has no exit_status")
