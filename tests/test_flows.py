"""The flows under Prefect's own harness, on real files, a real database and the hash model."""

from __future__ import annotations

import asyncio
import html
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from components.contracts import IndexReport, IndexSeconds, LoadReport, Locator, Problem, RecordCounts, SourceCounts
from components.errors import ServiceUnavailable, SourceError, UnknownFormat
from components.pipeline import Pipeline
from components.settings import load_settings
from components.store import lease_name
from components.store.lease import Heartbeat
from components.wiring import open_store
from flows.deploy import root

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's own


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUNATLAS_MODEL", "hash://64")
    return tmp_path / "home"


def write_log(path, n, start=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for i in range(start, start + n):
            file.write(json.dumps({"role": "user", "content": f"step {i}: what happened in run {i % 7}?"}) + "\n")


def rows_of(home, dataset="default"):
    parts = sorted((home / "output" / dataset / "current" / "logs").glob("*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return {row["id"]: (row["text"], row["projection_x"], row["projection_y"]) for row in rows}


# --- with a Prefect server


@pytest.mark.usefixtures("prefect_server")
def test_a_load_and_an_index_put_every_record_on_the_map_and_a_second_pair_changes_nothing(home, tmp_path):
    from flows.index import index
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 60)
    loaded, indexed = load(sources=[str(tmp_path / "logs")]), index()
    before = rows_of(home)
    again, nothing = load(), index()

    assert loaded.records.new == loaded.records.unindexed == len(before) == 60
    assert (indexed.records, indexed.rows, indexed.step) == (60, 60, "fit")
    assert (again.records.new, nothing.records, nothing.step) == (0, 0, "none")
    assert rows_of(home) == before


@pytest.mark.usefixtures("prefect_server")
def test_prefect_and_the_plain_pipeline_conduct_the_same_snapshot(home, tmp_path, monkeypatch):
    from flows.index import index
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 40)
    load(sources=[str(tmp_path / "logs")])
    index()
    monkeypatch.setenv("RUNATLAS_HOME", str(tmp_path / "plain"))
    with Pipeline() as pipeline:
        pipeline.load([tmp_path / "logs"])
        pipeline.index()

    assert rows_of(home) == rows_of(tmp_path / "plain")


@pytest.mark.usefixtures("prefect_server")
def test_a_star_takes_every_known_dataset_and_adds_the_reports_up(home, tmp_path):
    from flows.index import index
    from flows.load import load

    write_log(tmp_path / "one" / "a.jsonl", 10)
    write_log(tmp_path / "two" / "a.jsonl", 20)
    load(dataset="one", sources=[str(tmp_path / "one")])
    load(dataset="two", sources=[str(tmp_path / "two")])
    write_log(tmp_path / "two" / "a.jsonl", 5, start=20)
    polled, nightly = load(dataset="*"), index(dataset="*")

    assert (polled.dataset, polled.records.new, polled.records.unindexed) == ("*", 5, 35)
    assert (nightly.dataset, nightly.rows) == ("*", 35)
    assert (len(rows_of(home, "one")), len(rows_of(home, "two"))) == (10, 25)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_datasets_are_indexed_side_by_side(home, tmp_path):
    from flows.index import index
    from flows.load import load

    for name in ("one", "two"):
        write_log(tmp_path / name / "a.jsonl", 4)
        load(dataset=name, sources=[str(tmp_path / name)])
    with closing(open_store(load_settings())) as store:
        fence = store.leases.acquire(lease_name("one"), "another machine")
        with Heartbeat(store.leases, fence):
            assert index(dataset="two").rows == 4
            everything = index(dataset="*")

    assert (everything.dataset, everything.rows) == ("*", 4), "the one that is being indexed is left to that index"


@pytest.mark.usefixtures("prefect_server")
def test_a_recompute_that_was_refused_is_done_once_by_the_next_index(home, tmp_path):
    from flows.index import index
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 30)
    load(sources=[str(tmp_path / "logs")])
    assert index().layout == 1
    with closing(open_store(load_settings())) as store:
        fence = store.leases.acquire(lease_name("default"), "another machine")
        with Heartbeat(store.leases, fence):
            assert index(recompute=True, return_state=True).name == "Joined"
    index()
    assert index().layout == 2
    assert index(dataset="*").step == "none"
    assert len(rows_of(home)) == 30


