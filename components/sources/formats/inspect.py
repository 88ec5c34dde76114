"""Inspect AI logs: `.eval` archives with one member a sample, and the same as one `.json` document.

A sample is a run. Its `messages` are read; `input`, `output` and the transcript's events repeat them, and only
give them their times. Long texts are stored apart as `attachment://<hash>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import repeat
from typing import Final

from components.contracts import Defect, Json, Skipped
from components.sources.formats.contract import End, Format, Head, Options, Read, Turns, Verdict, accept, decline
from components.sources.formats.defects import excerpt, not_an_object
from components.sources.formats.messages import Conversation
from components.sources.formats.runs import RunNames
from components.sources.formats.times import timestamp
from components.sources.formats.values import filled_scalars, listed, mapping

EMPTY_SAMPLE: Final = Skipped(rule="sample without messages")
TRANSCRIPT: Final = Skipped(rule="transcript event beside the messages")
_ATTACHMENT = re.compile(r"attachment://([0-9a-fA-F]+)")
_SAMPLE = re.compile(r"samples/(.+)\.json")


def _recognise_archive(head: Head) -> Verdict:
    members = head.members
    journal = "_journal/start.json" in members
    if journal or ("header.json" in members and any(map(_takes, members))):
        samples = sum(map(_takes, members))
        return accept(f"{'_journal/start.json' if journal else 'header.json'} and {samples} samples")
    return decline("no _journal/start.json, no header.json with samples in the archive")


def _recognise_document(head: Head) -> Verdict:
    document = head.document
    if not isinstance(document, dict):
        return decline("not a JSON object")
    log = isinstance(document.get("eval"), dict) and isinstance(document.get("status"), str) and "version" in document
    if log and not document.keys().isdisjoint(("plan", "samples", "results", "stats")):
        return accept(f"version, status ({document['status']}) and eval of an evaluation log")
    return decline("no version, status and eval beside plan, samples or results")


def _takes(member: str) -> bool:
    return _SAMPLE.fullmatch(member) is not None


def _read_member(name: str, document: Json, _: Options) -> Iterator[Read]:
    found = _SAMPLE.fullmatch(name)
    yield from _sample(document, found[1] if found else name, {})


def _read(document: Json, _: Options) -> Iterator[Read]:
    log = mapping(document)
    task = mapping(log.get("eval"))
    about = {name: task[key] for name, key in (("eval", "task"), ("model", "model")) if isinstance(task.get(key), str)}
    names = RunNames()
    for place, sample in enumerate(listed(log.get("samples"))):
        if isinstance(sample, dict):
            run = names.unique(f"{sample.get('id')}_epoch_{sample.get('epoch', 1)}")
            yield from _sample(sample, run, about)
        else:
            yield not_an_object(place, sample)


def _sample(sample: Json, run: str, about: Mapping[str, Json]) -> Iterator[Read]:
    if not isinstance(sample, dict):
        yield not_an_object(0, sample)
        return
    conversation = Conversation(turns=Turns(run=run), extra={**about, **_meta(sample)})
    events = listed(sample.get("events") or mapping(sample.get("transcript")).get("events"))
    times = _times(events)
    messages = _messages(sample)
    for place, message in enumerate(messages):
        yield from conversation.read(message, place, _time(message, times))
    if not messages:
        yield EMPTY_SAMPLE
    yield from _errors(conversation, sample)
    yield from repeat(TRANSCRIPT, len(events))


def _messages(sample: Mapping[str, Json]) -> list[Json]:
    """The sample's messages with their attachments; its input and output where an early end left it without."""
    messages = list(listed(sample.get("messages")))
    if not messages:
        asked = sample.get("input")
        messages = list(asked) if isinstance(asked, list) else [{"role": "user", "content": asked}] if asked else []
    if not any(mapping(m).get("role") == "assistant" for m in messages):
        choices = listed(mapping(sample.get("output")).get("choices"))
        messages += [choice["message"] for choice in choices if "message" in mapping(choice)]
    attachments = sample.get("attachments") or mapping(sample.get("transcript")).get("content")
    return [_resolved(m, attachments) for m in messages] if isinstance(attachments, dict) and attachments else messages


