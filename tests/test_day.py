"""A day of the real product in a few minutes: a load each minute, the threshold's and the night's indexes, the watcher."""

from __future__ import annotations

import json
import os
from contextlib import suppress

import psutil
import pytest
from product import Product, until

from components.pipeline import Pipeline
from components.settings import load_settings

minutes = int(os.environ.get("RUNATLAS_TEST_MINUTES", "180"))
by_deployment = 30  # each so many minutes the load goes through Prefect; a process a load would take hours
index_threshold = 200
agents = 8  # write at once
keep_snapshots = 3
over = {"Completed", "Joined", "Cancelled"}


@pytest.mark.campaign
def test_a_day_leaves_no_stuck_run_no_missed_record_and_nothing_that_grows(tmp_path, monkeypatch):
    datasets = {"default": {"sources": ["logs"], "index_threshold": index_threshold}}
    product = Product(
        tmp_path,
        RUNATLAS_DATASETS=json.dumps(datasets),
        RUNATLAS_PUBLISH__KEEP_S="0",
        RUNATLAS_PUBLISH__KEEP_SNAPSHOTS=str(keep_snapshots),
    )
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RUNATLAS_")]:
        monkeypatch.delenv(name)
    for name, value in product.environment.items():
        if name.startswith("RUNATLAS_"):
            monkeypatch.setenv(name, value)
    with product.running() as process:
        written, memory = live_a_day(product, process)
        product.post("/load", dataset="*")
        until(lambda: is_quiet(product), 300, process)
        night = product.ended(product.post("/index", dataset="*")["flow_run_id"], process)
        assert night["state"] in {"Completed", "Cancelled"}, night  # one that was at work takes everything along
        until(lambda: rows_reported(product) == written, 30, process)
        until(lambda: is_quiet(product), 60, process)  # the schedules go on
        state = product.get("/health")
        assert state["status"] == "ok", state
        assert state["datasets"]["default"]["records"] == written
        early, late = sorted(memory[len(memory) // 4 : len(memory) // 2]), sorted(memory[3 * len(memory) // 4 :])
        growth = f"{early[len(early) // 2]:.0f} -> {late[len(late) // 2]:.0f} MB"
        print(f"\n{written} records; product {growth}; {runs_by_state(product)}")
        assert late[len(late) // 2] < 1.15 * early[len(early) // 2], growth
        until(lambda: set(runs_by_state(product)) <= over, 120, process)  # what is at work ends, what is stuck does not
        forgets_in_time(product)
    with Pipeline(load_settings()) as pipeline:
        assert all(check.ok for check in pipeline.verify())
    folder = product.home / "output" / "default"
    assert len(list((folder / "snapshots").iterdir())) <= keep_snapshots
    assert len(list((folder / "current" / "logs").iterdir())) <= 8, "small parts are put together"


def live_a_day(product, process):
    """(lines written, MB of the tree through the day): each minute some agent writes, and a load comes."""
    written, memory = 0, []
    with Pipeline(load_settings()) as pipeline:
        for minute in range(minutes):
            hour, agent = divmod(minute, 60)[0], minute % agents
            with (product.logs / f"{agent}-{hour}.jsonl").open("a") as log:
                for n in range(1 + minute % 3):
                    log.write(json.dumps({"role": "user", "content": f"minute {minute}, step {n}"}) + "\n")
                    written += 1
            if minute % by_deployment:
                pipeline.load()
            else:
                product.post("/load")
                memory.append(megabytes(process))
            if not minute % 60:
                until(lambda: is_quiet(product), 180, process)
    return written, memory


def rows_reported(product):
    """Rows on the map as `/health` reports them; None while it has no current value."""
    return product.get("/health")["datasets"].get("default", {}).get("rows")


def is_quiet(product):
    state = product.get("/health")
    return not (state["loading"] or state["indexing"] or state["queued"])


def megabytes(process):
    """Memory of the long-lived processes; runs are not counted."""
    tree = psutil.Process(process.pid)
    total = tree.memory_info().rss
    for child in tree.children():
        with suppress(psutil.NoSuchProcess):
            if {"api.up.prefect_app", "api"} & set(child.cmdline()):
                total += child.memory_info().rss
    return total / 1e6


def runs_by_state(product):
    counts: dict[str, int] = {}
    past = {"state": {"type": {"not_any_": ["SCHEDULED"]}}}
    for offset in range(0, 10_000, 200):
        found = product.prefect("/flow_runs/filter", flow_runs=past, limit=200, offset=offset)
        for run in found:
            counts[run["state_name"]] = counts.get(run["state_name"], 0) + 1
        if len(found) < 200:
            break
    return counts


def forgets_in_time(product):
    """The server is configured to expire runs, logs, artifacts and events."""
    server = product.prefect("/admin/settings")["server"]
    assert set(server["services"]["db_vacuum"]["enabled"]) == {"events", "flow_runs"}
    assert server["services"]["db_vacuum"]["retention_period"]
    assert server["events"]["retention_period"]