@pytest.mark.usefixtures("prefect_server")
def test_a_second_index_of_a_dataset_joins_the_first(home, tmp_path):
    from flows.index import index
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 5)
    load(sources=[str(tmp_path / "logs")])
    with closing(open_store(load_settings())) as store:
        fence = store.leases.acquire(lease_name("default"), "another machine")
        with Heartbeat(store.leases, fence):
            state = index(return_state=True)

    assert (state.name, state.is_completed()) == ("Joined", True)
    assert "another machine" in state.message


@pytest.mark.usefixtures("prefect_server")
def test_an_index_that_was_killed_does_not_turn_the_next_one_away(home, tmp_path, monkeypatch):
    from flows.index import index
    from flows.load import load

    monkeypatch.setenv("RUNATLAS_LEASE__TTL_S", "3")
    write_log(tmp_path / "logs" / "a.jsonl", 5)
    load(sources=[str(tmp_path / "logs")])
    with closing(open_store(load_settings())) as store:
        store.leases.acquire(lease_name("default"), "somebody who is dead")
    assert index().rows == 5


@pytest.mark.usefixtures("prefect_server")
def test_a_load_that_could_read_nothing_fails_and_says_why(home, tmp_path):
    from flows.load import load

    state = load(sources=[str(tmp_path / "nowhere")], return_state=True)
    assert state.is_failed()
    assert "nowhere" in state.message


@pytest.mark.usefixtures("prefect_server")
def test_one_bad_source_does_not_keep_the_others(home, tmp_path):
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 5)
    (tmp_path / "logs" / "b.bin").write_bytes(bytes(range(256)) * 20)
    os.utime(tmp_path / "logs" / "b.bin", (1, 1))  # what was written just now may still be growing
    report = load(sources=[str(tmp_path / "logs")])

    assert (report.records.new, report.sources.failed) == (5, 1)
    assert [problem.source for problem in report.problems] == ["b.bin"]


@pytest.mark.usefixtures("prefect_server")
def test_the_run_book_knows_a_flow_run_by_its_id_with_its_report(home, tmp_path):
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 5)
    state = load(sources=[str(tmp_path / "logs")], return_state=True)
    with closing(open_store(load_settings())) as store:
        noted = store.runs.get(str(state.state_details.flow_run_id))

    assert (noted.kind, noted.state, noted.report["records"]["new"]) == ("load", "done", 5)


@pytest.mark.usefixtures("prefect_server")
def test_only_errors_that_may_pass_are_tried_again():
    from prefect import flow, task

    from flows.steps import is_last_try, retry_options

    options = retry_options(2, 0.01)
    tries: list[tuple[str, bool]] = []

    @task(**options)
    def fails(error):
        tries.append((type(error).__name__, is_last_try(2)))
        raise error

    @flow
    def both():
        return [fails(error, return_state=True) for error in (ServiceUnavailable("busy"), UnknownFormat("what?"))]

    both(return_state=True)
    down, unknown = "ServiceUnavailable", "UnknownFormat"
    assert tries == [(down, False), (down, False), (down, True), (unknown, False)]


@pytest.mark.usefixtures("prefect_server")
def test_a_run_shows_its_reports_its_progress_and_a_picture_of_the_map(home, tmp_path):
    from prefect.client.orchestration import get_client

    from flows.index import index
    from flows.load import load

    write_log(tmp_path / "logs" / "a.jsonl", 30)
    load(dataset="shown", sources=[str(tmp_path / "logs")])
    index(dataset="shown")
    with get_client(sync_client=True) as client:
        artifacts = {artifact.key: artifact for artifact in client.read_artifacts()}

    assert {"load-shown", "index-shown", "map-shown"} <= set(artifacts)
    assert "data:image/png;base64," in artifacts["map-shown"].data
    assert "http://127.0.0.1:8000/map/shown" in artifacts["map-shown"].data


