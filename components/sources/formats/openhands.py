"""OpenHands: event lists (trajectory exports), evaluation outputs with a run per line, and the SDK's event files.

An event is an action or an observation. Actions of one model response share its id; without an id every action of the
agent is a response. The SDK's events (version 1, one file each) are read by their documented shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from components.contracts import Defect, Json, Skipped
from components.sources.formats.content import text_of, tool_call
from components.sources.formats.contract import End, Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import EMPTY, excerpt, not_an_object, too_deep
from components.sources.formats.runs import RunNames
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, first_of, listed, mapping, mostly

STATE: Final = Skipped(rule="state of the agent")
RECALL: Final = Skipped(rule="recall of workspace knowledge")
SILENT: Final = {
    "change_agent_state": STATE,
    "agent_state_changed": STATE,
    "null": STATE,
    "pause": STATE,
    "resume": STATE,
    "stop": STATE,
    "initialize": STATE,
    "start": STATE,
    "condensation_request": STATE,
    "recall": RECALL,
}
SILENT_KINDS: Final = frozenset(
    {
        "ConversationStateUpdateEvent",
        "PauseEvent",
        "CondensationRequest",
        "TokenEvent",
        "LLMCompletionLogEvent",
        "StreamingDeltaEvent",
    }
)
KINDS: Final = SILENT_KINDS | {
    "SystemPromptEvent",
    "MessageEvent",
    "ActionEvent",
    "ObservationEvent",
    "UserRejectObservation",
    "AgentErrorEvent",
    "ConversationErrorEvent",
    "Condensation",
    "CondensationSummaryEvent",
}
BOOKKEEPING: Final = frozenset(
    {
        *("thought", "blocking", "hidden", "is_static", "is_input", "confirmation_state", "impl_source", "kind"),
        *("translated_ipython_code", "security_risk", "keep_prompt", "wait_for_response", "image_urls"),
    }
)
FLAT_KEYS: Final = frozenset({"action", "observation", "content", "id", "timestamp", "message", "cause"})
OUTCOME_KEYS: Final = ("content", "output", "error", "rejection_reason", "detail")
ENDED: Final = frozenset({"finished", "awaiting_user_input", "error", "stopped", "rejected"})


@dataclass(slots=True)
class Events:
    """The events of one run in their order; a response continues while its id stays the same."""

    turns: Turns
    extra: Mapping[str, Json] = field(default_factory=dict)
    response: str = ""  # the model response that the last action came from

    def read(self, event: Json, place: int = 0) -> list[Read]:
        """What one event becomes."""
        if not isinstance(event, dict):
            return [not_an_object(place, event)]
        try:
            if _is_v1(event):
                return self._v1(event)
            if isinstance(event.get("action"), str):
                return self._action(event)
            if isinstance(event.get("observation"), str):
                return self._observation(event)
        except RecursionError:
            return [too_deep(place)]
        return [Defect(offset=place, reason="neither an action nor an observation", excerpt=excerpt(event))]

    def record(
        self, kind: str, text: str, event: Mapping[str, Json], more: Mapping[str, Json] | None = None
    ) -> list[Read]:
        """One record at the event's time, or a skip where there is nothing to read."""
        if not text or text.isspace():
            return [EMPTY]
        extra = {**self.extra, **filled_scalars(more)} if more else self.extra
        return [self.turns.event(kind, text, timestamp(event.get("timestamp")), extra)]

    def _begin_response(self, response: Json) -> bool:
        """Begins an iteration unless the response is the current one; returns whether it did."""
        known = isinstance(response, str) and bool(response)
        if known and response == self.response:
            return False
        self.turns.respond()
        self.response = response if known else ""
        return True

    # --- version 0 ---

    def _action(self, event: Mapping[str, Json]) -> list[Read]:
        name, args = event["action"], mapping(event.get("args"))
        if name in SILENT:
            return [SILENT[name]]
        if name == "system":
            return self.record("system", text_of(args.get("content")), event)
        source = event.get("source") or ("agent" if self.turns.iteration or name != "message" else "user")
        called = mapping(event.get("tool_call_metadata"))
        got: list[Read] = []
        if source == "agent":
            model = mapping(called.get("model_response"))
            if self._begin_response(model.get("id")) and (thought := _reasoning(model)):
                got = self.record("reasoning", thought, event)
        if name == "message":
            text = text_of(args.get("content")) or text_of(event.get("message"))
            kind = {"agent": "assistant", "user": "user"}.get(source, "system") if isinstance(source, str) else "user"
            return got + self.record(kind, text, event)
        if name == "condensation":
            return got + self.record("summary", text_of(args.get("summary")), event)
        return got + self._call(name, args, event, called.get("tool_call_id"))

    def _call(self, name: str, args: Mapping[str, Json], event: Mapping[str, Json], call_id: Json) -> list[Read]:
        thought = text_of(args.get("thought"))
        if name == "think":
            return self.record("reasoning", thought, event)
        prose = self.record("assistant", thought, event) if thought.strip() else []
        kept = {k: v for k, v in args.items() if k not in BOOKKEEPING and v is not None and v not in ("", {}, [])}
        return prose + self.record(
            "tool_call", tool_call(name, kept or None), event, {"tool": name, "call_id": call_id}
        )

    def _observation(self, event: Mapping[str, Json]) -> list[Read]:
        name, extras = event["observation"], mapping(event.get("extras"))
        if name in SILENT:
            return [SILENT[name]]
        kind = "error" if name == "error" else "summary" if name == "condense" else "tool_result"
        called = mapping(event.get("tool_call_metadata"))
        about = {
            "tool": name if kind == "tool_result" else called.get("function_name"),
            "call_id": called.get("tool_call_id"),
            "exit_code": extras.get("exit_code", mapping(extras.get("metadata")).get("exit_code")),
        }
        return self.record(kind, text_of(event.get("content")), event, about)

    # --- version 1 ---

    def _v1(self, event: Mapping[str, Json]) -> list[Read]:
        kind = event["kind"]
        if kind in SILENT_KINDS:
            return [STATE]
        if kind == "SystemPromptEvent":
            return self.record("system", text_of(event.get("system_prompt")), event)
        if kind == "MessageEvent":
            return self._message(event)
        if kind == "ActionEvent":
            return self._v1_action(event)
        if kind in ("Condensation", "CondensationSummaryEvent"):
            return self.record("summary", text_of(event.get("summary")), event)
        return self._outcome(event)

    def _message(self, event: Mapping[str, Json]) -> list[Read]:
        message = mapping(event.get("llm_message"))
        text = text_of(message.get("content"))
        if event.get("source") != "agent":
            return self.record("user" if event.get("source") == "user" else "system", text, event)
        opened = self._begin_response(event.get("llm_response_id"))
        thought = text_of(message.get("reasoning_content")) if opened else ""
        got = self.record("reasoning", thought, event) if thought.strip() else []
        return got + self.record("assistant", text, event)

    def _v1_action(self, event: Mapping[str, Json]) -> list[Read]:
        opened = self._begin_response(event.get("llm_response_id"))
        thought = text_of(event.get("reasoning_content")) if opened else ""
        got = self.record("reasoning", thought, event) if thought.strip() else []
        if (prose := text_of(event.get("thought"))).strip():
            got += self.record("assistant", prose, event)
        called, action = mapping(event.get("tool_call")), mapping(event.get("action"))
        name = event.get("tool_name") or called.get("name") or action.get("kind")
        arguments = called.get("arguments")
        if arguments is None:
            arguments = {k: v for k, v in action.items() if k not in BOOKKEEPING and v is not None} or None
        about = {"tool": name, "call_id": event.get("tool_call_id")}
        return got + self.record("tool_call", tool_call(name, arguments), event, about)

    def _outcome(self, event: Mapping[str, Json]) -> list[Read]:
        """What came of an action: an observation, a rejection, an error."""
        seen = mapping(event.get("observation"))
        failed = event["kind"] in ("AgentErrorEvent", "ConversationErrorEvent") or seen.get("is_error") is True
        text = next(
            (text for part in (seen, event) for key in OUTCOME_KEYS if (text := text_of(part.get(key))).strip()), ""
        )
        about = {
            "tool": event.get("tool_name"),
            "call_id": event.get("tool_call_id"),
            "exit_code": seen.get("exit_code"),
        }
        return self.record("error" if failed else "tool_result", text, event, about)


