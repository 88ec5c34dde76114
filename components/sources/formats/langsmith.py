"""LangSmith runs by their documented shape: a list, `{"runs": […]}`, a tree of `child_runs`, or a run a line."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from components.contracts import Defect, Json
from components.sources.formats.content import text_of, timestamp, tool_call
from components.sources.formats.contract import (
    End,
    Format,
    Head,
    LineReader,
    Options,
    Read,
    Verdict,
    accept,
    decline,
)
from components.sources.formats.messages import pieces_of
from components.sources.formats.otel_genai import spoken
from components.sources.formats.pieces import Piece, guarded, mostly, not_an_object
from components.sources.formats.spans import Failure, Role, Span, SpanRuns, nanoseconds

ROLES: Final[Mapping[str, Role]] = {"llm": "model", "tool": "tool"}
THREAD_KEYS: Final = ("session_id", "thread_id", "conversation_id")  # of the metadata: what LangSmith calls a thread
LITERAL_CHARS: Final = 100_000
ANSWER_KEYS: Final = ("output", "answer", "result", "response", "text", "content")


def recognises(head: Head) -> Verdict:
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
    return document if isinstance(document, list) else []


def _with_children(runs: Iterable[Json], parent: str = "", trace: str = "") -> Iterator[tuple[Json, str, str]]:
    """Each run of a forest with its parent's id and its trace's, as far as the nesting tells them."""
    for run in runs:
        if not isinstance(run, dict):
            yield run, parent, trace
            continue
        own = text_of(run.get("id"))
        root = text_of(run.get("trace_id")) or trace or own
        yield run, parent, root
        children = run.get("child_runs")
        if isinstance(children, list):
            yield from _with_children(children, own, root)


def run_span(index: int, run: Json, parent: str = "", trace: str = "") -> Span | Defect:
    """One run as a span: `llm` runs are model calls, `tool` runs are tools."""
    if not isinstance(run, dict):
        return not_an_object(index, run)
    role = ROLES.get(str(run.get("run_type")), "other")
    extra = run.get("extra")
    metadata = extra.get("metadata") if isinstance(extra, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    began, ended = timestamp(run.get("start_time")), timestamp(run.get("end_time"))
    error = text_of(run.get("error"))
    parent = text_of(run.get("parent_run_id")) or parent
    inputs, outputs, whole = _told(role, run, is_root=not parent)
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
        zoned=began is None or began.tzinfo is not None,
        attributes=_attributes(run, metadata),
        failures=(_failure(error),) if error.strip() else (),
        role=role,
        conversation=next((text_of(metadata[key]) for key in THREAD_KEYS if metadata.get(key)), ""),
        inputs=inputs,
        outputs=outputs,
        whole=whole,
    )


def _root_of(run: Mapping[str, Json]) -> str:
    """The trace of a run that names none: the id of the first run in its dotted order, else its own."""
    first = text_of(run.get("dotted_order")).partition(".")[0]
    return first.partition("Z")[2] or text_of(run.get("id"))


def _failure(error: str) -> Failure:
    said, _, trace = error.partition("\n\nTraceback")
    return Failure(text=said.strip() or error.strip(), stacktrace=f"Traceback{trace}" if trace else "")


def _attributes(run: Mapping[str, Json], metadata: Mapping[str, Json]) -> dict[str, Json]:
    params = run["extra"].get("invocation_params") if isinstance(run.get("extra"), dict) else None
    model = metadata.get("ls_model_name") or (params.get("model") if isinstance(params, dict) else None)
    found = {
        "run_type": run.get("run_type"),
        "tags": run.get("tags") or None,
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": run.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": run.get("completion_tokens"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _told(role: Role, run: Mapping[str, Json], *, is_root: bool) -> tuple[list[Piece], list[Piece], bool]:
    """What went in, what came out, and whether the latter is the whole history (a graph's state)."""
    asked, answered = run.get("inputs"), run.get("outputs")
    if role == "tool":
        return _call(run, asked), _result(answered), False
    if role == "model":
        return spoken(asked, "user"), spoken(answered, "assistant"), False
    if not is_root:  # the steps of a chain hand on what its model calls and tools tell
        return [], [], False
    state = isinstance(answered, dict) and isinstance(answered.get("messages"), list)
    outputs = spoken(answered, "assistant")
    return ([] if state else spoken(asked, "user")), outputs, state


def _call(run: Mapping[str, Json], asked: Json) -> list[Piece]:
    text = tool_call(text_of(run.get("name")), _literal(_only(asked, ("input",))))
    return [Piece(type="tool_call", text=text)] if text else []


def _literal(value: Json) -> Json:
    """LangChain hands arguments to a tool as the Python spelling of a dict; what it spells, where it does."""
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


def _read(runs: SpanRuns, spans: Iterable[Span | Defect]) -> Iterator[Read]:
    found: list[Span] = []
    for span in spans:
        if isinstance(span, Span):
            found.append(span)
        else:
            yield span
    yield from runs.read(found)


def read(document: Json, options: Options) -> Iterator[Read]:
    runs = sorted(enumerate(_with_children(_listed(document))), key=lambda numbered: _order(numbered[1][0]))
    spans = (run_span(index, run, parent, trace) for index, (run, parent, trace) in runs)
    yield from guarded(0, _read(SpanRuns(options.history), spans))


def _order(run: Json) -> str:
    """Where a run stands among those that begin at the same time: exports tell the newest first."""
    return text_of(run.get("dotted_order")) if isinstance(run, dict) else ""


class Runs:
    """Reads a run a line, with the runs nested in it."""

    def __init__(self, state: Json, options: Options) -> None:
        self.runs = SpanRuns(options.history, state)

    def read(self, item: Json) -> Iterator[Read]:
        spans = (run_span(0, run, parent, trace) for run, parent, trace in _with_children([item]))
        yield from guarded(0, _read(self.runs, spans))

    def state(self) -> Json:
        return self.runs.state()


def reader(state: Json, options: Options) -> LineReader:
    return Runs(state, options)


def end(document: Json) -> End:
    runs: list[Any] = [run for run in _listed(document) if isinstance(run, dict)]
    running = sum(run.get("end_time") is None for run in runs)
    if running or not runs:
        return End(mark=False, reason=f"{running} of {len(runs)} runs have no end time yet")
    return End(mark=True, reason="every run has its end time")


ROWS: Final = (
    Format(name="langsmith", shape="document", recognises=recognises, read=read, end=end),
    Format(name="langsmith", shape="lines", recognises=recognises, reader=reader),
)
