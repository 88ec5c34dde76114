"""The whole way of an upload through the API: what is accepted, refused, shown, changed, downloaded and deleted."""

from __future__ import annotations

import csv
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from api_world import settings_at
from browser import free_port, waited
from httpx import Client, TransportError
from page_tools import root
from served import served

from api.app import create_app
from components.pipeline import Pipeline

token = "open sesame"
texts = ("where is my parcel", "the invoice is wrong", "the app does not start")
sizes = (40, 20, 10)


def table(n_noise: int = 5) -> bytes:
    """Seventy rows of three texts, and some that are alone."""
    rows = [text for text, size in zip(texts, sizes, strict=True) for _ in range(size)]
    rows += [f"something else altogether {n}" for n in range(n_noise)]
    return ("n,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(rows))).encode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("survey")


@pytest.fixture(scope="module")
def api(home: Path) -> Iterator[Client]:
    survey = {"uploads_per_minute": 1_000, "max_upload_bytes": 100_000, "cors_origins": ("http://localhost:3000",)}
    with served(create_app(settings_at(home, survey=survey))) as opened:
        yield opened


def uploaded(api: Client, content: bytes | None = None, name: str = "t.csv", **fields: str) -> Any:
    return api.post("/api/upload", files={"file": (name, content or table())}, data=fields)


def completed(api: Client, id: str) -> Any:
    until = time.monotonic() + 120
    while (state := api.get(f"/api/status/{id}").json())["status"] == "processing" and time.monotonic() < until:
        time.sleep(0.05)
    return state


@pytest.fixture(scope="module")
def accepted(api: Client) -> Any:
    answer = uploaded(api)
    assert answer.status_code == 202, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def surveyed(accepted: Any, api: Client) -> str:
    assert completed(api, accepted["dataset_id"])["status"] == "completed"
    return str(accepted["dataset_id"])


def problem(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def test_an_upload_is_answered_at_once_and_surveyed_afterwards(accepted: Any, api: Client, surveyed: str) -> None:
    assert {**accepted, "dataset_id": ""} == {
        "dataset_id": "",
        "columns": ["n", "text"],
        "text_column": "text",
        "rows": 75,
        "warnings": [],
    }
    assert api.get(f"/api/status/{surveyed}").json() == {
        "dataset_id": surveyed,
        "status": "completed",
        "progress": 100,
        "stage": "building_terrain",
        "error": None,
    }


def test_the_terrain_shows_a_hill_for_each_group_of_rows(api: Client, surveyed: str) -> None:
    terrain = api.get(f"/api/terrain/{surveyed}").json()
    assert [hill["size"] for hill in terrain["hills"]] == list(sizes)
    assert [hill["samples"] for hill in terrain["hills"]] == [[text] for text in texts]
    assert [hill["height"] for hill in terrain["hills"]] == [10.0, 5.0, 2.5]
    assert set(terrain["hills"][0]) >= {
        "id",
        "label",
        "description",
        "label_source",
        "weight",
        "x",
        "z",
        "radius",
        "color",
    }
    grid = terrain["heightData"]
    assert (len(grid), len(grid[0]), terrain["gridSize"], terrain["heightScale"]) == (100, 100, 100, 10.0)
    assert max(map(max, grid)) >= 9.5
    assert terrain["noise"] == {"size": 5, "weight": 1.0}
    assert set(terrain["metrics"]) == {"gini", "gini_normalized", "flatness"}


def test_weights_flatten_the_mountains_and_the_download_follows(api: Client, surveyed: str) -> None:
    before = api.get(f"/api/terrain/{surveyed}").json()["metrics"]
    flat = api.post(f"/api/adjust/{surveyed}", json={"adjustments": {"0": 0.25, "1": 0.5}}).json()
    assert flat == {"gini": 0.0, "gini_normalized": 0.0, "flatness": 1.0}
    assert before["gini"] > 0.2
    after = api.get(f"/api/terrain/{surveyed}").json()
    assert (after["metrics"], [hill["height"] for hill in after["hills"]]) == (flat, [2.5, 2.5, 2.5])
    answer = api.get(f"/api/export/{surveyed}", params={"format": "resampled", "rows": 350, "seed": 1})
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [sum(row["text"] == text for row in rows) for text in texts] == [100, 100, 100]
    weighted = list(csv.DictReader(io.StringIO(api.get(f"/api/export/{surveyed}").text, newline="")))
    assert [row["weight"] for row in weighted] == ["0.25"] * 40 + ["0.5"] * 20 + ["1"] * 15
    assert api.post(f"/api/adjust/{surveyed}", json={"adjustments": {"0": 1, "1": 1}}).json() == before


def test_two_adjustments_at_once_both_hold(api: Client, surveyed: str) -> None:
    def adjust(hill: int) -> int:
        return api.post(f"/api/adjust/{surveyed}", json={"adjustments": {str(hill): 0.5}}).status_code

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(adjust, [0, 1, 2])) == [200, 200, 200]
    assert [hill["weight"] for hill in api.get(f"/api/terrain/{surveyed}").json()["hills"]] == [0.5, 0.5, 0.5]
    api.post(f"/api/adjust/{surveyed}", json={"adjustments": {"0": 1, "1": 1, "2": 1}})


@pytest.mark.parametrize(
    "body",
    [
        '{"adjustments": {"0": NaN}}',
        '{"adjustments": {"0": -1}}',
        '{"adjustments": {"0": 1e999}}',
        '{"adjustments": {"0": "1"}}',
        '{"adjustments": {"7": 1}}',
        '{"adjustments": {"x": 1}}',
        '{"weights": {}}',
        "nonsense",
    ],
)
def test_weights_that_can_not_be_are_refused(body: str, api: Client, surveyed: str) -> None:
    answer = api.post(f"/api/adjust/{surveyed}", content=body, headers={"content-type": "application/json"})
    problem(answer, 422)


def test_a_body_without_its_type_is_answered_with_the_header_that_is_missing(api: Client, surveyed: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}  # as curl sends what it is given with -d
    answer = api.post(f"/api/adjust/{surveyed}", content='{"adjustments": {"0": 1}}', headers=headers)
    assert "Content-Type: application/json" in problem(answer, 422)["detail"]


def test_a_terrain_that_is_not_there_yet_is_a_conflict_that_says_how_far_it_is(api: Client, home: Path) -> None:
    from components import surveys
    from components.survey.uploads import Upload

    settings = settings_at(home)
    file = home / "waiting.csv"
    file.write_bytes(table())
    with Pipeline(settings) as pipeline:
        upload: Upload = surveys.accept_file(settings, pipeline.store, file, text_column=None)
        for answer in (
            api.get(f"/api/terrain/{upload.dataset_id}"),
            api.get(f"/api/export/{upload.dataset_id}"),
            api.post(f"/api/adjust/{upload.dataset_id}", json={"adjustments": {"0": 1}}),
        ):
            found = problem(answer, 409)
            assert (found["stage"], found["progress"]) == ("embedding", 0)
            assert "stage embedding" in found["detail"]
            assert f"GET /api/status/{upload.dataset_id} shows" in found["detail"]
        assert api.get(f"/api/status/{upload.dataset_id}").json()["progress"] == 0
        pipeline.drop(upload.dataset_id)


def test_what_was_never_uploaded_is_not_found(api: Client) -> None:
    for call in ("status", "terrain", "export"):
        assert "upload-none" in problem(api.get(f"/api/{call}/upload-none"), 404)["detail"]
    problem(api.post("/api/adjust/upload-none", json={"adjustments": {}}), 404)
    problem(api.delete("/api/datasets/upload-none"), 404)


def test_uploads_that_are_no_table_or_too_small_are_refused_and_nothing_is_kept(api: Client, home: Path) -> None:
    before = sorted((home / "uploads").iterdir())
    assert "49 rows" in problem(uploaded(api, b"text\n" + b"a b\n" * 49), 400)["detail"]
    assert "zip" in problem(uploaded(api, b"PK\x03\x04" + b"x" * 100), 400)["detail"]
    assert problem(uploaded(api, text_column="nope"), 422)["errors"][0]["field"] == "text_column"
    assert problem(api.post("/api/upload", data={"text_column": "x"}), 422)["errors"][0]["field"] == "file"
    assert problem(api.post("/api/upload", json={}), 422)["errors"][0]["field"] == "file"
    assert "MAX_UPLOAD_SIZE" in problem(uploaded(api, b"text\n" + b"a b\n" * 40_000), 413)["detail"]
    assert sorted((home / "uploads").iterdir()) == before


def test_a_body_without_end_is_refused_as_soon_as_it_is_too_large(api: Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="t.csv"\r\n\r\n'
        while sent < 50_000_000:
            sent += 10_000
            yield b"x" * 10_000

    headers = {"content-type": "multipart/form-data; boundary=b"}
    try:
        problem(api.post("/api/upload", content=endless(), headers=headers), 413)
    except Exception as error:  # noqa: BLE001 - or the connection is closed while the client still sends
        assert "roken" in str(error) or "reset" in str(error) or "protocol" in str(error)  # noqa: PT017
    assert sent < 20_000_000


@pytest.mark.parametrize("declared", ["100", "1000000000"])
def test_a_lying_content_length_leaves_nothing_behind(declared: str, api: Client, home: Path) -> None:
    before = sorted((home / "uploads").iterdir())
    head = f"POST /api/upload HTTP/1.1\r\nHost: {api.base_url.netloc.decode()}\r\nContent-Length: {declared}\r\n"
    body = 'Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx'
    with socket.create_connection((api.base_url.host, api.base_url.port)) as client:
        client.sendall((head + body + "y" * 200).encode())
        client.shutdown(socket.SHUT_WR)
        client.settimeout(10)
        answer = client.recv(4_096)
    assert not answer or answer.split()[1] in {b"400", b"413"}
    until = time.monotonic() + 10
    while sorted((home / "uploads").iterdir()) != before and time.monotonic() < until:
        time.sleep(0.05)
    assert sorted((home / "uploads").iterdir()) == before
    assert api.get("/health").status_code == 200


def test_hostile_names_come_back_harmless_and_a_deleted_upload_is_gone(api: Client, home: Path) -> None:
    content = table().replace(b"n,text", b'"<img src=x onerror=alert(1)>","te\x00xt"')
    body = uploaded(api, content, name='../../"<b>.csv').json()
    assert not set("<>\x00") & set("".join(body["columns"]))
    id = body["dataset_id"]
    completed(api, id)
    with api.stream("GET", f"/api/export/{id}") as download:
        assert api.delete(f"/api/datasets/{id}").status_code == 204
        lines = download.read().splitlines()
    assert lines[0] == b"<img src=x onerror=alert(1)>,te\x00xt,weight"
    assert len(lines) == 76  # a download that began before ends whole
    name = download.headers["content-disposition"].partition("filename=")[2].partition(";")[0]
    assert not set("/<>") & set(name)
    problem(api.get(f"/api/terrain/{id}"), 404)
    assert not [path for path in home.rglob("*") if id in path.name]


def test_health_counts_uploads_and_leaves_them_out_of_the_datasets(api: Client, surveyed: str) -> None:
    until = time.monotonic() + 10
    while (body := api.get("/health").json())["datasets_in_memory"] < 1 and time.monotonic() < until:
        time.sleep(0.2)
    assert body["datasets_in_memory"] >= 1
    assert body["model_loaded"] is False
    assert surveyed not in body["datasets"]
    metrics = api.get("/metrics").text
    assert 'runatlas_surveys_total{outcome="completed"}' in metrics
    assert 'runatlas_survey_stage_seconds_count{stage="embedding"}' in metrics
    assert "runatlas_survey_label_failures_total 0.0" in metrics


# --- access


def test_pages_of_a_named_origin_may_call_the_survey_and_nothing_else(api: Client, surveyed: str) -> None:
    named, other = {"origin": "http://localhost:3000"}, {"origin": "http://localhost:3001"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    allowed = api.options("/api/upload", headers=named | asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "http://localhost:3000")
    assert "access-control-allow-origin" not in api.options("/api/upload", headers=other | asked).headers
    assert "access-control-allow-origin" not in api.options("/load", headers=named | asked).headers
    path, body = f"/api/adjust/{surveyed}", {"adjustments": {}}
    answer = api.post(path, json=body, headers=named | {"sec-fetch-site": "same-site"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "http://localhost:3000")
    problem(api.post(path, json=body, headers=other | {"sec-fetch-site": "same-site"}), 403)
    problem(api.post("/index", json={}, headers=named | {"sec-fetch-site": "same-site"}), 403)
    assert "access-control-allow-origin" not in api.get("/datasets", headers=named).headers


def test_a_signed_in_page_writes_with_its_csrf_token_and_no_other_page_can(tmp_path: Path) -> None:
    with served(create_app(settings_at(tmp_path, api_token=token))) as api:
        api.post("/login", data={"token": token, "next": "/"})
        given = api.get("/api/csrf").json()
        assert given["header"] == "X-CSRF-Token"
        path, sent = "/api/adjust/upload-none", {"adjustments": {}}
        assert "X-CSRF-Token" in problem(api.post(path, json=sent), 401)["detail"]
        problem(api.post(path, json=sent, headers={given["header"]: "wrong"}), 401)
        problem(api.post(path, json=sent, headers={given["header"]: given["token"]}), 404)  # it passed
        evil = {"origin": "https://evil.example", given["header"]: given["token"]}
        problem(api.post(path, json=sent, headers=evil), 403)
        api.cookies.clear()
        problem(api.post(path, json=sent, headers={given["header"]: given["token"]}), 401)
        problem(api.get("/api/csrf"), 401)


def test_the_sixth_upload_in_a_minute_has_to_wait(tmp_path: Path) -> None:
    with served(create_app(settings_at(tmp_path))) as api:
        answers = [uploaded(api, b"too small") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 61
    problem(answers[-1], 429)


@contextmanager
def api_processes(home: Path, database: str | None, n: int) -> Iterator[list[Client]]:
    """Clients of so many API processes of their own on one database."""
    ports = [free_port() for _ in range(n)]
    kept = {name: one for name, one in os.environ.items() if not name.startswith(("PREFECT_", "RUNATLAS_"))}
    shared = {"RUNATLAS_HOME": str(home), "RUNATLAS_MODEL": "hash://384", "RUNATLAS_PREFECT__PORT": str(free_port())}
    if database:
        shared["RUNATLAS_DATABASE_URL"] = database
    with ExitStack() as stack:
        for port in ports:
            environment = {**kept, **shared, "RUNATLAS_API__PORT": str(port), "PYTHONPATH": str(root)}
            process = subprocess.Popen([sys.executable, "-m", "api"], cwd=home, env=environment)
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        clients = [stack.enter_context(Client(base_url=f"http://127.0.0.1:{port}", timeout=60)) for port in ports]
        for client in clients:
            waited(lambda client=client: is_up(client), what="the API", within_s=240)
        yield clients


def is_up(client: Client) -> bool:
    try:
        return client.get("/health").is_success
    except TransportError:
        return False


@pytest.mark.slow
def test_four_processes_keep_one_rate_limit(database: str | None, tmp_path: Path) -> None:
    with Pipeline(settings_at(tmp_path, database_url=database)):  # makes the database
        pass
    with api_processes(tmp_path, database, 4) as apis, ThreadPoolExecutor(20) as pool:
        found = [pool.submit(uploaded, api) for _ in range(5) for api in apis]  # five to each process, at once
        answers = [one.result() for one in found]
        accepted = [answer for answer in answers if answer.status_code == 202]
        assert len(accepted) == 5
        for answer in answers:
            if answer not in accepted:
                assert 0 < int(answer.headers["retry-after"]) <= 61
                assert "5 uploads a minute" in problem(answer, 429)["detail"]
        for api, upload in zip(apis, accepted, strict=False):  # each process knows what another took
            assert api.get(f"/api/status/{upload.json()['dataset_id']}").status_code == 200