def _reasoning(model: Mapping[str, Json]) -> str:
    """The reasoning that only the stored model response holds."""
    choices = model.get("choices")
    first = mapping(choices[0]) if isinstance(choices, list) and choices else {}
    thought = text_of(mapping(first.get("message")).get("reasoning_content"))
    return thought if thought.strip() else ""


def _is_v1(event: Mapping[str, Json]) -> bool:
    kind = event.get("kind")
    return isinstance(kind, str) and kind in KINDS


def _is_event(item: Json) -> bool:
    if not isinstance(item, dict):
        return False
    if _is_v1(item):
        return not item.keys().isdisjoint(("source", "id", "timestamp"))
    named = isinstance(item.get("action"), str) != isinstance(item.get("observation"), str)
    return named and not item.keys().isdisjoint(("args", "extras", "source"))


def _history_of(item: Json) -> list[Json] | None:
    """The events of a run, pairs of action and observation laid flat; None where there are none."""
    found = item.get("history", item.get("trajectory")) if isinstance(item, dict) else item
    if not isinstance(found, list):
        return None
    return [e for entry in found for e in (entry if isinstance(entry, list) else [entry])]


def _is_run(item: Json) -> bool:
    history = _history_of(item) if isinstance(item, dict) else None
    return history is not None and (mostly(history, _is_event) or (_is_resolved(item) and mostly(history, _is_flat)))


