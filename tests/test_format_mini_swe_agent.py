"""mini-swe-agent trajectories: every message once, the bash block as a call, version 2 as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import agentpile
import orjson
import pytest
from reading import corpus, events, read_whole, reads, reads_file, row_of, rules

from components.sources.formats.contract import Head
from components.sources.formats.mini_swe_agent import ROWS

DOCUMENT = row_of(ROWS, "document")


def test_a_list_of_messages_without_bash_is_left_to_chat() -> None:
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "?"},
    ]
    assert not DOCUMENT.recognises(Head(name="x", shape="document", document=messages)).accepted


@pytest.mark.corpus
def test_every_message_of_the_real_files_is_accounted_for() -> None:
    for path in corpus("agent-logs/mini_swe_agent"):
        found = read_whole("mini_swe_agent", path)
        document = orjson.loads(path.read_bytes())
        messages = document if isinstance(document, list) else document["messages"]
        made = events(found)
        responses = [m for m in messages if m["role"] == "assistant"]
        others = [m["content"] for m in messages if m["role"] != "assistant" and m["content"].strip()]
        assert [e.text for e in made if e.type not in ("assistant", "tool_call", "reasoning")] == others
        assert max(e.iteration for e in made) == len(responses)
        for number, message in enumerate(responses, start=1):
            own = [e for e in made if e.iteration == number and e.type in ("assistant", "tool_call")]
            kept = "".join(e.text.removeprefix("bash ") if e.type == "tool_call" else e.text for e in own)
            assert unfenced(kept) == unfenced(message["content"])
        assert rules(found).total() == sum(not m["content"].strip() for m in messages)


def unfenced(text: str) -> list[str]:
    """The characters of a text without blanks and fences, in no order: prose behind the block moves before it."""
    for fence in ("```mswea_bash_command", "```bash", "```"):
        text = text.replace(fence, "")
    return sorted("".join(text.split()))


@pytest.mark.corpus
def test_another_reader_finds_the_same_texts() -> None:
    """agentpile keeps an assistant's text whole, where ours parts the bash block from the prose, and leaves out the
    reasoning that only the provider's response holds; every text it finds besides those is ours too."""
    for path in corpus("agent-logs/mini_swe_agent"):
        ours = {e.text for e in events(reads_file(ROWS, path))}
        document = orjson.loads(path.read_bytes())
        messages = document if isinstance(document, list) else document["messages"]
        responses = {m["content"] for m in messages if m["role"] == "assistant"}
        theirs = [text for run in agentpile.load(str(path)) for text in texts_of(run)]
        assert theirs
        assert not set(theirs) - ours - responses, path.name


def texts_of(run: Any) -> list[str]:
    return [step["message"] for step in run.record["steps"] if (step.get("message") or "").strip()]


def test_runs_on_lines_are_read_as_documents_are_under_their_names() -> None:
    folder = Path(__file__).parent / "data" / "mini_swe_agent"
    runs = [orjson.loads((folder / name).read_bytes()) for name in ("v1.traj.json", "v2.traj.json", "v1.traj.json")]
    found = events(reads(row_of(ROWS, "lines"), runs))
    whole = [event for run in runs for event in events(reads(row_of(ROWS, "document"), run))]
    assert [e._replace(run="") for e in found] == whole
    assert list(dict.fromkeys(e.run for e in found)) == ["toy__a-1", "run", "toy__a-1~2"]