# --- cancellation


endless_index = """
import threading
from prefect import flow
from prefect.runtime import flow_run
from components.settings import load_settings
from flows.recorder import record_flow_run
from components.wiring import open_store

@flow(name="endless")
def work():
    store = open_store(load_settings())
    with record_flow_run(store, "default", "index") as recorder:
        recorder("embed", 30, 60)
        print("ready", flow_run.get_id(), flush=True)
        threading.Event().wait()

work()
"""


@pytest.mark.slow
def test_the_record_of_a_run_says_who_cancelled_it(home, prefect_api):
    from flows.runs import stop_message

    environment = {**os.environ, "PREFECT_API_URL": str(prefect_api.base_url)}
    command = [sys.executable, "-c", endless_index]
    causes = [{"message": None}, {"message": stop_message}, None]  # the UI, the end of `up`, a signal of somebody else
    open_store(load_settings()).close()
    with ExitStack() as stack:
        started = [subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE) for _ in causes]
        children = [stack.enter_context(child) for child in started]
        ids = [
            next(line for line in child.stdout if line.startswith(b"ready")).split()[1].decode() for child in children
        ]
        for cause, child, run in zip(causes, children, ids, strict=True):
            if cause is not None:
                state = {"type": "CANCELLING", "name": "Cancelling", **cause}
                prefect_api.post(f"/flow_runs/{run}/set_state", json={"state": state}).raise_for_status()
            child.send_signal(signal.SIGTERM)
    with closing(open_store(load_settings())) as store:
        runs = [store.runs.get(run) for run in ids]

    assert [run.state for run in runs] == ["cancelled"] * 3
    assert runs[0].error.startswith("cancelled in the Prefect UI")
    assert [run.error for run in runs[1:]] == ["stopped by signal"] * 2
    assert {(run.step, run.done, run.total) for run in runs} == {("embed", 30, 60)}


class Cancelled:
    """A dataset whose index somebody cancelled before it began, and another one; both are over their threshold."""

    def __init__(self, folder):
        self.name, self.other = f"cancelled-{folder.name}", f"other-{folder.name}"
        self.logs = {name: folder / name / "a.jsonl" for name in (self.name, self.other)}


@pytest.fixture
def cancelled(home, tmp_path, monkeypatch, deployed):
    from prefect import states
    from prefect.client.orchestration import get_client

    from flows.index import index
    from flows.load import load

    made = Cancelled(tmp_path)
    monkeypatch.setenv("RUNATLAS_DATASETS", json.dumps({name: {"index_threshold": 10} for name in made.logs}))
    for name, log in made.logs.items():
        write_log(log, 12)
        load(dataset=name, sources=[str(log)])
    with get_client(sync_client=True) as client:
        client.create_flow_run(
            index, parameters={"dataset": made.name, "recompute": True}, state=states.Cancelled(message=None)
        )
    return made


def threshold_events(http, dataset, n):
    """How many records waited, by each event that asked for an index of this dataset; waits for so many events."""
    from flows.events import resource_of, threshold_reached

    wanted = {
        "event": {"name": [threshold_reached]},
        "resource": {"id": [resource_of(dataset)["prefect.resource.id"]]},
        "order": "ASC",
    }
    for _ in range(200):
        answer = http.post("/events/filter", json={"filter": wanted, "limit": 50})
        if answer.is_success and len(found := answer.json()["events"]) >= n:
            return [event["payload"]["unindexed"] for event in found]
        time.sleep(0.3)
    raise AssertionError(answer.text)


@pytest.mark.slow
def test_a_load_without_anything_new_does_not_restart_a_cancelled_index(cancelled, prefect_api):
    from flows.load import load

    for name in (cancelled.name, cancelled.other):
        load(dataset=name)
    for name, log in cancelled.logs.items():
        write_log(log, 1, start=12)
        load(dataset=name)

    again = "what nobody cancelled is asked for again, in case an event was lost"
    assert threshold_events(prefect_api, cancelled.other, 3) == [12, 12, 13], again
    assert threshold_events(prefect_api, cancelled.name, 2) == [12, 13]