def _is_resolved(item: Mapping[str, Json]) -> bool:
    """Is it a run of the issue resolver, whose first versions wrote the events' fields side by side?"""
    return not item.keys().isdisjoint(("issue", "git_patch", "instruction"))


def _is_flat(event: Json) -> bool:
    """Is it an action or observation whose fields stand beside its name, not in `args` or `extras`?"""
    if not isinstance(event, dict) or not event.keys().isdisjoint(("args", "extras", "source")):
        return False
    return isinstance(event.get("action"), str) != isinstance(event.get("observation"), str)


def _nested(event: Json, instruction: Json) -> Json:
    """A flat event as later versions write it; only the message that repeats the instruction is the user's."""
    if not _is_flat(event):
        return event
    if "observation" in event:
        return {**event, "extras": {key: value for key, value in event.items() if key not in FLAT_KEYS}}
    args = {key: value for key, value in event.items() if key not in FLAT_KEYS or key == "content"}
    is_instruction = event["action"] == "message" and args.get("content") == instruction
    return {**event, "args": args, "source": "user" if is_instruction else "agent"}


# --- recognition ---


def _recognise_document(head: Head) -> Verdict:
    document = head.document
    if isinstance(document, dict) and _is_v1(document) and _is_event(document):
        return accept(f"one event of the SDK, {document['kind']}")
    if isinstance(document, list) and mostly(_history_of(document) or [], _is_event):
        return accept(f"a list of {len(document)} events, actions and observations")
    if _is_run(document):
        return accept("a history of events, actions and observations")
    if isinstance(document, list) and mostly(document, _is_run):
        return accept(f"{len(document)} runs, each with a history of events")
    return decline("no events with action or observation and args, extras or source")


def _recognise_lines(head: Head) -> Verdict:
    if mostly(list(head.lines), _is_run):
        return accept("runs with a history of events on its lines")
    if mostly(list(head.lines), _is_event):
        return accept("events, actions and observations, on its lines")
    return decline("no runs with a history of events, no events on its lines")


