"""ATIF trajectories (Harbor, terminal-bench), versions 1.0 to 1.8: one JSON document a run, or one a line.

Each step of the agent is a model response, but for those it made without a model. Steps copied from the file before a
continuation are left out; sub-agents inside the document are runs of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contracts import Defect, Json, Skipped
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import End, Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, guarded, not_an_object
from components.sources.formats.runs import RunNames, run_per_line
from components.sources.formats.times import timestamp
from components.sources.formats.values import listed, mapping, mostly, scalars

COPIED: Final = Skipped(rule="step copied from the file before")
ELSEWHERE: Final = Skipped(rule="reference to a sub-agent's trajectory")
MAX_DEPTH: Final = 20  # of sub-agents in sub-agents
TYPES: Final = {"user": "user", "agent": "assistant", "system": "system"}


def _version(item: Json) -> str:
    version = item.get("schema_version") if isinstance(item, dict) else None
    return version if isinstance(version, str) and version.startswith("ATIF-") else ""


def _recognise(head: Head) -> Verdict:
    if version := _version(head.document):
        return accept(f"schema_version is {version}")
    if isinstance(head.document, list) and mostly(head.document, lambda item: bool(_version(item))):
        return accept(f"a list of trajectories whose schema_version is {_version(head.document[0])}")
    return decline("no schema_version that starts with ATIF-")


def _recognise_lines(head: Head) -> Verdict:
    if mostly(list(head.lines), lambda item: bool(_version(item))):
        return accept("trajectories with an ATIF schema_version on its lines")
    return decline("no lines whose schema_version starts with ATIF-")


def _read(document: Json, options: Options) -> Iterator[Read]:
    names = RunNames()
    if not isinstance(document, list):
        yield from _trajectory(document, "", names, options)
        return
    for item in document:
        yield from _trajectory(item, names.unique(_id(item)), names, options)


def _read_line(item: Json, names: RunNames, options: Options) -> Iterator[Read]:
    return _trajectory(item, names.unique(_id(item)), names, options)


def _id(item: Json) -> Json:
    return (item.get("trajectory_id") or item.get("session_id")) if isinstance(item, dict) else None


def _trajectory(
    item: Json, run: str, names: RunNames, options: Options, parent: str = "", depth: int = 0
) -> Iterator[Read]:
    if not isinstance(item, dict):
        yield not_an_object(0, item)
        return
    turns, extra = Turns(run=run), _meta(item, parent)
    steps = item.get("steps")
    if not isinstance(steps, list):
        yield Defect(offset=0, reason="a trajectory without a list of steps")
    for place, step in enumerate(listed(steps)):
        if not isinstance(step, dict):
            yield not_an_object(place, step)
        elif step.get("is_copied_context") is True and options.history == "new":
            yield COPIED
        else:
            yield from guarded(place, _step(turns, step, extra))
    for subagent in listed(item.get("subagent_trajectories")):
        if depth >= MAX_DEPTH:
            yield Defect(offset=0, reason="sub-agents nested too deeply to be read")
            return
        name = names.unique(_id(subagent) or "subagent")
        yield from _trajectory(subagent, name, names, options, str(_id(item) or run), depth + 1)


def _step(turns: Turns, step: Mapping[str, Json], extra: Mapping[str, Json]) -> Iterator[Read]:
    source, when = step.get("source"), timestamp(step.get("timestamp"))
    if source == "agent" and step.get("llm_call_count") != 0:
        turns.respond()
    own = {**extra, **_metrics(step)}
    empty = True
    for kind, text, more in _parts(step, TYPES.get(source, source) if isinstance(source, str) and source else "user"):
        if text and not text.isspace():
            empty = False
            kept = {key: value for key, value in more.items() if isinstance(value, str) and value}
            yield turns.event(kind, text, when, {**own, **kept})
    results = _results(step)
    if any(not text_of(r.get("content")) and r.get("subagent_trajectory_ref") for r in results if isinstance(r, dict)):
        yield ELSEWHERE
    elif empty:
        yield EMPTY


Part = tuple[str, str, Mapping[str, Json]]


def _parts(step: Mapping[str, Json], kind: str) -> Iterator[Part]:
    """A step's parts in their order: thought, message, calls, results."""
    yield "reasoning", text_of(step.get("reasoning_content")), {}
    yield kind, text_of(step.get("message")), {}
    for call in listed(step.get("tool_calls")):
        if isinstance(call, dict):
            name = call.get("function_name")
            about = {"tool": name, "call_id": call.get("tool_call_id")}
            yield "tool_call", tool_call(name, call.get("arguments") or None), about
        else:
            yield "tool_call", text_of(call), {}
    for result in _results(step):
        yield from _result(result)


def _results(step: Mapping[str, Json]) -> list[Json]:
    return listed(mapping(step.get("observation")).get("results"))


def _result(result: Json) -> Iterator[Part]:
    if not isinstance(result, dict):
        yield "tool_result", text_of(result), {}
        return
    about = {"call_id": result.get("source_call_id")}
    failed = mapping(result.get("extra")).get("is_error") is True
    yield ("error" if failed else "tool_result"), text_of(result.get("content")), about
    refs = result.get("subagent_trajectory_ref")
    for ref in map(mapping, refs if isinstance(refs, list) else (refs,)):
        subagent = ref.get("trajectory_id") or ref.get("trajectory_path")
        yield "summary", text_of(mapping(ref.get("extra")).get("summary")), {**about, "subagent": subagent}


def _metrics(step: Mapping[str, Json]) -> dict[str, Json]:
    metrics = mapping(step.get("metrics"))
    found = {
        "model": step.get("model_name"),
        "prompt_tokens": metrics.get("prompt_tokens"),
        "completion_tokens": metrics.get("completion_tokens"),
        "cost_usd": metrics.get("cost_usd"),
    }
    return scalars(found)


def _meta(item: Mapping[str, Json], parent: str) -> dict[str, Json]:
    agent = mapping(item.get("agent"))
    found = {
        "session": item.get("session_id"),
        "trajectory": item.get("trajectory_id"),
        "parent": parent or None,
        "agent": agent.get("name"),
        "agent_version": agent.get("version"),
        "model": agent.get("model_name"),
        "continued_in": item.get("continued_trajectory_ref"),
    }
    return {key: value for key, value in found.items() if isinstance(value, str) and value}


def _end(document: Json) -> End:
    items = document if isinstance(document, list) else [document]
    if items and all(mapping(item).get("final_metrics") is not None for item in items):
        return End(mark=True, reason="final_metrics are there")
    if any(mapping(item).get("continued_trajectory_ref") for item in items):
        return End(mark=True, reason="it continues in another file")
    return End(mark=False, reason="no final_metrics yet")


ROWS: tuple[Format, ...] = (
    Format(name="atif", shape="document", recognises=_recognise, read=_read, end=_end),
    Format(name="atif", shape="lines", recognises=_recognise_lines, reader=run_per_line(_read_line)),
)
