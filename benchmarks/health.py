"""How long `GET /health` takes while a real index runs under `runatlas up`, beside a bare FastAPI route.

    python -m benchmarks.health [--runs 300]

The product is the real one: Prefect server, worker, API and the default model, on free ports and in a folder of its
own. Three are asked in turns, each on a connection of its own, from the moment the index is at work until it has ended:
`/health`; `/docs` of the same server, a page that asks nobody anything; and a FastAPI application of one empty route
alone in its process, which shows what the machine itself leaves over. All three share the cores with the index.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import print_figure
from benchmarks.sample_logs import write_logs

start_within_s = 180.0
every_s = 0.02
least_rounds = 200


def serve_bare(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI  # noqa: TID251 - the yardstick

    app = FastAPI()

    @app.get("/bare")
    async def bare() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.run(app, port=port, log_level="warning")


class Asked:
    """One path of one server, asked again and again on one connection."""

    def __init__(self, port: int, path: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.path = path
        self.ms: list[float] = []

    def ask(self) -> bytes:
        began = time.perf_counter()
        self.connection.request("GET", self.path)
        answer = self.connection.getresponse()
        body = answer.read()
        self.ms.append(1e3 * (time.perf_counter() - began))
        if answer.status != 200:
            raise SystemExit(f"{self.path} answered {answer.status}.")
        return body

    def at(self, percent: float) -> float:
        return float(np.percentile(self.ms, percent))


@contextmanager
def process(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "said.txt").open("ab") as said:
        started = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(90)


def until(what: Callable[[], Any], alive: subprocess.Popen[bytes]) -> Any:
    """The first true thing that `what` gives; a server that does not listen yet is waited for."""
    end = time.monotonic() + start_within_s
    while time.monotonic() < end and alive.poll() is None:
        try:
            if found := what():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"Waited {start_within_s:.0f} s in vain, or the product ended.")


def call(port: int, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """What is answered; None by a server that is busy and wants to be asked again."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, json.dumps(body or {}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        output = json.loads(answer.read())
        return None if answer.status == 503 else output
    finally:
        connection.close()


def free_ports(n: int) -> list[int]:
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [int(one.getsockname()[1]) for one in opened]
    for one in opened:
        one.close()
    return ports


@contextmanager
def api_process(home: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The port and the process of an API on this home, without a Prefect server, once it answers."""
    port, nobody = free_ports(2)
    kept = {name: one for name, one in os.environ.items() if not name.startswith(("PREFECT_", "RUNATLAS_"))}
    environment = kept | {
        "RUNATLAS_HOME": str(home),
        "RUNATLAS_API__PORT": str(port),
        "RUNATLAS_PREFECT__PORT": str(nobody),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with process(["-m", "api"], home.parent, environment) as api:
        until(lambda: call(port, "GET", "/health"), api)
        yield port, api


def measure(folder: Path, runs: int) -> None:
    prefect, api, bare = free_ports(3)
    write_logs(folder / "logs", runs)
    kept = {name: one for name, one in os.environ.items() if not name.startswith(("PREFECT_", "RUNATLAS_"))}
    environment = kept | {
        "RUNATLAS_HOME": str(folder / "home"),
        "RUNATLAS_API__PORT": str(api),
        "RUNATLAS_PREFECT__PORT": str(prefect),
        "RUNATLAS_DATASETS": json.dumps({"default": {"sources": ["logs"], "index_threshold": 1_000_000}}),
        "RUNATLAS_WATCH__ENABLED": "false",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    up = ["-c", "import sys; from api.cli.main import main; sys.argv = ['runatlas', 'up']; main()"]
    with (
        process(["-m", "benchmarks.health", "--bare", str(bare)], folder, environment),
        process(up, folder, environment) as product,
    ):
        until(lambda: call(api, "GET", "/health")["prefect"]["reachable"], product)
        until(lambda: call(api, "POST", "/load"), product)
        until(lambda: call(api, "GET", "/health")["datasets"].get("default", {}).get("unindexed"), product)
        until(lambda: not call(api, "GET", "/health")["loading"], product)
        until(lambda: call(api, "POST", "/index"), product)
        until(lambda: call(api, "GET", "/health")["indexing"], product)
        asked = [Asked(api, "/health"), Asked(bare, "/bare"), Asked(api, "/docs")]
        rounds = _ask_while_indexing(*asked)
    _tell_all(*asked, rounds=rounds)


def _ask_while_indexing(health: Asked, *others: Asked) -> int:
    rounds = 0
    while json.loads(health.ask())["indexing"]:
        for other in others:
            other.ask()
        rounds += 1
        time.sleep(every_s)
    if rounds < least_rounds:
        raise SystemExit(f"The index ended after {rounds} rounds: give it more --runs.")
    return rounds


def _tell_all(health: Asked, bare: Asked, page: Asked, *, rounds: int) -> None:
    load = round(os.getloadavg()[0], 1)
    print_figure("health_p50", health.at(50), "ms, while indexing", rounds=rounds)
    print_figure(
        "health_p99", health.at(99), "ms, while indexing", goal="<= 50 on quiet cores", rounds=rounds, load=load
    )
    print_figure("health_slowest", max(health.ms), "ms, while indexing")
    print_figure("page_p50", page.at(50), "ms, while indexing, same server")
    print_figure("page_p99", page.at(99), "ms, while indexing, same server")
    print_figure("bare_p50", bare.at(50), "ms, while indexing, bare FastAPI")
    print_figure("bare_p99", bare.at(99), "ms, while indexing, bare FastAPI")
    print_figure("health_over_bare_p50", health.at(50) / bare.at(50), "x")
    print_figure("health_over_bare_p99", health.at(99) / bare.at(99), "x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="agent runs to index; a run has some 24 records")
    parser.add_argument("--bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.bare:
        serve_bare(asked.bare)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), asked.runs)


if __name__ == "__main__":
    main()