@pytest.mark.slow
def test_neither_other_indexes_nor_the_schedule_nor_the_trigger_restart_a_cancelled_one(cancelled, home, prefect_api):
    from flows.index import index

    index(dataset=cancelled.other)
    (nightly,) = Deployment(prefect_api, "index/index").planned(1, days_ago(50))
    assert run_as_scheduled(index, nightly).is_completed()
    (another,) = Deployment(prefect_api, "index/index").planned(1, days_ago(60))
    triggered = run_as_scheduled(index, another, by="AUTOMATION", dataset=cancelled.name)

    assert len(rows_of(home, cancelled.other)) == 12
    assert not (home / "output" / cancelled.name).exists()
    assert (triggered.name, triggered.is_completed()) == ("HeldBack", True)
    index(dataset=cancelled.name)
    assert len(rows_of(home, cancelled.name)) == 12


@pytest.mark.slow
def test_requests_are_withdrawn_when_a_user_cancels_the_index(cancelled, home):
    from flows.index import index

    with closing(open_store(load_settings())) as store:
        store.index_requests.add(cancelled.name, recompute=True)
    index(dataset=cancelled.other)
    with closing(open_store(load_settings())) as store:
        assert store.index_requests.open(cancelled.name).ids == ()
    assert not (home / "output" / cancelled.name).exists()


# --- schedules


@pytest.fixture(scope="module")
def deployed(prefect_server, tmp_path_factory):
    """`deploy` with a polling interval, against the module's server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    from components.settings import LoadSettings, Settings
    from flows.deploy import deploy

    home = tmp_path_factory.mktemp("deployed")

    def run(poll_s):
        async def registered():
            async with get_client() as client:
                return await deploy(client, Settings(home=home, load=LoadSettings(poll_s=poll_s)))

        return asyncio.run(registered())

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
        assert run(300), "the server knew nothing"
        yield run


@pytest.fixture
def prefect_api(deployed):
    from prefect.settings import PREFECT_API_URL

    with httpx.Client(base_url=PREFECT_API_URL.value(), timeout=60) as http:
        yield http


@pytest.fixture
def poll(prefect_api):
    return Deployment(prefect_api, "load/load")


class Deployment:
    """A deployment as the Prefect API tells it, and the calls that the Prefect UI makes."""

    def __init__(self, http, name):
        self.http = http
        self.path = f"/deployments/{self.ask('GET', f'/deployments/name/{name}')['id']}"

    def ask(self, method, path, **body):
        """The answer; a server whose database is locked for a moment is asked again."""
        for _ in range(100):
            answer = self.http.request(method, path, **({"json": body} if method != "GET" else {}))
            if answer.status_code != 503:
                break
            time.sleep(0.3)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    @property
    def schedule(self):
        (schedule,) = self.ask("GET", self.path)["schedules"]
        return schedule

    def switch(self, *, active):
        """What the switch beside a schedule sends."""
        self.ask("PATCH", f"{self.path}/schedules/{self.schedule['id']}", active=active)

    def set_parameters(self, **parameters):
        self.ask("PATCH", self.path, parameters=parameters)

    def planned(self, n, since):
        """So many runs, as the schedule plans them from some time on."""
        known = {run["id"] for run in self.runs()}
        self.ask("POST", f"{self.path}/schedule", start_time=since.isoformat(), min_runs=n, max_runs=n)
        planned = sorted(self.runs(), key=lambda run: run["expected_start_time"])
        return [run for run in planned if run["id"] not in known][:n]

    def runs(self):
        return self.ask("POST", "/flow_runs/filter", deployments={"id": {"any_": [self.path.rpartition("/")[2]]}})

    def states(self, runs):
        return [self.ask("GET", f"/flow_runs/{run['id']}")["state"]["name"] for run in runs]


def days_ago(n):
    """No two tests plan runs for the same time: the server would take them for the same ones."""
    return datetime.now(UTC) - timedelta(days=n)


def run_as_scheduled(flow, planned, *, by="SCHEDULE", **parameters):
    """A planned run, executed as a worker's process does it; or as one that another trigger had made."""
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(planned["id"]))
    author = run.created_by.model_copy(update={"type": by})
    run = run.model_copy(update={"created_by": author, "parameters": parameters or run.parameters})
    return run_flow(flow, flow_run=run, parameters=run.parameters, return_type="state")


