"""The maps for agents: a client of the official package speaks to the server by stdio and by HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from api_world import evil, make_world, settings_at, write_run
from logs import write
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from served import served

from api.app import create_app
from api.mcp_server import MAX_ANSWER_CHARS, NOTICE, build_server
from api.search_cache import SearchCache
from api.state import State
from components.pipeline import Pipeline
from components.settings import Settings

tool_names = {"datasets", "topics", "examples", "search", "similar", "record", "run", "compare"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def server(settings: Settings) -> Iterator[Any]:
    state = State(settings)
    yield build_server(state, SearchCache(settings, state))
    state.close()


def ask(server: Any, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """The results of calls within one session."""

    async def session() -> list[Any]:
        async with Client(server) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(session)


def body(result: Any) -> Any:
    """The JSON of an answer, which begins with the notice."""
    assert not result.is_error, result.content
    [content] = result.content
    notice, _, raw = content.text.partition("\n")
    assert notice == NOTICE
    return json.loads(raw)


def error(result: Any) -> str:
    assert result.is_error
    return str(result.content[0].text)


def test_every_tool_answers_with_records_and_ids_and_only_reads(server: Any) -> None:
    async def listed() -> list[Any]:
        async with Client(server) as client:
            return list((await client.list_tools()).tools)

    tools = anyio.run(listed)
    assert {tool.name for tool in tools} == tool_names
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert all(tool.description for tool in tools)
    datasets, found = map(body, ask(server, ("datasets", {}), ("search", {"query": "Traceback", "k": 3})))
    assert datasets["datasets"]["default"]["records"] == 52
    assert [len(hit["id"]) for hit in found["hits"]] == [32] * 3
    id = found["hits"][0]["id"]
    near, record, run, topics = map(
        body, ask(server, ("similar", {"id": id}), ("record", {"id": id}), ("run", {"id": id}), ("topics", {}))
    )
    assert id not in {hit["id"] for hit in near["hits"]}
    assert (record["id"], record["text_chars"]) == (id, len(record["text"]))
    assert run["records_in_run"] == len(run["records"]) > 10
    assert [one["iteration"] for one in run["records"]] == sorted(one["iteration"] for one in run["records"])
    assert topics["snapshot"] == 2
    assert set(topics["counts"]) == {"assigned", "noise", "waiting"}


def test_a_mistake_is_answered_with_its_name_and_without_paths(server: Any, tmp_path: Path) -> None:
    answers = ask(
        server,
        ("search", {"query": "x", "dataset": "nowhere"}),
        ("search", {"query": "  "}),
        ("search", {}),
        ("search", {"query": "x", "k": 0}),
        ("record", {"id": "0" * 32}),
        ("run", {"id": "no such run"}),
        ("examples", {"topic": 99_999}),
        ("topics", {"since": 99}),
        ("made_up", {}),
    )
    expected = ("nowhere", "empty", "query", "k", "0" * 32, "no such run", "99999", "Snapshot 99", "made_up")
    for answer, named in zip(answers, expected, strict=True):
        assert named in error(answer)
        assert "Traceback" not in error(answer)
        assert str(tmp_path.parent.parent) not in error(answer)


def test_answers_are_bounded_and_continue_where_they_ended(tmp_path: Path) -> None:
    long = "🦊<&" * 60_000
    items = [
        {"iteration": n, "idx": 0, "type": "user", "text": f"{n} {long if n == 0 else 'x' * 1_400}"} for n in range(150)
    ]
    settings = settings_at(tmp_path / "home")
    with Pipeline(settings) as pipeline:
        write(tmp_path / "a.jsonl", items)
        pipeline.load([str(tmp_path / "a.jsonl")])
        pipeline.index()
    state = State(settings)
    server = build_server(state, SearchCache(settings, state))
    everything = ask(server, ("search", {"query": "x", "k": 200}), ("run", {"id": "a.jsonl"}))
    assert all(len(answer.content[0].text) <= MAX_ANSWER_CHARS for answer in everything)
    run = body(everything[1])
    ids = [record["id"] for record in run["records"]]
    while "next_offset" in run:
        run = body(ask(server, ("run", {"id": "a.jsonl", "offset": run["next_offset"]}))[0])
        ids += [record["id"] for record in run["records"]]
    assert len(ids) == len(set(ids)) == 150
    text, offset = "", 0
    while True:
        record = body(ask(server, ("record", {"id": ids[0], "offset": offset}))[0])
        text += record["text"]
        if "next_offset" not in record:
            break
        offset = record["next_offset"]
    assert text == items[0]["text"]
    state.close()


def test_huge_extra_fields_are_cut(tmp_path: Path) -> None:
    huge = {"note": "n" * 200_000, "numbers": list(range(50_000)), "tool": "bash"}
    items = [{"iteration": n, "idx": 0, "type": "user", "text": f"record {n}", **huge} for n in range(3)]
    settings = settings_at(tmp_path / "home")
    with Pipeline(settings) as pipeline:
        write(tmp_path / "a.jsonl", items)
        pipeline.load([str(tmp_path / "a.jsonl")])
        pipeline.index()
        id = pipeline.search("record 1", k=1)[0].record.id
    state = State(settings)
    record, run = map(
        body, ask(build_server(state, SearchCache(settings, state)), ("record", {"id": id}), ("run", {"id": id}))
    )
    assert record["text"] == "record 1"
    assert str(record["extra"]).count("characters)") == 2
    assert "bash" in str(record["extra"])
    assert len(run["records"]) == 3
    state.close()


def test_texts_of_logs_stay_within_the_json(server: Any) -> None:
    found = body(ask(server, ("search", {"query": "onerror", "mode": "words"}))[0])
    assert any(evil in hit["text"] for hit in found["hits"])


@pytest.mark.slow
def test_a_client_starts_the_server_and_nothing_but_the_protocol_is_on_stdout(
    settings: Settings, tmp_path: Path
) -> None:
    runatlas = str(Path(sys.executable).with_name("runatlas"))
    environment = {"RUNATLAS_HOME": str(settings.home), "RUNATLAS_MODEL": "hash://384", "PATH": os.environ["PATH"]}

    async def session() -> Any:
        async with Client(StdioServerParameters(command=runatlas, args=["mcp"], env=environment)) as client:
            return await client.call_tool("search", {"query": "Traceback"})

    assert body(anyio.run(session))["hits"]
    hello = {"capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}  # some clients name no version
    lines = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "a"}}},
        {"jsonrpc": "2.0", "id": 2, "method": "ping"},
    ]
    done = subprocess.run(
        [runatlas, "mcp"],
        input="".join(json.dumps(line) + "\n" for line in lines[:2])
        + "no json\n\n[]\n"
        + "".join(json.dumps(line) + "\n" for line in lines[2:]),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment, "RUNATLAS_HOME": str(tmp_path / "new")},
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["jsonrpc"] for answer in answers} == {"2.0"}
    assert {0, 1, 2} <= {answer.get("id") for answer in answers}  # all, although the input ended at once
    assert next(answer for answer in answers if answer.get("id") == 0)["result"]["protocolVersion"]


def test_the_api_serves_the_same_tools_behind_its_token(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home", api_token="a secret")
    with Pipeline(settings) as pipeline:
        write_run(tmp_path / "logs", "a", 20)
        pipeline.load([str(tmp_path / "logs")])
        pipeline.index()
    request = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with served(create_app(settings)) as client:
        refused = client.post("/mcp", json=request)
        assert refused.status_code == 401
        read = client.get("/mcp", headers={"Authorization": "Bearer a secret"})  # there is no stream to open
        assert (read.status_code, read.headers["allow"]) == (405, "POST")

        async def session() -> Any:
            import httpx2

            headers = {"Authorization": "Bearer a secret"}
            async with (
                httpx2.AsyncClient(headers=headers) as http,
                Client(streamable_http_client(f"{client.base_url}/mcp", http_client=http)) as agent,
            ):
                return await agent.call_tool("search", {"query": "Traceback"})

        assert body(anyio.run(session))["hits"]