# --- reading ---


def _run(item: Mapping[str, Json], name: str) -> Iterator[Read]:
    instruction = item.get("instruction")
    history = _history_of(item) or []
    if _is_resolved(item):
        history = [_nested(event, instruction) for event in history]
    events = Events(turns=Turns(run=name), extra=_meta(item))
    if isinstance(instruction, str) and instruction.strip() and not any(map(_is_of_the_user, history)):
        yield from events.record("user", instruction, {})
    for place, event in enumerate(history):
        yield from events.read(event, place)
    if isinstance(error := item.get("error"), str) and error.strip():
        yield from events.record("error", error, {})


def _is_of_the_user(event: Json) -> bool:
    """Does the history begin with a user's message already?"""
    message = isinstance(event, dict) and event.get("action") == "message"
    return message and event.get("source", "user") == "user"


def _meta(item: Mapping[str, Json]) -> dict[str, Json]:
    metadata, issue = mapping(item.get("metadata")), mapping(item.get("issue"))
    found: dict[str, Any] = {
        "instance_id": item.get("instance_id"),
        "task": first_of(item, "instance_id") or issue.get("number"),
        "issue": issue.get("number"),
        "agent": metadata.get("agent_class"),
        "model": mapping(metadata.get("llm_config")).get("model"),
        "cost": mapping(item.get("metrics")).get("accumulated_cost"),
        "success": item.get("success"),
    }
    return filled_scalars(found)


def _read(document: Json, _: Options) -> Iterator[Read]:
    if isinstance(document, dict) and not _is_v1(document):
        yield from _run(document, "")
    elif isinstance(document, list) and mostly(document, _is_run):
        names = RunNames()
        for place, item in enumerate(document):
            if isinstance(item, dict):
                yield from _run(item, names.unique(item.get("instance_id")))
            else:
                yield not_an_object(place, item)
    else:
        events = Events(turns=Turns())
        for place, event in enumerate(_history_of(document) or [document]):
            yield from events.read(event, place)


@dataclass(slots=True)
class _Lines:
    """JSONL of runs, or of the events of one run."""

    names: RunNames
    events: Events

    def read(self, item: Json) -> Iterable[Read]:
        if isinstance(item, dict) and _history_of(item) is not None:
            issue = mapping(item.get("issue")).get("number")
            return _run(item, self.names.unique(item.get("instance_id", issue)))
        return self.events.read(item)

    def state(self) -> Json:
        turns = self.events.turns
        return {"names": self.names.count, "events": [turns.iteration, turns.idx, self.events.response]}


def _reader(state: Json, _: Options) -> _Lines:
    names, (iteration, idx, response) = (state["names"], state["events"]) if state else ({}, (0, 0, ""))
    return _Lines(RunNames(names), Events(turns=Turns(iteration=iteration, idx=idx), response=response))


def _end(document: Json) -> End:
    if isinstance(document, dict):
        if _is_v1(document):
            return End(mark=True, reason="an event's file is written once")
        return End(mark=True, reason="a run is written out when it is over")
    last = next((e for e in reversed(listed(document)) if isinstance(e, dict)), {})
    if _is_run(last):
        return End(mark=True, reason="runs are written out when they are over")
    if last.get("action") in ("finish", "reject") or last.get("tool_name") == "finish":
        return End(mark=True, reason="the last event is the agent's finish")
    state = mapping(last.get("extras")).get("agent_state")
    if isinstance(state, str) and state in ENDED:
        return End(mark=True, reason=f"the agent's last state is {state}")
    return End(mark=False, reason="the last event is neither finish nor a final state")


ROWS: tuple[Format, ...] = (
    Format(name="openhands", shape="lines", recognises=_recognise_lines, reader=_reader),
    Format(name="openhands", shape="document", recognises=_recognise_document, read=_read, end=_end),
)
