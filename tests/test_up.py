"""`runatlas up`: the real product, as one process tree on free ports."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import datetime
from itertools import pairwise

import pytest
from product import Product, start_within_s, until, write_log
from test_embedding_service import Service, serve, well_behaved

from api.up.browser import has_display, open_page
from api.up.environment import environment_of, export_settings, with_absolute_paths
from api.up.home import AlreadyRuns, announce, locked, running_instance
from api.up.logs import rotate
from api.up.ports import listen
from components.errors import BadSetting
from components.settings import DatasetSettings, Settings, load_settings

map_within_s = 120


# --- environment, home, ports, logs


def test_a_home_is_locked_by_one_process(tmp_path):
    with locked(tmp_path) as lock:
        lock.write('{"pid": 7, "api": "http://127.0.0.1:8000", "prefect": "http://127.0.0.1:4200"}')
        lock.flush()
        with pytest.raises(AlreadyRuns, match=r"process 7, API http://127\.0\.0\.1:8000"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_a_home_that_can_not_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="RUNATLAS_HOME"), locked(tmp_path / "file" / "home"):
        pass


def test_a_free_port_replaces_one_in_use():
    with listen("127.0.0.1", 0) as first:
        wanted = first.getsockname()[1]
        with listen("127.0.0.1", wanted) as second:
            assert second.getsockname()[1] != wanted


def test_the_address_of_another_machine_is_rejected():
    with pytest.raises(BadSetting, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 8000)


def test_child_processes_have_exactly_the_settings_of_their_parent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = with_absolute_paths(
        Settings(
            home="here",
            model="hash://8",
            datasets={"runs": DatasetSettings(sources=("logs", "postgresql://db/x?table=t"), index_threshold=3)},
        )
    )
    for name in [name for name in os.environ if name.startswith("RUNATLAS_")]:
        monkeypatch.delenv(name)
    for name in ("PATH", "RUNATLAS_CONFIG", *environment_of(given)):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # and back again afterwards
    export_settings(given)
    (tmp_path / "runatlas.toml").write_text('model = "hash://16"\napi_token = "x"\n[datasets.other]\nformat = "otel"\n')
    assert load_settings() == given
    assert given.home == tmp_path / "here"
    assert given.datasets["runs"].sources == (str(tmp_path / "logs"), "postgresql://db/x?table=t")


def test_the_addresses_of_a_running_product_are_found_from_its_home(tmp_path):
    addresses = {"api": "http://127.0.0.1:8000", "prefect": "http://127.0.0.1:4200"}
    assert running_instance(tmp_path) is None
    with locked(tmp_path) as lock:
        assert running_instance(tmp_path) is None, "it is still starting"
        announce(lock, **addresses)
        assert running_instance(tmp_path) == {"pid": os.getpid(), **addresses}
    assert running_instance(tmp_path) is None


def test_importing_the_supervisor_does_not_import_prefect():
    """Its environment is set later, and Prefect reads it at import."""
    code = "import sys, api.up.supervisor; assert 'prefect' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_page_opens_only_where_somebody_can_see_it(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not open_page("http://127.0.0.1:8000/map/default")
    assert not has_display("linux", {"DISPLAY": ""})


def test_a_log_is_rotated_while_its_writer_goes_on(tmp_path):
    log = tmp_path / "up.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        rotate(log, limit_bytes=50)
        writer.write(b"more")
    assert log.read_bytes() == b"more"
    assert (tmp_path / "up.log.1").stat().st_size == 100


# --- the product


@pytest.mark.slow
def test_a_log_written_to_a_watched_folder_is_loaded_and_indexed(tmp_path):
    product = Product(tmp_path)
    process = product.start()
    try:
        until(lambda: "is ready" in product.output.read_text(), start_within_s, process)
        assert f"http://127.0.0.1:{product.ports[0]}" in product.output.read_text()
        assert product.get("/health")["prefect"]["reachable"]

        write_log(tmp_path / "logs" / "a.jsonl", 20)
        until((product.home / "output" / "default" / "current").exists, map_within_s, process)
        state = until(
            lambda: found if (found := product.get("/health")["datasets"].get("default", {})).get("rows") else None,
            15,
            process,
        )
        assert (state["records"], state["rows"], state["unindexed"]) == (20, 20, 0)

        second = subprocess.run(
            [sys.executable, "-c", "import sys; from api.cli.main import main; sys.argv = ['runatlas', 'up']; main()"],
            cwd=tmp_path,
            env=product.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 1
        assert f"process {process.pid}" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, product.output.read_text()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", product.ports[0]), 2)


@pytest.mark.slow
def test_prefect_removes_old_runs_and_events(tmp_path):
    """Only what the server wrote is made to look old between two starts; it is set up as ever."""
    product = Product(tmp_path, RUNATLAS_WATCH__ENABLED="false")
    write_log(product.logs / "a.jsonl", 3)
    with product.running() as process:
        old, young = (product.ended(product.post("/load")["flow_run_id"], process) for _ in range(2))
    runs = [run["flow_run_id"] for run in (old, young)]
    database = product.home / "prefect" / "prefect.db"
    assert left_of(database, *runs) == {"flow_run": 2, "log": 2, "artifact": 2, "old events": 0}
    with closing(sqlite3.connect(database)) as opened, opened:
        ago = "strftime('%Y-%m-%d %H:%M:%f000', {}, '-{} days')"
        opened.execute(f"update flow_run set end_time = {ago.format('end_time', 8)} where id = ?", [runs[0]])
        for table in ("events", "event_resources"):
            opened.execute(f"update {table} set occurred = {ago.format('occurred', 3)}")
    assert left_of(database, *runs)["old events"] > 10
    with product.running() as process:
        kept = {"flow_run": 1, "log": 1, "artifact": 1, "old events": 0}
        until(lambda: left_of(database, *runs) == kept, 120, process)
        assert product.get(f"/runs/{young['flow_run_id']}")["state"] == "Completed"


def left_of(database, *runs):
    """How many of these runs exist, have log lines, have artifacts; and how many events are older than two days."""
    counts = {}
    with closing(sqlite3.connect(database, timeout=30)) as opened:
        for table, column in (("flow_run", "id"), ("log", "flow_run_id"), ("artifact", "flow_run_id")):
            query = f"select count(distinct {column}) from {table} where {column} in (?, ?)"
            counts[table] = opened.execute(query, runs).fetchone()[0]
        query = "select count(*) from events where occurred < strftime('%Y-%m-%d %H:%M:%f000', 'now', '-2 days')"
        counts["old events"] = opened.execute(query).fetchone()[0]
    return counts


@pytest.mark.slow
def test_an_unavailable_embedding_service_fails_the_run_after_growing_waits_and_the_next_one_resumes(tmp_path):
    service = Service(answer=lambda _: (503, {}, {"error": "model is loading"}))
    with serve(service) as server:
        product = Product(
            tmp_path,
            RUNATLAS_MODEL=f"openai://tiny?base_url={service.url}/v1",
            RUNATLAS_EMBED__RETRIES="2",
            RUNATLAS_EMBED__BACKOFF_S="1.0",
            RUNATLAS_WATCH__ENABLED="false",
        )
        write_log(product.logs / "a.jsonl", 5)
        try:
            with product.running() as process:
                assert product.ended(product.post("/load")["flow_run_id"], process)["state"] == "Completed"
                run = product.post("/index")["flow_run_id"]
                failed = product.ended(run, process)
                assert failed["state"] == "Failed"
                assert "is down" in failed["error"]
                assert "503" in failed["error"]
                tasks = product.prefect("/task_runs/filter", flow_runs={"id": {"any_": [run]}})
                (tried,) = [task for task in tasks if task["state_name"] == "Failed"]
                assert (tried["name"], tried["run_count"]) == ("reach model", 3)
                waits = waits_of(product.prefect(f"/task_run_states/?task_run_id={tried['id']}"))
                assert len(waits) == 2
                assert 0.7 <= waits[0] < waits[1]  # 1 s and 2 s, each with a jitter of up to 30 %
                until(lambda: "the last index failed" in str(product.get("/health")["reasons"]), 15, process)

                service.answer = well_behaved
                done = product.ended(product.post("/index")["flow_run_id"], process)
                assert (done["state"], done["report"]["embedded"], done["report"]["rows"]) == ("Completed", 5, 5)
        finally:
            server.shutdown()


@pytest.mark.slow
def test_an_index_cancelled_in_the_ui_is_not_repeated_until_something_new_is_loaded(tmp_path):
    gate = threading.Event()

    def answer(body):
        if len(body["input"]) > 1:  # the question for its dimension passes
            gate.wait(600)
        return well_behaved(body)

    service = Service(answer=answer)
    with serve(service) as server:
        product = Product(
            tmp_path,
            RUNATLAS_MODEL=f"openai://tiny?base_url={service.url}/v1",
            RUNATLAS_WATCH__ENABLED="false",
            RUNATLAS_LOAD__POLL_S="86400",
            RUNATLAS_EMBED__TIMEOUT_S="600",
        )
        write_log(product.logs / "a.jsonl", 20)
        try:
            with product.running() as process:
                product.ended(product.post("/load")["flow_run_id"], process, 300)
                run = until(lambda: next(iter(indexes(product, "RUNNING")), None), 300, process)
                until(lambda: service.at_once, 300, process)
                state = {"type": "CANCELLING", "name": "Cancelling"}  # as the UI sets it
                product.prefect(f"/flow_runs/{run['id']}/set_state", state=state)
                assert product.ended(run["id"], process, 300)["state"] == "Cancelled"

                for _ in range(2):
                    assert product.ended(product.post("/load")["flow_run_id"], process, 300)["state"] == "Completed"
                # its requests hang, so Prefect may have had to kill it before it could note anything
                record = product.get(f"/runs/{run['id']}")
                assert "cancelled in the Prefect UI" in record["error"]
                assert record["progress"] < 90
                gate.set()
                write_log(product.logs / "b.jsonl", 1, start=20)
                product.ended(product.post("/load")["flow_run_id"], process, 300)
                until(lambda: indexes(product, "COMPLETED"), 300, process)
                until(lambda: product.get("/datasets")["datasets"]["default"]["rows"] == 21, 60, process)
                assert len(indexes(product, "RUNNING", "CANCELLED", "COMPLETED", "FAILED", "CRASHED")) == 2
        finally:
            gate.set()
            server.shutdown()


def indexes(product, *types):
    """Runs of index in these states."""
    which = {"state": {"type": {"any_": list(types)}}}
    return product.prefect("/flow_runs/filter", flows={"name": {"any_": ["index"]}}, flow_runs=which)


def waits_of(states):
    """Seconds that a task run waited before each further try."""
    times = [(state["name"], datetime.fromisoformat(state["timestamp"])) for state in states]
    times.sort(key=lambda item: item[1])
    return [(after - at).total_seconds() for (name, at), (_, after) in pairwise(times) if name == "AwaitingRetry"]