def _resolved(value: Json, attachments: Mapping[str, Json], depth: int = 0) -> Json:
    """The value with attached texts put back; a hash that is not there stays as it is."""
    if isinstance(value, str):
        if "attachment://" not in value:
            return value
        return _ATTACHMENT.sub(lambda found: str(attachments.get(found[1], found[0])), value)
    if depth > 50:
        return value
    if isinstance(value, list):
        return [_resolved(part, attachments, depth + 1) for part in value]
    if isinstance(value, dict):
        return {key: _resolved(part, attachments, depth + 1) for key, part in value.items()}
    return value


def _times(events: list[Json]) -> dict[str, datetime]:
    """When messages came to be: a model's answer by its id or text, a tool's by its message's or call's id.

    A text that was answered twice has no time.
    """
    times: dict[str, datetime] = {}
    twice: set[str] = set()
    for event in events:
        if not isinstance(event, dict):
            continue
        when = timestamp(event.get("completed")) or timestamp(event.get("timestamp"))
        for key in _keys(event):
            if when is not None and times.setdefault(key, when) != when:
                twice.add(key)
    return {key: when for key, when in times.items() if key not in twice}


def _keys(event: Mapping[str, Json]) -> list[str]:
    """What identifies the message that an event made."""
    keys: list[Json] = []
    if event.get("event") == "model":
        choices = mapping(event.get("output")).get("choices")
        answer = mapping(mapping(choices[0]).get("message")) if isinstance(choices, list) and choices else {}
        keys = [answer.get("id"), answer.get("content")]
    elif event.get("event") == "tool":
        keys = [event.get("message_id"), event.get("id")]
    return [key for key in keys if isinstance(key, str) and key]


def _time(message: Json, times: Mapping[str, datetime]) -> datetime | None:
    if not isinstance(message, dict):
        return None
    role = message.get("role")
    keys = ("id", "tool_call_id") if role == "tool" else ("id", "content") if role == "assistant" else ("id",)
    return next((times[key] for name in keys if isinstance(key := message.get(name), str) and key in times), None)


def _errors(conversation: Conversation, sample: Mapping[str, Json]) -> Iterator[Read]:
    """Why the sample (or an earlier try at it) failed."""
    for error in [*listed(sample.get("error_retries")), sample.get("error")]:
        if not error:
            continue
        message = error.get("message") if isinstance(error, dict) else error
        if isinstance(message, str) and message.strip():
            yield conversation.turns.event("error", message, extra=conversation.extra)
        else:
            yield Defect(offset=0, reason="a sample's error without a message", excerpt=excerpt(error))


def _meta(sample: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {
        "sample": sample.get("id"),
        "task": sample.get("id"),
        "epoch": sample.get("epoch"),
        "limit": mapping(sample.get("limit")).get("type"),
        "model": next(iter(mapping(sample.get("model_usage"))), None),
        "total_time_s": sample.get("total_time"),
    }
    for name, score in mapping(sample.get("scores") or {"score": sample.get("score")}).items():
        found[f"score_{name}" if name != "score" else name] = mapping(score).get("value")
    return filled_scalars(found)


def _end(header: Json) -> End:
    status = mapping(header).get("status")
    if isinstance(status, str) and status != "started":
        return End(mark=True, reason=f"status is {status}")
    return End(mark=False, reason=f"status is {status}")


ROWS: tuple[Format, ...] = (
    Format(
        name="inspect",
        shape="archive",
        recognises=_recognise_archive,
        takes=_takes,
        read_member=_read_member,
        end=_end,
        end_member="header.json",
    ),
    Format(name="inspect", shape="document", recognises=_recognise_document, read=_read, end=_end),
)
