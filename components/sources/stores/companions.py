"""Files that a tool writes beside a session and that hold no session of their own, by their paths alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import PurePath
from typing import Final

from components.sources.stores.folders import is_part_of_storage

Siblings = Collection[str]  # paths of all files that were found

BESIDE_A_DATABASE: Final = "file beside a database"
TOOL_RESULT: Final = "tool result that a session keeps as a file"
OF_A_SESSION: Final = "file of a session beside its log"
TOLD_TWICE: Final = "same session in another file"
OF_A_STORE: Final = "message or part of a session in a storage folder"


def _beside_a_database(path: PurePath, siblings: Siblings) -> bool:
    text = str(path)
    return any(
        text.endswith(ending) and text.removesuffix(ending) in siblings
        for ending in ("-wal", "-shm", "-journal", ".backup")
    )


def _tool_result(path: PurePath, siblings: Siblings) -> bool:
    """`<session>/tool-results/<call>.txt` beside `<session>.jsonl`."""
    folder = path.parent
    return folder.name == "tool-results" and f"{folder.parent}.jsonl" in siblings


def _of_copilot(path: PurePath, siblings: Siblings) -> bool:
    """Anything else in the folder of a session of Copilot's CLI (`session-state/<id>/events.jsonl`)."""
    for folder in path.parents:
        if folder.parent.name == "session-state":
            return path != folder / "events.jsonl" and str(folder / "events.jsonl") in siblings
    return False


_CLINE: Final = frozenset(
    {"task_metadata.json", "context_history.json", "history_item.json", "settings.json", "focus_chain.md"}
)


def _of_cline(path: PurePath, siblings: Siblings) -> bool:
    is_own = path.name in _CLINE or path.name.startswith("focus_chain")
    logs = ("ui_messages.json", "api_conversation_history.json")
    return is_own and any(str(path.with_name(name)) in siblings for name in logs)


def _of_kimi(path: PurePath, siblings: Siblings) -> bool:
    """The state of a session, and the context that its events retell."""
    if path.name == "state.json":
        start = f"{path.parent}/"
        return any(one.startswith(start) and one.endswith(".jsonl") for one in siblings)
    return path.name in ("context.jsonl", "metadata.json") and str(path.with_name("wire.jsonl")) in siblings


def _of_droid(path: PurePath, siblings: Siblings) -> bool:
    text = str(path)
    return text.endswith(".settings.json") and f"{text.removesuffix('.settings.json')}.jsonl" in siblings


def _of_grok(path: PurePath, siblings: Siblings) -> bool:
    names = ("summary.json", "signals.json", "updates.jsonl", "events.jsonl", "plan.json")
    return path.name in names and str(path.with_name("chat_history.jsonl")) in siblings


def _told_twice(path: PurePath, siblings: Siblings) -> bool:
    """The requests of a task beside what its panel shows, and the short transcript beside the full one."""
    if path.name == "api_conversation_history.json":
        return str(path.with_name("ui_messages.json")) in siblings
    if path.name == "transcript.jsonl":
        return str(path.with_name("transcript_full.jsonl")) in siblings
    if path.parent.name == "chatSessions" and path.suffix == ".json":
        return str(path.with_suffix(".jsonl")) in siblings
    return False


RULES: Final[tuple[tuple[str, Callable[[PurePath, Siblings], bool]], ...]] = (
    (BESIDE_A_DATABASE, _beside_a_database),
    (TOOL_RESULT, _tool_result),
    (OF_A_SESSION, _of_copilot),
    (OF_A_SESSION, _of_cline),
    (OF_A_SESSION, _of_kimi),
    (OF_A_SESSION, _of_droid),
    (OF_A_SESSION, _of_grok),
    (TOLD_TWICE, _told_twice),
)


_MAYBE: Final = re.compile(
    r"-(?:wal|shm|journal)$|\.backup$|\.settings\.json$|(?:^|[\\/])(?:tool-results|session-state|chatSessions)[\\/]"
    r"|[\\/](?:message|part|session_diff|todo|project|session_share|snapshot)[\\/]|[\\/]migration$"
    r"|[\\/](?:task_metadata|context_history|history_item|settings|state|metadata|summary|signals|plan)\.json$"
    r"|[\\/](?:context|updates|events|transcript)\.jsonl$|[\\/](?:focus_chain[^\\/]*|api_conversation_history\.json)$"
)


def companion_rule(path: str, siblings: Siblings) -> str:
    """The rule by which this file is left out, "" where it is a source of its own.

    >>> companion_rule("/a/x.db-wal", {"/a/x.db", "/a/x.db-wal"}), companion_rule("/a/x.db", {"/a/x.db"})
    ('file beside a database', '')
    """
    if not _MAYBE.search(path):  # of nearly all files
        return ""
    place = PurePath(path)
    for rule, holds in RULES:
        if holds(place, siblings):
            return rule
    return OF_A_STORE if is_part_of_storage(path) else ""
