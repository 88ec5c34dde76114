"""Requests to this machine are never sent to the proxy that the environment names; others are, unless NO_PROXY says no."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from product import Product, free_port, start_within_s, until, write_log
from recording_proxy import RecordingProxy, recording_proxy
from test_embedding_service import DIM, LLAMA, Service, serve, well_behaved

from api.up.environment import bypass_proxy
from components.embedders.model_uri import open_embedder
from components.errors import BadSetting
from components.http_client import answers, is_loopback, open_client, proxy_for, without_proxy
from components.settings import EmbedSettings

proxy_names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in proxy_names:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.fixture
def proxy(clean_environment: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    with recording_proxy() as running:
        for name, value in running.environment.items():
            clean_environment.setenv(name, value)
        yield running


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    server = serve(service)
    yield service
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "app.localhost",
        "127.0.0.1",
        "127.8.9.10",
        "127.1",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "0.0.0.0",
    ],
)
def test_these_hosts_are_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "::2", "example.com", ""]
)
def test_these_hosts_are_not_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/x", "http://localhost/x", "http://[::1]:4200", "https://127.3.2.1"]
)
@pytest.mark.parametrize("no_proxy", [None, "", "example.com"])
def test_this_machine_is_asked_directly_whatever_no_proxy_says(
    url: str, no_proxy: str | None, proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    if no_proxy is not None:
        monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("example.com", "http://example.com/v1"),
        ("example.com", "https://api.example.com/v1"),
        (".example.com", "http://api.example.com/v1"),
        ("other.org, example.com", "http://example.com:8080/v1"),
        ("10.0.0.0/8", "http://10.20.30.40/v1"),
        ("fd00::/8", "http://[fd00::7]/v1"),
        ("other.org,*", "http://example.com/v1"),
        ("*", "http://example.com/v1"),
    ],
)
def test_hosts_that_no_proxy_names_are_asked_directly(
    no_proxy: str, url: str, proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    assert proxy_for(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [("", "http://example.com"), ("example.com", "http://notexample.com"), ("10.0.0.0/8", "http://11.0.0.1")],
)
def test_all_other_hosts_are_asked_through_the_proxy(
    no_proxy: str, url: str, proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    assert proxy_for(url) == proxy.url


def test_without_a_proxy_every_host_is_asked_directly(clean_environment: pytest.MonkeyPatch) -> None:
    assert proxy_for("http://example.com") is None


def test_a_proxy_may_be_named_without_a_scheme(clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("https_proxy", "proxy.example.com:3128")
    assert proxy_for("https://example.com") == "http://proxy.example.com:3128"


def test_a_proxy_that_can_not_be_used_is_named_by_its_setting_and_never_shown(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    clean_environment.setenv("ALL_PROXY", "gopher://me:hunter2@proxy.example.com")
    with pytest.raises(BadSetting, match="ALL_PROXY") as caught:
        open_client("http://example.com", timeout_s=1)
    assert "hunter2" not in str(caught.value)
    open_client("http://127.0.0.1:8000", timeout_s=1).close()


def test_names_that_are_exempt_stay_exempt_when_loopback_is_added() -> None:
    added = without_proxy({"NO_PROXY": "a.org", "no_proxy": "b.org, c.org"})
    assert added["NO_PROXY"] == added["no_proxy"] == "b.org,c.org,a.org,localhost,.localhost,127.0.0.1,127.0.0.0/8,::1"
    assert without_proxy(added) == added
    assert without_proxy({"no_proxy": "*"}) == {"NO_PROXY": "*", "no_proxy": "*"}


# --- against a real proxy --------------------------------------------------------------------------------------------


def test_texts_for_an_embedding_service_on_loopback_never_reach_the_proxy(
    proxy: RecordingProxy, service: Service, tmp_path: Path
) -> None:
    vectors = service.open(tmp_path).embed(["a text from a log"]).vectors
    assert vectors.shape == (1, DIM)
    assert len(service.seen) == 1
    assert proxy.asked == []


def test_a_service_elsewhere_is_asked_through_the_proxy(proxy: RecordingProxy, tmp_path: Path) -> None:
    proxy.answer = lambda body: well_behaved(json.loads(body))
    elsewhere = open_embedder("openai://tiny?base_url=http://embeddings.example/v1", EmbedSettings(), tmp_path)
    assert elsewhere.embed(["a"]).vectors.shape == (1, DIM)
    assert [(method, url) for method, url, _ in proxy.asked] == [("POST", "http://embeddings.example/v1/embeddings")]


def test_a_gguf_server_is_reached_behind_a_proxy(proxy: RecordingProxy, tmp_path: Path) -> None:
    server = tmp_path / "llama-server"
    server.write_text(LLAMA)
    server.chmod(0o755)
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    embedder = open_embedder(f"gguf://{tmp_path}/tiny.gguf?server={server}", EmbedSettings(), tmp_path)
    try:
        assert np.isclose(np.linalg.norm(embedder.embed(["a"]).vectors), 1)
    finally:
        embedder.close()  # type: ignore[attr-defined]
    assert proxy.asked == []


def test_health_on_loopback_is_asked_directly(proxy: RecordingProxy) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert answers(f"{url}/health", timeout_s=5)
        assert not answers(f"{url}/other", timeout_s=5)
        server.shutdown()
    assert not answers(f"http://127.0.0.1:{free_port()}/health", timeout_s=5)
    assert proxy.asked == []


def test_prefects_client_and_its_event_streams_reach_loopback_directly(
    proxy: RecordingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx
    from prefect.client.orchestration import PrefectClient
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
    from websockets.proxy import get_proxy
    from websockets.uri import parse_uri

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.com")
    bypass_proxy("127.0.0.2")
    port = free_port()
    for host in ("127.0.0.1", "127.0.0.2", "localhost", "[::1]"):
        assert get_proxy(parse_uri(f"ws://{host}:{port}/api/events/out")) is None

    async def ask(host: str) -> None:
        async with PrefectClient(f"http://{host}:{port}/api", httpx_settings={"timeout": 5}) as client:
            await client.read_flows()

    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        for host in ("127.0.0.1", "127.0.0.2", "localhost"):
            with pytest.raises(httpx.ConnectError):
                asyncio.run(ask(host))
    assert proxy.asked == []


@pytest.mark.slow
def test_the_whole_product_runs_behind_a_proxy_that_hears_nothing_of_it(
    proxy: RecordingProxy, service: Service, tmp_path: Path
) -> None:
    product = Product(tmp_path, RUNATLAS_MODEL=f"openai://tiny?base_url={service.url}/v1&dimensions={DIM}")
    assert product.environment["HTTP_PROXY"] == proxy.url
    product.environment["NO_PROXY"] = "localhost"  # `up` asks 127.0.0.1
    shell = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "doctor"],
        cwd=tmp_path,
        env=product.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "gives 16 dimensions" in shell.stdout, shell.stdout + shell.stderr
    assert proxy.asked == []
    process = product.start()
    try:
        until(lambda: "is ready" in product.output.read_text(), start_within_s, process)
        write_log(tmp_path / "logs" / "a.jsonl", 20)
        until((product.home / "output" / "default" / "current").exists, start_within_s, process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0, product.output.read_text()
    assert service.seen
    assert proxy.asked == []
