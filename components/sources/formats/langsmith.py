"""LangSmith runs by their documented shape: a list, `{"runs": […]}`, a tree of `child_runs`, or a run a line."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from components.contracts import Defect, Json
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import End, Format, Head, Verdict, accept, decline
from components.sources.formats.defects import not_an_object
from components.sources.formats.messages import pieces_of
from components.sources.formats.payloads import pieces_of_payload
from components.sources.formats.pieces import Piece
from components.sources.formats.span_formats import end_time_end, span_document, span_lines
from components.sources.formats.spans import Failure, Role, Span
from components.sources.formats.times import has_zone, nanoseconds, timestamp
from components.sources.formats.values import listed, mapping, mostly

ROLES: Final[Mapping[str, Role]] = {"llm": "model", "tool": "tool"}
THREAD_KEYS: Final = ("session_id", "thread_id", "conversation_id")  # of the metadata: what LangSmith calls a thread
LITERAL_CHARS: Final = 100_000
ANSWER_KEYS: Final = ("output", "answer", "result", "response", "text", "content")


def recognises(head: Head) -> Verdict:
    """Are they runs with a type, inputs and a trace?"""
    runs = head.lines if head.shape == "lines" else _listed(head.document)
    if mostly(runs, _is_run):
        return accept("runs with `run_type`, `inputs` and their place in a trace")
    return decline("no runs with `run_type` and `inputs`")


def _is_run(run: Json) -> bool:
    return (
        isinstance(run, dict)
        and isinstance(run.get("run_type"), str)
        and ("inputs" in run or "outputs" in run)
        and bool({"trace_id", "dotted_order", "start_time", "parent_run_id", "id"} & run.keys())
    )


def _listed(document: Json) -> list[Json]:
    if isinstance(document, dict):
        runs = document.get("runs")
        return runs if isinstance(runs, list) else [document]
    return listed(document)


def _with_children(runs: Iterable[Json], parent: str = "", trace: str = "") -> Iterator[tuple[Json, str, str]]:
    """Each run of a forest with its parent's id and its trace's, as far as the nesting shows them."""
    for run in runs:
        if not isinstance(run, dict):
            yield run, parent, trace
            continue
        own = text_of(run.get("id"))
        root = text_of(run.get("trace_id")) or trace or own
        yield run, parent, root
        yield from _with_children(listed(run.get("child_runs")), own, root)


def run_span(index: int, run: Json, parent: str = "", trace: str = "") -> Span | Defect:
    """One run as a span: `llm` runs are model calls, `tool` runs are tools."""
    if not isinstance(run, dict):
        return not_an_object(index, run)
    role = ROLES.get(str(run.get("run_type")), "other")
    metadata = mapping(mapping(run.get("extra")).get("metadata"))
    began, ended = timestamp(run.get("start_time")), timestamp(run.get("end_time"))
    error = text_of(run.get("error"))
    parent = text_of(run.get("parent_run_id")) or parent
    inputs, outputs, is_history = _extract_messages(role, run, is_root=not parent)
    return Span(
        trace_id=text_of(run.get("trace_id")) or trace or _root_of(run),
        span_id=text_of(run.get("id")),
        parent_id=parent,
        name=text_of(run.get("name")),
        service=text_of(run.get("session_name")) or text_of(run.get("project_name")),
        kind=text_of(run.get("run_type")),
        status="ERROR" if error else {"success": "OK", "error": "ERROR"}.get(str(run.get("status")), "UNSET"),
        start_ns=nanoseconds(began),
        end_ns=nanoseconds(ended),
        zoned=has_zone(began),
        attributes=_attributes(run, metadata),
        failures=(_failure(error),) if error.strip() else (),
        role=role,
        conversation=next((text_of(metadata[key]) for key in THREAD_KEYS if metadata.get(key)), ""),
        inputs=inputs,
        outputs=outputs,
        is_history=is_history,
    )


def _root_of(run: Mapping[str, Json]) -> str:
    """The trace of a run that names none: the id of the first run in its dotted order, else its own."""
    first = text_of(run.get("dotted_order")).partition(".")[0]
    return first.partition("Z")[2] or text_of(run.get("id"))


def _failure(error: str) -> Failure:
    message, _, trace = error.partition("\n\nTraceback")
    return Failure(text=message.strip() or error.strip(), stacktrace=f"Traceback{trace}" if trace else "")


def _attributes(run: Mapping[str, Json], metadata: Mapping[str, Json]) -> dict[str, Json]:
    params = mapping(mapping(run.get("extra")).get("invocation_params"))
    model = metadata.get("ls_model_name") or params.get("model")
    found = {
        "run_type": run.get("run_type"),
        "tags": run.get("tags") or None,
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": run.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": run.get("completion_tokens"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _extract_messages(role: Role, run: Mapping[str, Json], *, is_root: bool) -> tuple[list[Piece], list[Piece], bool]:
    """The inputs, the outputs, and whether the latter is the whole history (a graph's state)."""
    asked, answered = run.get("inputs"), run.get("outputs")
    if role == "tool":
        return _call(run, asked), _result(answered), False
    if role == "model":
        return pieces_of_payload(asked, "user"), pieces_of_payload(answered, "assistant"), False
    if not is_root:  # the steps of a chain pass on the messages of its model calls and tools
        return [], [], False
    state = isinstance(answered, dict) and isinstance(answered.get("messages"), list)
    outputs = pieces_of_payload(answered, "assistant")
    return ([] if state else pieces_of_payload(asked, "user")), outputs, state


def _call(run: Mapping[str, Json], asked: Json) -> list[Piece]:
    text = tool_call(text_of(run.get("name")), _literal(_only(asked, ("input",))))
    return [Piece(type="tool_call", text=text)] if text else []


def _literal(value: Json) -> Json:
    """LangChain passes arguments to a tool as the `repr` of a dict: the dict, where it is one."""
    if not isinstance(value, str) or not value.startswith("{'") or len(value) > LITERAL_CHARS:
        return value
    try:
        return literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _result(answered: Json) -> list[Piece]:
    value = _only(answered, ANSWER_KEYS)
    if isinstance(value, dict) and ("kwargs" in value or ("content" in value and {"type", "role"} & value.keys())):
        return pieces_of(value, "tool")
    return pieces_of({"role": "tool", "content": value})


def _only(values: Json, keys: Iterable[str]) -> Json:
    """The one value of an object that has but one, under a usual name; else the object."""
    if isinstance(values, dict) and len(values) == 1:
        return next((values[key] for key in keys if key in values), values)
    return values


def _document_spans(document: Json) -> Iterator[Span | Defect]:
    runs = sorted(enumerate(_with_children(_listed(document))), key=lambda numbered: _order(numbered[1][0]))
    yield from (run_span(index, run, parent, trace) for index, (run, parent, trace) in runs)


def _line_spans(item: Json) -> Iterator[Span | Defect]:
    return (run_span(0, run, parent, trace) for run, parent, trace in _with_children([item]))


def _order(run: Json) -> str:
    """Sorts runs that begin at the same time: exports list the newest first."""
    return text_of(run.get("dotted_order")) if isinstance(run, dict) else ""


def end(document: Json) -> End:
    """Has every run its end time?"""
    runs = [run for run in _listed(document) if isinstance(run, dict)]
    return end_time_end(sum(run.get("end_time") is None for run in runs), len(runs), "run")


ROWS: Final = (
    Format(name="langsmith", shape="document", recognises=recognises, read=span_document(_document_spans), end=end),
    Format(name="langsmith", shape="lines", recognises=recognises, reader=span_lines(_line_spans)),
)
