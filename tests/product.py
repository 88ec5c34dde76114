"""The real product for a test: `runatlas up` in its own folder, on free ports, with the hash model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import httpx

start_within_s = 180


class Product:
    """`more`: further settings. Tests write logs below `logs`."""

    def __init__(self, folder, **more):
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        self.home = folder / "home"
        self.output = folder / "output.txt"
        self.ports = [free_port(), free_port()]
        settings = {
            "RUNATLAS_HOME": str(self.home),
            "RUNATLAS_MODEL": "hash://64",
            "RUNATLAS_PREFECT__PORT": str(self.ports[0]),
            "RUNATLAS_API__PORT": str(self.ports[1]),
            "RUNATLAS_DATASETS": json.dumps({"default": {"sources": ["logs"], "index_threshold": 10}}),
            **more,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "RUNATLAS_"))}
        self.environment = {**kept, **settings}

    def start(self):
        command = "import sys; from api.cli.main import main; sys.argv = ['runatlas', 'up']; main()"
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-c", command], cwd=self.folder, env=self.environment, stdout=output, stderr=output
            )

    @contextmanager
    def running(self):
        """The process of a product that is ready; it is stopped with SIGTERM at the end."""
        process = self.start()
        try:
            until(lambda: "is ready" in self.output.read_text(), start_within_s, process)
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert status == 0, self.output.read_text()

    def post(self, path, **body):
        """The response to a call that starts a run; retried after `Retry-After` while the server is busy."""
        for _ in range(10):
            answer = httpx.post(f"http://127.0.0.1:{self.ports[1]}{path}", json=body, timeout=30)
            if answer.status_code != 503:
                break
            time.sleep(float(answer.headers["retry-after"]))
        assert answer.status_code == 202, answer.text
        return answer.json()

    def ended(self, run, process, within_s=120):
        """What the API reports of a run, once it has ended."""
        finals = {"Completed", "Failed", "Crashed", "Cancelled", "Joined"}
        return until(
            lambda: found if (found := self.get(f"/runs/{run}"))["state"] in finals else None, within_s, process
        )

    def prefect(self, path, **body):
        """What Prefect's own API returns for a query."""
        answer = self.ask_prefect("POST" if body else "GET", path, body or None)
        answer.raise_for_status()
        return answer.json()

    def stop_schedules(self, deployment):
        """Pause its schedules, so that only requested runs start; returns the deployment's id."""
        found = self.prefect(f"/deployments/name/{deployment}")
        for schedule in found["schedules"]:
            path = f"/deployments/{found['id']}/schedules/{schedule['id']}"
            self.ask_prefect("PATCH", path, {"active": False}).raise_for_status()
        return found["id"]

    def ask_prefect(self, method, path, body=None):
        """The response of Prefect's own API, called with its key; retried while its database is locked."""
        user, _, password = (self.home / "prefect" / "auth-string").read_text().partition(":")
        url = f"http://127.0.0.1:{self.ports[0]}/api{path}"
        for _ in range(20):
            answer = httpx.request(method, url, json=body, auth=(user, password), timeout=30)
            if answer.status_code != 503:
                break
            time.sleep(1)
        return answer

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[1]}{path}", timeout=10) as answer:
            return json.load(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, within_s, process):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        assert process.poll() is None, "the product ended"
        if found := what():
            return found
        time.sleep(0.3)
    raise TimeoutError


def write_log(path, n, start=0):
    path.write_text(
        "".join(json.dumps({"role": "user", "content": f"step {i}"}) + "\n" for i in range(start, start + n))
    )
