"""Malformed headers, paths, queries and bodies are refused with a problem document and never cause a server error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from api_world import make_world, settings_at
from asgi import Answer, ask
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from components.settings import Settings

problem_type = "application/problem+json"
sampling = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_world(tmp_path_factory.mktemp("input"))


@pytest.fixture(scope="module")
def app(world: Settings) -> Iterator[FastAPI]:
    made = create_app(world)
    yield made
    made.state.dependencies.state.close()


@pytest.fixture(scope="module")
def locked(world: Settings) -> Iterator[FastAPI]:
    made = create_app(world.model_copy(update={"api_token": "open sesame"}))
    yield made
    made.state.dependencies.state.close()


def assert_well_answered(answer: Answer) -> None:
    """No server error, and every refusal is a problem document. 503 is allowed: Prefect is not running here."""
    assert answer.status < 500 or (answer.status == 503 and b"prefect" in answer.body), answer
    if answer.status >= 400:
        assert answer.content_type == problem_type, answer
        assert {"type", "title", "status", "detail", "instance"} <= set(answer.json())
        assert b"Traceback" not in answer.body


@pytest.mark.parametrize(
    ("path", "query", "header", "status"),
    [
        ("/health", b"", (b"host", b"[::1"), 400),
        ("/health", b"", (b"host", b"127.0.0.1:port"), 400),
        ("/static/map/main.js", b"", (b"range", b"bytes=x"), 400),
        ("/static/map/main.js", b"", (b"range", b"bytes=900000000-"), 416),
        ("/map/default/search", b"q=\xff", None, 400),
        ("/atlas/default/" + "a" * 5_000, b"", None, 404),
        ("/static/" + "a" * 5_000, b"", None, 404),
        ("/atlas/default/a\0b", b"", None, 404),
        ("/static/a\0b", b"", None, 404),
        ("/map/default/records", b"rows=" + b"1" * 5_000, None, 422),
        ("/map/default/snapshot.json", b"snapshot=" + b"1" * 400, None, 422),
        ("/map/default/points.bin", b"snapshot=" + b"1" * 400, None, 422),
        ("/map/default/run", b"row=" + b"1" * 400, None, 422),
        ("/map/default/run", b"row=-1", None, 422),
        ("/map/default/row", b"id=" + b"a" * 5_000, None, 422),
        ("/datasets/default/records/" + "a" * 5_000, b"", None, 422),
        ("/datasets/" + "a" * 5_000 + "/records/1", b"", None, 422),
        ("/map/" + "\U0001d518" * 100 + "/current.json", b"", None, 404),
    ],
)
def test_malformed_input_is_refused_without_a_server_error(
    app: FastAPI, path: str, query: bytes, header: tuple[bytes, bytes] | None, status: int
) -> None:
    answer = ask(app, path, query=query, headers=[header] if header else [])
    assert_well_answered(answer)
    assert answer.status == status, answer


@pytest.mark.parametrize("origin", [b"http://[x", b"null", b"http://127.0.0.1:8000:1", b"\xff"])
def test_a_malformed_origin_counts_as_another_site(app: FastAPI, origin: bytes) -> None:
    answer = ask(app, "/index", method="POST", headers=[(b"origin", origin)])
    assert_well_answered(answer)
    assert answer.status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"dataset": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"sources": ["\\ud800"]}',
        b'{"sources": ["\\u0000"]}',
        b'{"dataset": "\xff"}',
        b"\xff\xfe",
        b"{" + b'"a":1,' * 10_000 + b'"b":2}',
        b"1e999",
    ],
)
@pytest.mark.parametrize("path", ["/load", "/index"])
def test_malformed_bodies_are_refused(app: FastAPI, path: str, body: bytes) -> None:
    answer = ask(app, path, method="POST", headers=[(b"content-type", b"application/json")], body=[body])
    assert_well_answered(answer)
    assert answer.status in {400, 422}, answer


def test_a_body_above_the_limit_is_refused_before_it_is_read(app: FastAPI) -> None:
    source = json.dumps({"sources": ["x" * 10_000_000]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(source)).encode())]
    answer = ask(app, "/load", method="POST", headers=headers, body=[source])
    assert_well_answered(answer)
    assert answer.status == 413
    assert b"api.max_body_bytes" in answer.body


def test_a_body_without_a_length_is_refused_as_soon_as_it_exceeds_the_limit(app: FastAPI) -> None:
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        for n in range(100):
            sent.append(n)
            yield b"x" * 100_000

    chunks = list(endless())
    answer = ask(app, "/load", method="POST", headers=[(b"content-type", b"application/json")], body=chunks)
    assert_well_answered(answer)
    assert answer.status == 413


def test_a_source_longer_than_any_path_is_refused_with_its_field(app: FastAPI) -> None:
    body = json.dumps({"sources": ["x" * 5_000]}).encode()
    answer = ask(app, "/load", method="POST", headers=[(b"content-type", b"application/json")], body=[body])
    assert answer.status == 422
    assert answer.json()["errors"][0]["field"] == "sources.0"


def test_the_refusal_of_a_host_name_names_the_setting_that_allows_it(app: FastAPI, world: Settings) -> None:
    asked = [(b"host", b"logs.example:8443")]
    refused = ask(app, "/datasets", headers=asked)
    assert_well_answered(refused)
    assert refused.status == 421
    assert "api.allowed_hosts" in refused.json()["detail"]
    assert "logs.example" in refused.json()["detail"]
    api = world.api.model_copy(update={"allowed_hosts": ("logs.example", "*.tunnel.example")})
    allowing = create_app(world.model_copy(update={"api": api}))
    assert ask(allowing, "/datasets", headers=asked).status == 200
    assert ask(allowing, "/datasets", headers=[(b"host", b"a1.tunnel.example")]).status == 200
    assert ask(allowing, "/datasets", headers=[(b"host", b"tunnel.example.evil.example")]).status == 421
    assert ask(allowing, "/datasets", headers=[(b"host", b"eviltunnel.example")]).status == 421
    allowing.state.dependencies.state.close()


def test_a_page_served_through_an_allowed_host_may_post_and_another_page_may_not(world: Settings) -> None:
    api = world.api.model_copy(update={"allowed_hosts": ("logs.example",)})
    made = create_app(world.model_copy(update={"api": api}))

    def post(origin: bytes) -> Answer:
        return ask(made, "/index", method="POST", headers=[(b"host", b"127.0.0.1:8000"), (b"origin", origin)])

    assert post(b"https://logs.example").status == 503, "it was passed on to Prefect, which is not running here"
    refused = post(b"https://evil.example")
    assert refused.status == 403
    assert "api.allowed_hosts" in refused.json()["detail"]
    made.state.dependencies.state.close()


# --- properties ------------------------------------------------------------------------------------------------------

header_names = st.sampled_from(
    [
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"authorization",
        b"cookie",
        b"accept",
        b"accept-encoding",
        b"range",
        b"if-range",
        b"if-none-match",
        b"if-modified-since",
        b"content-type",
        b"content-length",
        b"idempotency-key",
        b"transfer-encoding",
    ]
)
fragments = st.sampled_from(
    [
        b"[",
        b"]",
        b"::1",
        b":",
        b"@",
        b"http://",
        b"bytes=",
        b"-",
        b",",
        b"=",
        b";",
        b"runatlas=",
        b'"',
        b"Bearer ",
        b"0",
    ]
)
visible = st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\r\n\0"))  # servers refuse these three
header_values = st.lists(fragments | visible, max_size=6).map(b"".join)
words = st.text(max_size=30) | st.sampled_from(["default", "..", ".", "", "%", "\0", "a" * 300, "9" * 5_000, "*"])
paths = st.one_of(
    st.builds(lambda word: f"/map/{word}", words),
    st.builds(lambda word, name: f"/map/{word}/{name}", words, st.sampled_from(["current.json", "points.bin", "run"])),
    st.builds(lambda word: f"/map/default/{word}", words),
    st.builds(lambda word: f"/atlas/default/{word}", words),
    st.builds(lambda word: f"/atlas/default/data/{word}", words),
    st.builds(lambda word: f"/atlas/{word}/", words),
    st.builds(lambda one, two: f"/datasets/{one}/records/{two}", words, words),
    st.builds(lambda word: f"/runs/{word}", words),
    st.builds(lambda word: f"/static/{word}", words),
    st.builds(lambda word: f"/{word}", words),
    st.sampled_from(["/", "/docs", "/openapi.json", "/metrics", "/datasets", "/health", "/favicon.ico"]),
)
names = st.sampled_from([b"rows", b"row", b"snapshot", b"id", b"q", b"v", b"token"]) | visible
numbers = st.integers().map(lambda n: str(n).encode()) | st.just(b"9" * 5_000)
queries = st.lists(st.tuples(names, visible | numbers | st.just(b"%00") | st.just(b"%ff")), max_size=3).map(
    lambda pairs: b"&".join(name + b"=" + value for name, value in pairs)
)


@sampling
@given(name=header_names, value=header_values, path=st.sampled_from(["/health", "/map/default", "/static/map/main.js"]))
def test_no_header_causes_a_server_error(app: FastAPI, name: bytes, value: bytes, path: str) -> None:
    assert_well_answered(ask(app, path, headers=[(name, value)]))


@sampling
@given(name=header_names, value=header_values)
def test_no_header_of_a_post_causes_a_server_error(app: FastAPI, name: bytes, value: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (name, value)]
    assert_well_answered(ask(app, "/load", method="POST", headers=headers, body=[b'{"sources": ["/nowhere"]}']))


@sampling
@given(name=header_names, value=header_values, method=st.sampled_from(["GET", "POST"]))
def test_no_header_causes_a_server_error_or_gives_access_without_the_token(
    locked: FastAPI, name: bytes, value: bytes, method: str
) -> None:
    answer = ask(locked, "/datasets", method=method, headers=[(name, value)])
    assert answer.status in {400, 401, 403, 413}, answer
    if b"html" not in value:
        assert_well_answered(answer)


@sampling
@given(path=paths, query=queries)
def test_no_path_and_no_query_causes_a_server_error(app: FastAPI, path: str, query: bytes) -> None:
    assert_well_answered(ask(app, path, query=query))


@sampling
@given(
    call=st.sampled_from(["records", "run", "row", "search", "snapshot.json", "points.bin"]),
    query=queries,
)
def test_no_query_of_a_map_causes_a_server_error(app: FastAPI, call: str, query: bytes) -> None:
    assert_well_answered(ask(app, f"/map/default/{call}", query=query))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
bodies = st.one_of(
    st.binary(max_size=50),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.builds(lambda value: json.dumps({"dataset": value}).encode(), json_values),
    st.builds(lambda value: json.dumps({"sources": [value]}).encode(), json_values),
    st.builds(lambda value: json.dumps({"dataset": value}).encode(), st.text(st.characters(codec=None), max_size=5)),
)


@pytest.mark.slow
@sampling
@given(path=st.sampled_from(["/load", "/index"]), body=bodies)
def test_no_body_causes_a_server_error(app: FastAPI, path: str, body: bytes) -> None:
    answer = ask(app, path, method="POST", headers=[(b"content-type", b"application/json")], body=[body])
    assert_well_answered(answer)


def test_without_a_database_the_answers_are_problem_documents(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = create_app(settings_at(tmp_path_factory.mktemp("none") / "home", database_url="postgresql://127.0.0.1:1/x"))
    for path in ("/datasets", "/map/default", "/metrics", "/"):
        answer = ask(made, path)
        assert (answer.status, answer.content_type) == (503, problem_type)
    made.state.dependencies.state.close()
