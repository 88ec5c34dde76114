"""Chat logs: every message of every run once, whatever the dialect, and no history twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from reading import DATA, check_positions, check_resumable, corpus, events, read_whole, reads, reads_file, row_of, rules

from components.sources.formats.chat import ROWS
from components.sources.formats.contract import Format, Head, Options

LINES, DOCUMENT = row_of(ROWS, "lines"), row_of(ROWS, "document")


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_a_reader_resumed_among_runs_that_went_alike_reads_the_same() -> None:
    check_resumable(
        LINES, [{"messages": talk} for talk in (TALK, TALK, OTHER, TALK, [*TALK, message("user", "more")], TALK)]
    )


def test_with_all_history_every_request_keeps_its_messages() -> None:
    path = DATA / "chat" / "request_log.jsonl"
    found = reads_file(ROWS, path, Options(history="all"))
    assert rules(found) == {}
    check_positions(found)
    assert Counter(e.text for e in events(found))["One?"] == 3


def test_a_request_log_gives_each_message_once_though_its_requests_grow() -> None:
    talk = [message("system", "s")]
    log = []
    for turn in range(20):
        talk = [*talk, message("user", f"question {turn}")]
        answer = message("assistant", f"answer {turn}", reasoning_content=f"thought {turn}")
        log.append({"messages": talk, "response": {"choices": [{"message": answer}]}})
        talk = [*talk, message("assistant", f"answer {turn}")]
    found = reads(LINES, log)
    check_positions(found)
    assert {e.run for e in events(found)} == {"0"}
    assert Counter(e.text for e in events(found)).most_common(1)[0][1] == 1
    assert len(events(found)) == 1 + 3 * 20


TALK = [message("user", "q"), message("assistant", "a")]
OTHER = [message("user", "q2"), message("assistant", "a")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.shape)
def test_runs_that_went_alike_are_each_kept(row: Format) -> None:
    found = reads(row, [{"messages": talk} for talk in (TALK, TALK, OTHER, TALK)])
    check_positions(found)
    assert [(e.run, e.text) for e in events(found)] == [
        *(("0", "q"), ("0", "a"), ("1", "q"), ("1", "a")),
        *(("2", "q2"), ("2", "a"), ("3", "q"), ("3", "a")),
    ]


def test_an_item_written_twice_under_its_id_is_one_item_and_a_task_run_twice_is_two_runs() -> None:
    again = reads(LINES, [{"id": "x", "messages": TALK}] * 2)
    assert [(e.run, e.text) for e in events(again)] == [("x", "q"), ("x", "a")]
    assert rules(again) == {"repeated message": 2}
    trials = reads(LINES, [{"task_id": 3, "messages": TALK}] * 2)
    assert [e.run for e in events(trials)] == ["3", "3", "3~2", "3~2"]


def test_requests_that_went_alike_each_go_on_as_their_own_conversation() -> None:
    longer = [*TALK, message("user", "more")]
    log = [{"messages": talk[:-1], "response": talk[-1]} for talk in (TALK, TALK)]
    log += [{"messages": longer, "response": message("assistant", "b")}] * 2
    found = reads(LINES, log)
    check_positions(found)
    assert sorted((e.run, e.text) for e in events(found)) == [
        (n, text) for n in "01" for text in ("a", "b", "more", "q")
    ]


def test_a_difference_deep_in_a_long_text_makes_another_run() -> None:
    pages = [f"{'x' * 500}{n}{'y' * 500}" for n in (1, 2)]
    talks = [[message("user", page), message("assistant", "a"), *TALK[:n]] for n, page in enumerate(pages)]
    found = reads(LINES, [{"task_id": "t", "messages": talk} for talk in talks])
    assert [e.text for e in events(found) if e.iteration == 0] == pages


def test_an_answer_that_the_messages_end_with_already_is_not_doubled() -> None:
    log = [{"messages": [message("user", "hi"), message("assistant", "ho")], "response": message("assistant", "ho")}]
    assert [e.text for e in events(reads(LINES, log))] == ["hi", "ho"]


def test_many_names_do_not_make_the_state_grow_without_end() -> None:
    assert LINES.reader is not None
    reader = LINES.reader(None, Options())
    runs = {
        event.run for n in range(10_050) for event in events(reader.read({"id": n, "messages": [message("user", "x")]}))
    }
    assert len(runs) == 10_050
    assert len(orjson.dumps(reader.state())) < 300_000


@pytest.mark.parametrize(
    "document",
    [
        {"messages": []},
        [{"role": "admin", "content": "x"}],
        {"messages": [{"content": "x"}]},
        [1, 2],
        "messages",
        {"conversations": "none"},
        [],
    ],
)
def test_what_is_no_chat_is_declined_with_a_reason(document: Any) -> None:
    verdict = DOCUMENT.recognises(Head(name="x.json", shape="document", document=document))
    assert not verdict.accepted
    assert verdict.reason


@pytest.mark.corpus
@pytest.mark.parametrize("folder", ["openai_chat", "sharegpt_chat"])
def test_every_message_of_the_real_chats_becomes_records(folder: str) -> None:
    for path in corpus(f"agent-logs/{folder}"):
        found = read_whole("chat", path)
        runs = orjson.loads(path.read_bytes())
        assert len({e.run for e in events(found)}) == len(runs)
        assert Counter(e.text for e in events(found)) == Counter(text for run in runs for text in texts_of_run(run))


def texts_of_run(run: dict[str, Any]) -> list[str]:
    """An independent account of a run's texts."""
    texts = []
    for message in run.get("messages") or run["conversations"]:
        content = message.get("content") or message.get("value") or ""
        if content.strip():
            texts.append(content)
        calls = [call["function"] for call in message.get("tool_calls") or []]
        if message.get("function_call"):
            calls.append(message["function_call"])
        texts += [f"{call['name']} {call['arguments']}" for call in calls]
    return texts


def test_an_answer_logged_as_server_sent_events_is_joined() -> None:
    chunks = [
        {"object": "chat.completion.chunk", "id": "a", "choices": [{"index": 0, "delta": {"content": text}}]}
        for text in ("Two ", "metres.")
    ]
    stream = "".join(f"data: {orjson.dumps(chunk).decode()}\n\n" for chunk in chunks) + "data: [DONE]\n"
    request = {"request": {"model": "m", "messages": [{"role": "user", "content": "How deep?"}]}, "response": stream}
    assert [(e.type, e.text) for e in events(reads(row_of(ROWS, "document"), [request]))] == [
        ("user", "How deep?"),
        ("assistant", "Two metres."),
    ]
