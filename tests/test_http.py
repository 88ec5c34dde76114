"""The HTTP API: its answers, access control, and what it must never reveal."""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from api_world import make_world, settings_at, write_run
from browser import free_port
from httpx import Client
from prometheus_client.parser import text_string_to_metric_families
from served import served

from api.app import create_app
from api.health import percent
from api.hosts import host_may_be_ours
from api.map_data import source_groups
from api.prefect_client import Run, answer_within_s
from api.run_starter import joinable
from components.pipeline import Pipeline
from components.redact import public_text
from components.settings import Settings
from components.snapshot.read import open_snapshot
from components.store import lease_name
from components.store.lease import lease_t


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_world(tmp_path_factory.mktemp("http"))


@pytest.fixture(scope="module")
def client(world: Settings) -> Iterator[Client]:
    with served(create_app(world)) as opened:
        yield opened


def logs(settings: Settings) -> Path:
    return settings.home.parent / "logs"


def assert_problem(answer: Any, status: int, *parts: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    for part in parts:
        assert part in answer.text
    return body


# --- health --------------------------------------------------------------------------------------------------------


def test_health_lists_problems_and_stays_200(client: Client) -> None:
    deadline = time.monotonic() + 180
    while "The Prefect server d" not in client.get("/health").text and time.monotonic() < deadline:
        time.sleep(0.1)
    answer = client.get("/health")
    body = answer.json()
    assert answer.status_code == 200
    assert body["status"] == "degraded"
    assert any("The Prefect server d" in reason for reason in body["reasons"]), body
    assert body["prefect"]["reachable"] is False
    assert body["database"]["reachable"] is True
    assert body["indexing"] is body["loading"] is False
    assert body["datasets"]["default"]["records"] == 52
    assert body["datasets"]["default"]["snapshot"] == 2


def test_health_does_not_wait_for_a_prefect_that_never_answers(world: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        settings = world.model_copy(update={"prefect": world.prefect.model_copy(update={"api_url": url})})
        with served(create_app(settings)) as client:
            seconds = []
            for _ in range(10):
                began = time.monotonic()
                assert client.get("/health").status_code == 200
                seconds.append(time.monotonic() - began)
    assert min(seconds) < answer_within_s, "a request that asks Prefect itself takes as long as the limit"
    assert sum(seconds) < len(seconds) * answer_within_s


def test_health_is_200_when_the_database_is_unreachable(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home", database_url=f"postgresql+psycopg://me:secret@127.0.0.1:{free_port()}/x")
    with served(create_app(settings)) as client:
        answer = client.get("/health")
        assert answer.status_code == 200
        assert answer.json()["database"]["reachable"] is False
        assert "secret" not in answer.text
        assert_problem(client.get("/datasets"), 503, "database")
        assert_problem(client.get("/metrics"), 503, "database")


def test_health_does_not_report_a_crashed_index_as_running(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home")
    with Pipeline(settings) as pipeline:
        pipeline.store.datasets.id("default", create=True)
        leases = pipeline.store.leases
        fence = leases.acquire(lease_name("default"), "anna:77")
        with served(create_app(settings)) as client:
            body = until(client, lambda body: leases.renew(fence, "") and bool(body["indexing"]))
            assert body["datasets"]["default"]["indexing"]
            with pipeline.store.db.write() as connection:
                times = {"heartbeat_at": lease_t.c.heartbeat_at - 21, "expires_at": lease_t.c.expires_at - 21}
                connection.execute(sa.update(lease_t).values(times))
            body = until(client, lambda body: not body["indexing"])
    (reason,) = [reason for reason in body["reasons"] if reason.startswith("default")]
    assert re.search(
        r"anna:77 has sent no heartbeat for \d+ s and has probably crashed; the next run takes over at \d\d:\d\d:\d\d UTC",
        reason,
    )


hold = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as database:
    database.execute("begin exclusive")
    print("held", flush=True)
    sys.stdin.read()
    database.execute("commit")
"""


def test_a_locked_database_can_still_be_read_and_is_written_once_it_is_free(tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home")
    write_run(tmp_path / "logs", "a", 5)
    with Pipeline(settings) as pipeline, served(create_app(settings)) as client:
        pipeline.load([str(tmp_path / "logs")])
        write_run(tmp_path / "logs", "b", 3)
        command = [sys.executable, "-c", hold, str(settings.home / "runatlas.db")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            writing = threading.Thread(target=pipeline.load)
            writing.start()
            body = until(client, lambda body: body["datasets"].get("default", {}).get("records") == 5)
            assert body["database"]["reachable"]
            writing.join(1)
            assert writing.is_alive(), "it waits for the lock"
            other.stdin.close()
            writing.join(60)
        assert not writing.is_alive()
        until(client, lambda body: body["datasets"]["default"]["records"] == 8)


def until(client: Client, is_so: Callable[[dict[str, Any]], bool], within_s: float = 180) -> dict[str, Any]:
    """The first body of `/health` for which `is_so` is true."""
    deadline = time.monotonic() + within_s
    while not is_so(body := client.get("/health").json()):
        assert time.monotonic() < deadline, body
        time.sleep(0.1)
    assert isinstance(body, dict)
    return body


def test_progress_grows_through_the_steps_and_stays_below_100() -> None:
    shares = [percent(step, done, 10) for step, done in (("fetch", 0), ("embed", 5), ("place", 5), ("publish", 10))]
    assert shares == sorted(shares)
    assert shares[-1] == 99


# --- look-up -------------------------------------------------------------------------------------------------------


def test_datasets_are_listed_with_their_links(client: Client) -> None:
    body = client.get("/datasets").json()["datasets"]["default"]
    assert body["rows"] == 52
    assert body["links"] == {"map": "/map/default", "atlas": "/atlas/default/", "picture": "/map/default.png"}


def test_a_record_is_found_by_its_id(client: Client, world: Settings) -> None:
    row = pq.read_table(open_snapshot(world.output / "default").logs_files[0]).slice(0, 1).to_pylist()[0]
    body = client.get(f"/datasets/default/records/{row['id']}").json()
    assert (body["text"], body["filename"], body["type"]) == (row["text"], row["filename"], row["type"])


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/datasets/default/records/nope", "nope"),
        ("/datasets/other/records/1", "default"),
        ("/map/other", "there are: default"),
        ("/atlas/other/", "there are: default"),
        ("/map/default/records?rows=9999", "52 rows"),
        ("/map/default/snapshot.json?snapshot=77", "newest is 2"),
        ("/map/default/row?id=nope", "nope"),
        ("/runs/5f5a301b-01bd-4dbe-893e-c16308907bbe/more", "GET /docs"),
    ],
)
def test_what_does_not_exist_is_a_404_that_says_what_to_do(client: Client, path: str, part: str) -> None:
    assert_problem(client.get(path), 404, part)


@pytest.mark.parametrize("name", ["..", ".hidden", "a%2Fb", "a%00b", "x" * 101, "%2e%2e"])
def test_an_invalid_dataset_name_never_reaches_a_folder(client: Client, name: str) -> None:
    for path in (f"/map/{name}/snapshot.json", f"/datasets/{name}/records/1", f"/atlas/{name}/data/metadata.json"):
        assert client.get(path).status_code in {404, 422}


def test_metrics_are_computed_from_the_database(client: Client) -> None:
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    values = {name: [sample.value for sample in family.samples] for name, family in families.items()}
    assert values["runatlas_records"] == [52]
    assert values["runatlas_unindexed"] == values["runatlas_failed"] == [0]
    assert values["processed_records"] == [52]
    assert values["tokens"] == [0], "the hash model has none"
    *within, batches, count, seconds = values["seconds_per_batch"]
    assert batches == count == 2
    assert within == sorted(within)
    assert within[-1] == 2, "each took less than five minutes"
    assert seconds > 0
    assert len(values["runatlas_last_success_timestamp_seconds"]) == 2
    assert all(seconds > 0 for seconds in values["runatlas_run_seconds"])


# --- refusals ------------------------------------------------------------------------------------------------------


def test_an_unsupported_method_is_a_405_that_names_the_supported_ones(client: Client) -> None:
    assert_problem(client.delete("/load"), 405, "DELETE", "POST")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"datasett": "x"}, "datasett"),
        ({"dataset": 7}, "dataset"),
        ({"dataset": ""}, "dataset"),
        ({"sources": []}, "sources"),
        ({"sources": "x"}, "sources"),
    ],
)
def test_a_wrong_body_is_a_422_that_names_the_field(client: Client, body: dict[str, Any], field: str) -> None:
    problem = assert_problem(client.post("/load", json=body), 422, "/docs")
    assert [error["field"] for error in problem["errors"]] == [field]


def test_a_body_that_is_not_json_is_a_422(client: Client) -> None:
    answer = client.post("/index", content=b"{oops", headers={"content-type": "application/json"})
    assert_problem(answer, 422, "not valid JSON")


def test_a_malformed_run_id_is_a_422(client: Client) -> None:
    assert_problem(client.get("/runs/42"), 422, "flow_run_id")


def test_an_unreachable_prefect_is_a_503_with_the_command_that_starts_it(client: Client) -> None:
    client.get("/health")
    began = time.monotonic()
    assert_problem(client.post("/index"), 503, "runatlas up")
    assert time.monotonic() - began < 60, "Prefect's client alone would try for longer"
    assert_problem(client.get(f"/runs/{uuid.uuid4()}"), 503, "runatlas up")


@pytest.mark.parametrize(
    "source",
    ["/etc/passwd", "../secret.jsonl", "logs/../../x", "sqlite:////etc/x.db?table=t", "\0", " ", "/", "link/x"],
)
def test_sources_outside_of_the_datasets_own_are_refused(client: Client, world: Settings, source: str) -> None:
    link = logs(world) / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    problem = assert_problem(client.post("/load", json={"sources": [source]}), 422)
    assert problem["errors"][0]["field"] == "sources.0"


@pytest.mark.parametrize("source", ["a.jsonl", "*.jsonl", ".", "{logs}/b.jsonl"])
def test_sources_below_the_datasets_own_reach_prefect(client: Client, world: Settings, source: str) -> None:
    wanted = source.replace("{logs}", str(logs(world)))
    assert_problem(client.post("/load", json={"sources": [wanted]}), 503, "prefect")


def test_a_damaged_snapshot_is_a_500_without_details_of_the_machine(world: Settings, tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "home")
    shutil.copytree(world.home, settings.home, symlinks=True)
    (damaged, *_) = open_snapshot(settings.output / "default").logs_files
    damaged.unlink()
    damaged.write_bytes(b"PAR1 nonsense")
    with served(create_app(settings)) as client:
        answer = client.get("/map/default/snapshot.json")
        assert_problem(answer, 500)
        assert "Traceback" not in answer.text
        assert str(tmp_path) not in answer.text


def test_paths_and_credentials_are_removed_from_messages() -> None:
    redacted = public_text(
        "can't open /home/me/logs/a.jsonl or postgresql://me:pw@db/x, but 3/4 of https://x/y is fine"
    )
    assert redacted == "can't open …/a.jsonl or postgresql://…@db/x, but 3/4 of https://x/y is fine"


# --- access control --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(world: Settings) -> Iterator[Client]:
    settings = world.model_copy(update={"api_token": "open sesame"})
    with served(create_app(settings)) as opened:
        yield opened


def test_with_a_token_set_only_health_is_open(locked: Client) -> None:
    assert locked.get("/health").status_code == 200
    for path in (
        "/datasets",
        "/metrics",
        "/map/default",
        "/docs",
        "/openapi.json",
        "/static/map/main.js",
        "/",
        "/nothing",
    ):
        assert_problem(locked.get(path), 401, "Authorization")
    assert_problem(locked.post("/index"), 401)
    assert locked.get("/datasets", headers={"Authorization": "Bearer open sesam"}).status_code == 401
    assert locked.get("/datasets", headers={"Authorization": "Basic open sesame"}).status_code == 401
    assert locked.get("/datasets", headers={"Authorization": "Bearer open sesame"}).status_code == 200


def test_a_browser_sends_the_token_once_and_gets_a_read_only_cookie(locked: Client) -> None:
    asked = locked.get("/map/default", headers={"accept": "text/html"})
    assert asked.status_code == 401
    assert 'name="token"' in asked.text
    assert '<form method="post" action="../login">' in asked.text
    given = locked.post("/login", data={"token": "open sesame", "next": "/map/default?plain=1"})
    assert (given.status_code, given.headers["location"]) == (303, "./map/default?plain=1")
    cookie = given.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "sesame" not in cookie
    assert locked.get("/map/default").status_code == 200
    assert locked.post("/index").status_code == 401
    locked.cookies.clear()
    wrong = locked.post("/login", data={"token": "wrong", "next": '/"><b>'})
    assert (wrong.status_code, "set-cookie" in wrong.headers, "<b>" in wrong.text) == (401, False, False)
    assert locked.get("/map/default", headers={"cookie": "runatlas=x"}).status_code == 401


def test_a_token_in_an_address_is_ignored(locked: Client) -> None:
    """Addresses are written to logs, histories and proxies."""
    assert locked.get("/map/default", params={"token": "open sesame"}).status_code == 401
    asked = locked.get("/map/default", params={"token": "open sesame", "a": "1"}, headers={"accept": "text/html"})
    assert "sesame" not in asked.text
    assert 'value="/map/default?a=1"' in asked.text


@pytest.mark.parametrize("address", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", ""])
def test_the_login_never_redirects_to_another_site(locked: Client, address: str) -> None:
    given = locked.post("/login", data={"token": "open sesame", "next": address})
    assert (given.status_code, given.headers["location"]) == (303, "./")
    locked.cookies.clear()


def test_pages_of_other_sites_can_not_log_in(locked: Client) -> None:
    form = {"token": "open sesame", "next": "/"}
    assert_problem(locked.post("/login", data=form, headers={"origin": "https://evil.example"}), 403)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "runatlas", "me.localhost", "10.1.2.3"])
def test_host_names_that_can_not_be_registered_are_accepted_on_loopback(host: str) -> None:
    assert host_may_be_ours(host, "127.0.0.1")


def test_a_rebound_host_name_is_refused(client: Client) -> None:
    assert_problem(client.get("/datasets", headers={"host": "evil.example:8000"}), 421, "loopback")


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_pages_of_other_sites_can_not_start_runs(client: Client, headers: dict[str, str]) -> None:
    assert_problem(client.post("/index", headers=headers), 403)


# --- map data --------------------------------------------------------------------------------------------------------


def columns(client: Client) -> dict[str, np.ndarray[Any, Any]]:
    summary = client.get("/map/default/snapshot.json").json()
    raw = client.get(f"/map/default/{summary['points']['url']}").content
    columns = summary["points"]["columns"]
    return {one["name"]: np.frombuffer(raw, f"<{one['type']}", summary["rows"], one["offset"]) for one in columns}


def test_the_points_are_the_snapshots(client: Client, world: Settings) -> None:
    files = open_snapshot(world.output / "default").logs_files
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    points = columns(client)
    summary = client.get("/map/default/snapshot.json").json()
    assert points["x"].tolist() == [row["projection_x"] for row in rows]
    assert points["y"].tolist() == [row["projection_y"] for row in rows]
    assert [summary["types"][code]["name"] for code in points["type"]] == [row["type"] for row in rows]
    assert [summary["sources"][code]["name"] for code in points["source"]] == [row["filename"] for row in rows]
    since = [row["timestamp"].timestamp() - summary["time"]["min"] for row in rows]
    assert np.allclose(points["time"], since, atol=0.1)
    assert {entry["name"]: entry["count"] for entry in summary["sources"]} == {"a.jsonl": 40, "b.jsonl": 12}


def test_records_that_the_previous_snapshot_lacks_are_fresh(client: Client) -> None:
    summary = client.get("/map/default/snapshot.json").json()
    points = columns(client)
    assert (summary["since"], summary["fresh"]) == (1, 12)
    assert {summary["sources"][code]["name"] for code in points["source"][points["fresh"] == 1]} == {"b.jsonl"}


def test_points_are_sent_as_gzip_and_cached_forever(client: Client) -> None:
    url = "/map/default/" + client.get("/map/default/snapshot.json").json()["points"]["url"]
    packed, plain = client.get(url), client.get(url, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert "immutable" in packed.headers["cache-control"]
    with client.stream("GET", url) as answer:
        assert gzip.decompress(b"".join(answer.iter_raw())) == plain.content


def test_records_are_returned_in_the_requested_order(client: Client) -> None:
    records = client.get("/map/default/records", params={"rows": "7,3,7"}).json()
    assert [record["row"] for record in records] == [7, 3, 7]
    assert all(client.get(f"/map/default/row?id={record['id']}").json()["row"] == record["row"] for record in records)


@pytest.mark.parametrize("rows", ["", "x", "1,-2", ",".join(["1"] * 501), "1.5", "²"])
def test_malformed_row_numbers_are_refused(client: Client, rows: str) -> None:
    assert_problem(client.get("/map/default/records", params={"rows": rows}), 422, "rows")


def test_the_rows_of_a_run_are_in_chronological_order(client: Client) -> None:
    run = client.get("/map/default/run", params={"row": 0}).json()
    rows = ",".join(str(row) for row in run["rows"])
    steps = [(r["iteration"], r["idx_in_iteration"]) for r in client.get(f"/map/default/records?rows={rows}").json()]
    assert steps == sorted(steps)
    assert len(run["rows"]) == 40


@pytest.mark.parametrize(
    ("q", "n"),
    [
        *[
            ("TRACEBACK", 13),
            ("step of b:", 12),
            ("(weird)", 52),
            ("weird.", 52),
            ("trace", 13),
            ("trac step", 0),
            ("onerror=alert", 2),
            ("a.jsonl", 40),
        ],
        ("C:\\x #a&b ~x -y [z] {1} * + ? | ^ $ É", 0),
    ],
)
def test_search_finds_rows_that_contain_every_word(client: Client, q: str, n: int) -> None:
    found = client.get("/map/default/search", params={"q": q}).json()
    assert len(found["rows"]) == n
    texts = (
        client.get("/map/default/records", params={"rows": ",".join(map(str, found["rows"][:500]))}).text if n else ""
    )
    assert all(word.lower().strip(".") in texts.lower() for word in q.split() if n)


def test_a_dataset_is_searched_by_words_and_meaning_with_filters(client: Client) -> None:
    found = client.get("/datasets/default/search", params={"q": "Traceback step", "mode": "words", "k": 100}).json()
    assert (found["snapshot"], found["mode"], len(found["hits"])) == (2, "words", 13)
    hit = found["hits"][0]
    assert {"id", "text", "type", "filename", "score", "count", "x", "y"} <= hit.keys()
    filters = {"type": "error", "filename": "b*", "since": "2026-01-04T00:00:00"}
    fewer = client.get("/datasets/default/search", params={"q": "step", "k": 100, **filters}).json()["hits"]
    assert {(hit["type"], hit["filename"]) for hit in fewer} == {("error", "b.jsonl")}
    near = client.get("/datasets/default/search", params={"id": hit["id"], "k": 3}).json()["hits"]
    assert len(near) == 3
    assert hit["id"] not in {one["id"] for one in near}


@pytest.mark.parametrize(
    ("parameters", "status", "named"),
    [
        ({}, 422, "empty"),
        ({"q": "  "}, 422, "empty"),
        ({"q": "x" * 4_001}, 422, "q"),
        ({"q": "x", "k": "0"}, 422, "k"),
        ({"q": "x", "k": "101"}, 422, "k"),
        ({"q": "x", "mode": "magic"}, 422, "mode"),
        ({"q": "x", "since": "yesterday"}, 422, "since"),
        ({"q": "x", "extra": "tool"}, 422, "extra.0"),
        ({"q": "x", "extra": 'a"b=1'}, 422, "quotes"),
        ({"id": "unknown"}, 404, "unknown"),
        ({"q": "x", "new_since": "99"}, 404, "Snapshot 99"),
    ],
)
def test_a_search_that_can_not_be_answered_says_why(
    client: Client, parameters: dict[str, str], status: int, named: str
) -> None:
    assert_problem(client.get("/datasets/default/search", params=parameters), status, named)


def test_an_older_snapshot_can_still_be_read_by_an_open_page(client: Client) -> None:
    assert client.get("/map/default/snapshot.json?snapshot=1").json()["rows"] == 40


def test_the_polled_answer_names_the_newest_snapshot(client: Client) -> None:
    now = client.get("/map/default/current.json")
    assert now.json()["snapshot"] == 2
    assert now.json()["version"] == client.get("/map/default/snapshot.json").json()["version"]
    assert len(now.content) < 300
    assert now.headers["cache-control"] == "no-store"


def test_a_dataset_without_a_map_has_a_page_that_waits_for_one(tmp_path: Path) -> None:
    with served(create_app(settings_at(tmp_path / "home"))) as client:
        assert client.get("/map/default").status_code == 200
        assert client.get("/map/default/current.json").json()["snapshot"] is None
        assert_problem(client.get("/map/default/snapshot.json"), 404, "runatlas index")
        assert_problem(client.get("/atlas/default/"), 404, "runatlas index")


def test_sources_are_grouped_by_folders_when_there_are_many() -> None:
    many = [f"{team}/{day}/{n}.jsonl" for team in ("red", "blue") for day in range(3) for n in range(9)]
    assert set(source_groups(many)) == {f"{team}/{day}" for team in ("red", "blue") for day in range(3)}


# --- pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs", "/map/default", "/terrain", "/terrain/upload-1"])
def test_pages_contact_no_other_host_and_run_only_our_scripts(client: Client, path: str) -> None:
    page = client.get(path, headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "default-src 'none'; script-src 'self';" in page.headers["content-security-policy"]
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page.text)


def test_our_scripts_name_no_other_host() -> None:
    static = Path(__file__).parents[1] / "api" / "static"
    for file in [path for path in static.rglob("*.*") if path.relative_to(static).parts[0] != "vendor"]:
        hosts = set(re.findall(r"https?://[^\s\"'`)]+", file.read_text("utf-8"))) - {"http://www.w3.org/2000/svg"}
        assert not hosts, file.name


def test_every_call_is_described(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/health", "/load", "/index", "/runs/{flow_run_id}", "/datasets", "/metrics"} <= set(paths)
    assert all(call.get("description") for methods in paths.values() for call in methods.values())


@contextmanager
def busy_prefect(times: float) -> Iterator[tuple[str, list[str]]]:
    """A server that answers 503 so many times, as Prefect's does while SQLite is locked, and then has no deployments."""
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"] or 0))
            body = b"[]" if len(asked) > times else b'{"exception_message": "Service Unavailable"}'
            self.send_response(200 if len(asked) > times else 503)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("times", "kind"), [(2, "deployment-missing"), (float("inf"), "prefect-busy")])
def test_a_short_lock_of_prefects_database_is_retried_and_never_a_502(world: Settings, times: float, kind: str) -> None:
    with busy_prefect(times) as (url, asked):
        settings = world.model_copy(update={"prefect": world.prefect.model_copy(update={"api_url": url})})
        with served(create_app(settings)) as client:
            asked.clear()
            began = time.monotonic()
            answer = client.post("/index")
            assert time.monotonic() - began < 60, "Prefect's client alone would try for longer"
    assert_problem(answer, 503, kind)


# --- runs, on a real Prefect server --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployed(world: Settings, prefect_server: None) -> Iterator[tuple[Client, Settings]]:
    """The application beside a Prefect server that knows both deployments and has no worker."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    with get_client(sync_client=True) as prefect:
        for name in ("load", "index"):
            prefect.create_deployment(flow_id=prefect.create_flow_from_name(name), name=name)
    settings = world.model_copy(
        update={"prefect": world.prefect.model_copy(update={"api_url": PREFECT_API_URL.value()})}
    )
    with served(create_app(settings)) as opened:
        yield opened, settings


@pytest.mark.slow
def test_load_and_index_answer_202_with_the_run(deployed: tuple[Client, Settings]) -> None:
    client, _ = deployed
    started = client.post("/load", json={"dataset": "default"})
    body = started.json()
    assert started.status_code == 202, started.text
    assert body["state"] == "Scheduled"
    assert body["joined"] is False
    assert body["url"].endswith(body["flow_run_id"])
    run = client.get(f"/runs/{body['flow_run_id']}").json()
    assert (run["state"], run["progress"], run["report"], run["flow"]) == ("Scheduled", 0, None, "load")
    again = client.post("/load")
    assert (again.json()["flow_run_id"], again.json()["joined"]) == (body["flow_run_id"], True)


@pytest.mark.slow
def test_a_second_index_joins_the_first_and_passes_its_options_on(
    deployed: tuple[Client, Settings],
) -> None:
    client, settings = deployed
    first = client.post("/index").json()
    second = client.post("/index", json={"recompute": True})
    assert second.status_code == 202
    assert (second.json()["flow_run_id"], second.json()["joined"]) == (first["flow_run_id"], True)
    assert "without recompute" in second.json()["detail"]
    with Pipeline(settings) as pipeline:
        assert pipeline.store.index_requests.open("default").recompute


@pytest.mark.slow
def test_a_running_index_is_joined_while_it_holds_the_lease(deployed: tuple[Client, Settings]) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    client, settings = deployed
    with Pipeline(settings) as pipeline:
        pipeline.store.datasets.id("side", create=True)
        first = client.post("/index", json={"dataset": "side"}).json()["flow_run_id"]
        with get_client(sync_client=True) as prefect:
            prefect.set_flow_run_state(uuid.UUID(first), Running(), force=True)
        fence = pipeline.store.leases.acquire(lease_name("side"), "the first run")
        joined = client.post("/index", json={"dataset": "side"}).json()
        assert (joined["flow_run_id"], joined["joined"]) == (first, True)
        assert pipeline.store.index_requests.open("side").ids, "the holder sees the request before it ends"
        pipeline.store.leases.release(fence)
        fresh = client.post("/index", json={"dataset": "side"}).json()
        assert (fresh["flow_run_id"] != first, fresh["joined"]) == (True, False), "the first one may be past its end"


@pytest.mark.slow
def test_the_same_idempotency_key_gives_the_same_run(deployed: tuple[Client, Settings]) -> None:
    client, _ = deployed
    ids = {client.post("/load", headers={"Idempotency-Key": "k1"}).json()["flow_run_id"] for _ in range(2)}
    ids.add(client.post("/load", headers={"Idempotency-Key": "k2"}).json()["flow_run_id"])
    assert len(ids) == 2


@pytest.mark.slow
def test_an_idempotency_key_of_another_request_is_refused(deployed: tuple[Client, Settings]) -> None:
    client, settings = deployed
    with Pipeline(settings) as pipeline:
        pipeline.store.datasets.id("other", create=True)
    key = {"Idempotency-Key": "reused"}
    first = client.post("/index", json={"dataset": "default"}, headers=key).json()
    for body in ({"dataset": "other"}, {"dataset": "default", "recompute": True}):
        problem = assert_problem(client.post("/index", json=body, headers=key), 409, first["flow_run_id"])
        assert problem["errors"][0]["field"] == "idempotency-key"
    again = client.post("/index", json={"dataset": "default"}, headers=key).json()
    assert (again["flow_run_id"], again["links"]) == (first["flow_run_id"], first["links"])
    load = {"Idempotency-Key": "reused by a load"}
    client.post("/load", json={"sources": ["a.jsonl"]}, headers=load)
    assert_problem(client.post("/load", headers=load), 409, "Idempotency-Key")


@pytest.mark.slow
def test_a_run_has_progress_and_a_report_without_paths(deployed: tuple[Client, Settings]) -> None:
    client, settings = deployed
    run = client.post("/load", headers={"Idempotency-Key": "progress"}).json()["flow_run_id"]
    with Pipeline(settings) as pipeline:
        runs = pipeline.store.runs
        runs.start(run, "default", "load")
        runs.progress(run, "read", 30, 60)
        assert client.get(f"/runs/{run}").json()["progress"] == 50
        problem = {"source": "x.jsonl", "reason": "can't open /home/me/x.jsonl"}
        runs.finish(run, "done", report={"dataset": "default", "problems": [problem]})
    body = client.get(f"/runs/{run}").json()
    assert body["progress"] == 100
    assert body["report"]["problems"] == [{"source": "x.jsonl", "reason": "can't open …/x.jsonl"}]


@pytest.mark.slow
def test_health_is_ok_with_everything_there(deployed: tuple[Client, Settings]) -> None:
    client, _ = deployed
    deadline = time.monotonic() + 180
    while (body := client.get("/health").json())["status"] != "ok" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert body["status"] == "ok", body
    assert (body["prefect"]["reachable"], body["prefect"]["problem"]) == (True, None)
    assert body["prefect"]["age_s"] >= 0


@pytest.mark.slow
def test_an_unknown_run_is_a_404(deployed: tuple[Client, Settings]) -> None:
    assert_problem(deployed[0].get(f"/runs/{uuid.uuid4()}"), 404)


def active(flow: str, type: str = "RUNNING", **parameters: Any) -> Run:
    fields = {"id": "1", "name": "n", "flow": flow, "state": type.title(), "type": type, "message": "", "url": ""}
    return Run(**fields, parameters=parameters)


def test_a_run_that_is_being_cancelled_is_not_joined() -> None:
    dying = active("index", "CANCELLING", dataset="d")
    assert joinable([dying], "index", {"dataset": "d"}) is None
    assert joinable([dying, active("index", dataset="d")], "index", {"dataset": "d"}) is not None


def test_an_index_of_all_datasets_is_joined_only_before_it_starts() -> None:
    wanted = {"dataset": "*"}
    assert joinable([active("index", dataset="*")], "index", wanted) is None, "it may have passed a dataset"
    assert joinable([active("index", "SCHEDULED", dataset="*")], "index", wanted) is not None
    assert joinable([active("index", "SCHEDULED", dataset="*")], "index", {"dataset": "d"}) is None


@pytest.mark.parametrize(("state", "error"), [("cancelled", "stopped by signal"), ("failed", "no such model")])
def test_a_run_that_ended_early_keeps_its_last_progress(
    client: Client, world: Settings, state: str, error: str
) -> None:
    run = str(uuid.uuid4())
    with Pipeline(world) as pipeline:
        runs = pipeline.store.runs
        runs.start(run, "default", "load")
        runs.progress(run, "read", 30, 60)
        runs.finish(run, state, error=error)
    body = client.get(f"/runs/{run}").json()
    assert (body["progress"], body["error"]) == (50, f"default: {error}")


def test_a_running_load_is_not_joined_but_a_running_index_is() -> None:
    assert joinable([active("load", dataset="d")], "load", {"dataset": "d"}) is None
    assert joinable([active("index", dataset="d")], "index", {"dataset": "d"}) is not None
    assert joinable([active("index", dataset="e")], "index", {"dataset": "d"}) is None