def test_another_polling_interval_changes_nothing_else_of_the_schedule(deployed, poll):
    deployed(300)
    before = poll.schedule
    assert not deployed(20), "nothing had to be registered anew"
    after = poll.schedule

    assert (before["schedule"]["interval"], after["schedule"]["interval"]) == (300, 20)
    assert before["parameters"] == after["parameters"] == {"dataset": "*"}
    kept = ("id", "active", "slug", "max_scheduled_runs")
    assert [before[name] for name in kept] == [after[name] for name in kept]


@pytest.mark.parametrize("name", ["load/load", "index/index"])
def test_a_schedule_that_was_paused_and_resumed_in_the_ui_still_takes_every_dataset(deployed, prefect_api, name):
    deployment = Deployment(prefect_api, name)
    deployment.switch(active=False)
    deployment.switch(active=True)
    planned = deployment.planned(3, days_ago(10))

    assert len(planned) == 3
    assert all(run["parameters"] == {"dataset": "*"} for run in planned)
    deployed(300)
    assert deployment.schedule["parameters"] == {"dataset": "*"}


def test_a_start_corrects_a_schedule_and_leaves_it_paused(deployed, poll):
    poll.switch(active=False)
    deployed(60)
    schedule = poll.schedule
    poll.switch(active=True)

    assert (schedule["active"], schedule["schedule"]["interval"]) == (False, 60)
    assert schedule["parameters"] == {"dataset": "*"}


@pytest.mark.slow
def test_a_start_registers_what_the_server_has_lost(deployed, poll):
    poll.set_parameters()
    assert deployed(300)
    assert poll.ask("GET", poll.path)["parameters"] == {"dataset": "*"}
    assert not deployed(300)


def test_a_scheduled_run_without_parameters_loads_every_dataset(deployed, poll, home, tmp_path):
    from flows.load import load

    for name in ("default", "app"):
        write_log(tmp_path / name / "a.jsonl", 3)
        load(dataset=name, sources=[str(tmp_path / name)])
        write_log(tmp_path / name / "a.jsonl", 2, start=3)
    poll.set_parameters()
    poll.switch(active=True)  # empties the schedule's parameters as well
    try:
        (planned,) = poll.planned(1, days_ago(20))
        state = run_as_scheduled(load, planned)
    finally:
        poll.set_parameters(dataset="*")

    assert planned["parameters"] == {}
    assert state.is_completed()
    with closing(open_store(load_settings())) as store:
        assert {name: status.records for name, status in store.status().items()} == {"app": 5, "default": 5}


def test_sources_without_a_dataset_are_refused_where_every_dataset_is_meant(prefect_server, home, tmp_path):
    from flows.load import load

    state = load(dataset="*", sources=[str(tmp_path)], return_state=True)
    assert state.is_failed()
    assert "name the dataset" in state.message


def test_of_polls_that_came_due_while_nothing_ran_one_is_left(deployed, poll):
    from flows.runs import skip_overdue

    deployed(300)
    planned = poll.planned(12, days_ago(0.3))
    poll.switch(active=False)  # plans no further ones
    try:
        skip_overdue()
        states = poll.states(planned)
    finally:
        poll.switch(active=True)

    assert states[:-1] == ["Skipped"] * 11
    assert states[-1] in {"Scheduled", "Late"}


def test_a_poll_that_runs_does_the_work_of_those_that_wait(deployed, poll, home):
    from flows.load import load

    deployed(300)
    planned = poll.planned(4, days_ago(40))
    poll.switch(active=False)
    try:
        state = run_as_scheduled(load, planned[1])
        states = poll.states(planned)
    finally:
        poll.switch(active=True)

    assert state.is_completed()
    assert states == ["Skipped", "Completed", "Skipped", "Skipped"]


