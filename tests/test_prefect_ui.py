"""How the Prefect UI renders texts from logs, in a real browser against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from browser import a_browser, free_port, is_there, waited

from flows.deploy import root

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not is_there, reason="needs chromium")]

load = """
import sys
from flows.load import load
load(dataset="planted", sources=[sys.argv[1]])
"""


@contextmanager
def recorder():
    """The address of a server that records every requested path, and the list of these paths."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def prefect_ui(tmp_path_factory):
    """The address of a Prefect server with its UI, and the environment of its clients."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RUNATLAS_"))}
    home = tmp_path_factory.mktemp("prefect")
    environment = {**kept, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    environment["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
    url = f"http://127.0.0.1:{port}"
    try:
        waited(lambda: server.poll() is not None or _is_healthy(url), what="the Prefect server", within_s=180)
        yield url, {**environment, "PREFECT_API_URL": f"{url}/api"}
    finally:
        server.terminate()
        server.wait(60)


def _is_healthy(url):
    try:
        return httpx.get(f"{url}/api/health", timeout=5).is_success
    except httpx.TransportError:
        return False


def plant(folder, address):
    """Logs that no format recognises, whose names and keys would be images, links and HTML."""
    folder.mkdir()
    planted = f"![x](http://{address}/key.png) <img src=http://{address}/html.png> [link](http://{address}/link)"
    bare = f"http://{address}/bare www.planted.example | `code` **bold**\n\n# heading"
    for name in ("![a](x.png)", "<img src=x onerror=alert(1)>", "a|b`c`"):
        (folder / f"{name}.json").write_text(json.dumps({planted: 1, bare: 2}))
        os.utime(folder / f"{name}.json", (1, 1))
    (folder / "good.jsonl").write_text(json.dumps({"role": "user", "content": planted}) + "\n")


def test_nothing_that_a_log_holds_becomes_an_image_a_link_or_html_in_the_prefect_ui(prefect_ui, tmp_path):
    url, environment = prefect_ui
    with recorder() as (address, seen):
        plant(tmp_path / "logs", address)
        settings = {"RUNATLAS_HOME": str(tmp_path / "home"), "RUNATLAS_MODEL": "hash://8", "PYTHONPATH": str(root)}
        command = [sys.executable, "-c", load, str(tmp_path / "logs")]
        subprocess.run(command, env={**environment, **settings}, cwd=tmp_path, check=True, capture_output=True)
        artifacts = httpx.post(f"{url}/api/artifacts/filter", json={}, timeout=30).json()
        (report,) = [artifact for artifact in artifacts if artifact["key"] == "load-planted"]

        with a_browser(tmp_path / "browser") as browser:
            for page, shown in (
                ("/artifacts", "planted"),
                ("/artifacts/key/load-planted", "planted"),
                (f"/runs/flow-run/{report['flow_run_id']}?tab=Artifacts", "planted"),
                (f"/artifacts/artifact/{report['id']}", "Unsupported format"),
            ):
                browser.open(url + page)
                browser.wait_for(f"document.body.innerText.includes('{shown}')", within_s=300)
                made = browser.run(
                    "return [...document.querySelectorAll('img, a, code:not(:has(div)), strong')].map(e => e.outerHTML)"
                    ".filter(html => arguments[0].some(part => html.includes(part)))",
                    [address, "planted.example", "x.png", "<code>code", ">bold<"],
                )
                assert made == [], page
            assert "![a](x.png).json" in browser.run("return document.body.innerText")
            asked = [one for one in browser.asked_for() if address in one or "x.png" in one]

    assert asked == []
    assert seen == []
