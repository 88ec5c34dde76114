"""Hills named by a language model: real servers that answer as OpenAI's and Gemini's do, fail, talk HTML, and stall."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_world import settings_at
from served import served
from test_topic_models import Service, chat_answer

from api.app import create_app

pytestmark = pytest.mark.slow

sizes = {"where is my parcel": 40, "the invoice is wrong": 20, "the app does not start": 10}
table = "text\n" + "".join(f"{text}\n" * n for text, n in sizes.items())
Answer = Callable[[dict[str, Any]], tuple[int, bytes]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Service]]:
    opened: list[Service] = []

    def start(answer: Answer) -> Service:
        opened.append(Service(answer))
        return opened[-1]

    yield start
    for service in opened:
        service.server.shutdown()
        service.server.server_close()


def named(request: dict[str, Any]) -> tuple[int, bytes]:
    """A name for the group whose texts the request shows first, as a model would find it."""
    question = request["messages"][-1]["content"]
    first = min(sizes, key=lambda text: at if (at := question.find(text)) >= 0 else len(question))
    return chat_answer(json.dumps({"name": f"About {first.split()[-1]}", "description": f"Texts like: {first}."}))


def surveyed(home: Path, uri: str, **topics: Any) -> tuple[list[dict[str, Any]], str]:
    """The hills of the table through the API, and the metrics."""
    settings = settings_at(home, topics={"model": uri, **topics})
    with served(create_app(settings), timeout=120) as api:
        upload = api.post("/api/upload", files={"file": ("t.csv", table)}).json()["dataset_id"]
        until = time.monotonic() + 180
        while (state := api.get(f"/api/status/{upload}").json())["status"] == "processing":
            assert time.monotonic() < until, state
            time.sleep(0.1)
        assert state["status"] == "completed", state
        hills = api.get(f"/api/terrain/{upload}").json()["hills"]
        return hills, api.get("/metrics").text


@pytest.mark.parametrize("kind", ["openai", "gemini"])
def test_a_language_model_names_the_hills(
    kind: str, serve: Callable[[Answer], Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "key of gemini")
    monkeypatch.setenv("OPENAI_API_KEY", "key of openai")
    service = serve(named)
    hills, metrics = surveyed(tmp_path, service.uri.replace("openai://", f"{kind}://"))
    assert [(hill["label"], hill["label_source"], hill["size"]) for hill in hills] == [
        ("About parcel", "model", 40),
        ("About wrong", "model", 20),
        ("About start", "model", 10),
    ]
    assert hills[0]["description"] == "Texts like: where is my parcel."
    assert set(service.keys) == {f"Bearer key of {kind}"}
    assert {request["model"] for request in service.requests} == {"some-model"}
    assert len(service.requests) == len(sizes)
    assert "runatlas_survey_label_failures_total 0.0" in metrics


@pytest.mark.parametrize("fault", ["down", "html", "stall"])
def test_where_the_language_model_fails_phrases_name_the_hills(
    fault: str, serve: Callable[[Answer], Service], tmp_path: Path
) -> None:
    ended = threading.Event()

    def answer(request: dict[str, Any]) -> tuple[int, bytes]:
        if fault == "stall":
            ended.wait(60)
        return {"down": (500, b"down"), "html": (200, b"<html>sign in</html>")}.get(fault, named(request))

    service = serve(answer)
    began = time.monotonic()
    try:
        hills, metrics = surveyed(tmp_path, service.uri, timeout_s=1.0)
    finally:
        ended.set()
    assert service.requests, "it was asked"
    assert {hill["label_source"] for hill in hills} == {"keywords"}
    assert all(set(hill["label"].replace(",", "").split()) <= set(hill["samples"][0].split()) for hill in hills)
    assert "runatlas_survey_label_failures_total 3.0" in metrics
    assert time.monotonic() - began < 150