def test_the_newest_run_of_each_schedule_stays():
    from flows.runs import superseded

    first, second = uuid4(), uuid4()
    due = [planned_run(first, 1), planned_run(second, 1), planned_run(first, 3), planned_run(first, 2)]
    by_hand = planned_run(first, 0).model_copy(update={"auto_scheduled": False})

    assert superseded([*due, by_hand]) == [due[3], due[0]]
    assert superseded([*due, by_hand], second) == [due[1]]
    assert superseded([]) == []


def planned_run(schedule, hour):
    from prefect.client.schemas.objects import CreatedBy, FlowRun

    at = datetime(2026, 1, 1, hour, tzinfo=UTC)
    author = CreatedBy(id=schedule, type="SCHEDULE", display_value="poll")
    return FlowRun(flow_id=uuid4(), auto_scheduled=True, expected_start_time=at, created_by=author)


# --- without


def locators(*sizes):
    return [Locator(location=f"/logs/{n}", key=f"{n}", size_bytes=size) for n, size in enumerate(sizes)]


def test_small_sources_share_a_task_and_a_big_one_has_its_own():
    from components.load.groups import by_size

    groups = by_size(locators(10, 20, 40 << 20, 30))
    assert [[locator.key for locator in group] for group in groups] == [["0", "1"], ["2"], ["3"]]
    assert by_size([]) == []


@pytest.mark.parametrize("sizes", [[0], [0, 10], [0, 0, 40 << 20], [10, 0]])
def test_sources_without_a_size_are_grouped_like_any_other(sizes):
    """A table has no size, and a file may be empty."""
    from components.load.groups import by_size

    groups = by_size(locators(*sizes))
    assert sum(map(len, groups)) == len(sizes)
    assert all(groups)


@pytest.mark.usefixtures("prefect_server")
def test_a_table_and_a_folder_whose_first_file_is_empty_are_loaded(home, tmp_path):
    from flows.load import load

    database = tmp_path / "runs.db"
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("create table steps (id integer primary key, role text, content text)")
        opened.executemany("insert into steps (role, content) values ('user', ?)", [(f"row {n}",) for n in range(3)])
        opened.commit()
    write_log(tmp_path / "logs" / "b.jsonl", 2)
    (tmp_path / "logs" / "a.jsonl").touch()

    assert load(dataset="table", sources=[f"sqlite:///{database}?table=steps"]).records.new == 3
    assert load(dataset="folder", sources=[str(tmp_path / "logs")]).records.new == 2


@pytest.mark.parametrize("size", [1, 1 << 20, 1 << 30])
def test_however_many_sources_there_are_a_load_has_few_tasks(size):
    from components.load.groups import by_size

    groups = by_size(locators(*[size] * 30_000))
    assert len(groups) <= 201
    assert sum(map(len, groups)) == 30_000


def test_a_group_is_named_by_its_first_source():
    from components.load.groups import label_of

    assert label_of(locators(1)) == "0"
    assert label_of(locators(1, 1, 1)) == "0 and 2 more"


def test_a_dataset_that_fails_does_not_keep_the_next_from_its_turn():
    from flows.datasets import for_each

    seen = []

    def do(name):
        seen.append(name)
        if name == "b":
            raise SourceError("b is broken")

    with pytest.raises(SourceError, match="b is broken"):
        for_each(["a", "b", "c"], do)
    assert seen == ["a", "b", "c"]


def test_a_report_table_names_what_was_done_and_what_went_wrong():
    from flows.artifacts import index_rows, load_rows

    load = LoadReport(
        dataset="runs",
        sources=SourceCounts(discovered=3, loaded=2, failed=1),
        records=RecordCounts(new=1_234),
        defects=1,
        bytes=10,
        seconds=0.5,
        problems=[Problem(source="c.bin", reason="no format recognises it")],
    )
    index = IndexReport(
        dataset="runs",
        records=1,
        embedded=1,
        reused=0,
        failed=0,
        step="fit",
        layout=1,
        drift=None,
        snapshot=7,
        rows=1,
        seconds=IndexSeconds(),
    )
    assert {"Metric": "records new", "Value": "1,234"} in load_rows(load)
    assert load_rows(load)[-1] == {"Metric": "problem", "Value": "c.bin: no format recognises it"}
    assert {"Metric": "snapshot", "Value": "7"} in index_rows(index)


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil.example/x.png)",
        "[x](http://evil.example)",
        "http://evil.example and www.evil.example and me@evil.example",
        "<img src=http://evil.example/x.png onerror=alert(1)>",
        "| a | b |\n|---|---|\n| c | d |",
        "`code` ``` fence",
        "# heading",
        "- list\n\n    code",
        "1. one",
        "&lt; &#33; \\ ~~gone~~ **bold** _thin_ ==",
        "[a]: http://evil.example",
    ],
)
def test_markdown_in_a_text_of_a_log_is_shown_as_it_stands(text):
    from markdown_it import MarkdownIt

    from flows.artifacts import escaped

    rendered = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(escaped(text))
    plain = " ".join(text.split())
    assert rendered == f"<p>{html.escape(plain)}</p>\n"


def test_totals_add_up_and_name_the_furthest_step():
    from flows.artifacts import total_index, total_load

    assert total_load([]).records.new == 0
    assert total_index([]).step == "none"


def test_a_threshold_is_announced_only_when_it_is_reached():
    from flows.events import announce_drift, announce_threshold

    assert not announce_threshold("runs", unindexed=9, threshold=10)
    assert not announce_drift("runs", drift=None, limit=0.2)
    assert not announce_drift("runs", drift=0.1, limit=0.2)


def test_the_deployments_are_what_the_operations_page_says():
    import yaml

    from flows.deploy import deployments, work_pool

    declared = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    by_name = {f"{one['entrypoint'].partition(':')[2]}/{one['name']}": one for one in declared}
    index = by_name["index/index"]

    assert set(by_name) == set(deployments)
    assert {one["work_pool"]["name"] for one in declared} == {work_pool}
    slugs = [schedule["slug"] for one in declared for schedule in one.get("schedules", ())]
    assert slugs == ["poll", "nightly", "clean-up"]
    assert index["concurrency_limit"] == {"limit": 4, "collision_strategy": "ENQUEUE"}
    assert index["triggers"][0]["expect"] == ["runatlas.threshold-reached"]
    assert all("active" not in schedule for one in declared for schedule in one.get("schedules", ()))


def test_the_example_automation_for_topics_is_one_that_prefect_accepts() -> None:
    from prefect.events.schemas.automations import AutomationCore

    from flows import events

    text = (Path(__file__).parents[1] / "docs" / "topic-automation.yaml").read_text()
    automation = AutomationCore.model_validate(yaml.safe_load(text))
    assert set(automation.trigger.expect) == {events.topic_new, events.topic_returned}
    assert automation.trigger.match.root == {"prefect.resource.id": events.resource_of("*")["prefect.resource.id"]}


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_corpus_is_ingested_further_by_its_flow_and_nothing_else_is_read(home, tmp_path):
    from components.corpus import ingest_corpus
    from components.errors import BadSetting
    from components.ingest.config import IngestConfig
    from components.pipeline import Pipeline
    from flows.ingest import ingest

    papers = tmp_path / "papers"
    papers.mkdir()
    for year in (2020, 2021):
        (papers / f"{year}.jsonl").write_text(json.dumps({"bibcode": f"{year}X", "title": [f"Of {year}"]}) + "\n")
    with pytest.raises(BadSetting, match="is no corpus yet"):
        ingest()
    with Pipeline() as pipeline:
        ingest_corpus(pipeline, IngestConfig.of({"sources": str(papers), "years": "2020"}))
    done = ingest(years="2020:2021", write_files=True)

    assert (done["files"], done["vectors"]) == (["2020.jsonl", "2021.jsonl"], 2)
    assert (home / "vectors" / "default" / "bibcodes_2021.txt").read_text() == "2021X\n"
    assert {text for text, _, _ in rows_of(home).values()} == {"Of 2020", "Of 2021"}
    with pytest.raises(BadSetting, match="belongs to one dataset"):
        ingest(dataset="*")
