"""The Prefect server of `up` against web pages of other origins, rebound host names, and other users of the machine."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from browser import a_browser, waited
from browser import is_there as chromium_is_there
from product import Product, free_port, start_within_s, until, write_log
from served import served
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from api.up.prefect_app import PrefectGuard, sign_in_url
from api.up.prefect_server import key_file, known_key, own_key
from components.errors import BadSetting
from flows.deploy import job_template

pytestmark = pytest.mark.filterwarnings("default")  # Prefect's own

# --- the key


def test_the_key_is_made_once_and_only_its_user_can_read_it(tmp_path):
    home = tmp_path / "prefect"
    key = own_key(home)
    assert len(key) > 40
    assert own_key(home) == known_key(home) == key
    assert stat.S_IMODE((home / key_file).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_key_that_others_could_read_is_replaced(tmp_path):
    key = own_key(tmp_path)
    (tmp_path / key_file).chmod(0o644)
    assert known_key(tmp_path) is None
    assert own_key(tmp_path) != key
    assert stat.S_IMODE((tmp_path / key_file).stat().st_mode) == 0o600


def test_a_key_that_can_not_be_stored_is_reported_with_its_path(tmp_path):
    (tmp_path / "prefect").write_text("no folder")
    with pytest.raises(BadSetting, match=r"prefect/auth-string .*RUNATLAS_HOME"):
        own_key(tmp_path / "prefect")


# --- the middleware in front of Prefect


def guarded(bound_to="127.0.0.1", allowed_hosts=()):
    async def answer(request):
        return PlainTextResponse("prefect")

    methods = ["GET", "POST", "OPTIONS"]
    inner = Starlette(routes=[Route(path, answer, methods=methods) for path in ("/", "/runs", "/api/flows/filter")])
    return PrefectGuard(inner, bound_to=bound_to, allowed_hosts=allowed_hosts)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/flows/filter", {"Origin": "http://127.0.0.1:5555"}),
        ("/api/flows/filter", {"Origin": "http://localhost:5555"}),
        ("/api/flows/filter", {"Origin": "null"}),
        ("/api/flows/filter", {"Sec-Fetch-Site": "same-site"}),  # another port of this machine
        ("/api/flows/filter", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_pages_of_other_sites_get_nothing_of_the_api(path, headers, method):
    with served(guarded()) as client:
        answer = client.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (403, None)


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
def test_clients_and_the_own_pages_get_through(headers):
    with served(guarded()) as client:
        own = {"Origin": str(client.base_url).rstrip("/")}
        assert client.post("/api/flows/filter", headers=headers).text == "prefect"
        assert client.post("/api/flows/filter", headers={**headers, **own}).text == "prefect"


def test_a_link_on_another_page_leads_to_the_ui_which_can_not_be_framed():
    with served(guarded()) as client:
        answer = client.get("/runs", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
        assert client.post("/runs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert (answer.text, answer.headers["x-frame-options"]) == ("prefect", "SAMEORIGIN")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example:4200", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.1:4200", 200),
        ("localhost:4200", 200),
        ("[::1]:4200", 200),
        ("Prefect.example", 200),
    ],
)
def test_a_server_on_loopback_answers_to_names_of_its_own_alone(host, status):
    with served(guarded(allowed_hosts=["prefect.example"])) as client:
        answer = client.get("/api/flows/filter", headers={"Host": host})
    assert answer.status_code == status
    assert status == 200 or "RUNATLAS_PREFECT__ALLOWED_HOSTS" in answer.text


def test_the_key_of_a_sign_in_link_stays_behind_the_number_sign():
    before, _, after = sign_in_url("http://127.0.0.1:4200", "runatlas:k&e?y#").partition("#")
    assert before == "http://127.0.0.1:4200/sign-in"
    assert after == "runatlas%3Ak%26e%3Fy%23"


# --- the real product

attack = """
const [prefect, deployment] = arguments;
const done = arguments[arguments.length - 1];
const results = {};
const json = {"Content-Type": "application/json"};
const run = JSON.stringify({job_variables: {command: "sh -c 'touch COMMAND'", env: {PYTHONPATH: "/tmp"}}});
const create = `${prefect}/api/deployments/${deployment}/create_flow_run`;
const tries = {
  read: () => fetch(`${prefect}/api/deployments/filter`, {method: "POST", headers: json, body: "{}"}).then((a) => a.text()),
  get: () => fetch(`${prefect}/api/admin/settings`).then((a) => a.text()),
  create: () => fetch(create, {method: "POST", headers: json, body: run}).then((a) => a.text()),
  blind: () => fetch(create, {method: "POST", mode: "no-cors", credentials: "include", body: run}).then((a) => a.text()),
  socket: () => new Promise((resolve, reject) => {
    const socket = new WebSocket(prefect.replace("http", "ws") + "/api/events/out", "prefect");
    socket.onopen = () => resolve("opened");
    socket.onerror = () => reject(new Error("refused"));
  }),
};
(async () => {
  for (const [name, attempt] of Object.entries(tries)) {
    try { results[name] = await attempt(); } catch (error) { results[name] = `refused: ${error.message}`; }
  }
  done(results);
})();
"""


@contextmanager
def another_site(folder):
    """A page on another port of this machine, as another user's server would show it."""
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>another site</title><body>", "utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def sign_in_of(output):
    """The address that `up` printed for the Prefect UI."""
    return next(line.split()[-1] for line in output.splitlines() if "Prefect UI" in line)


@pytest.mark.browser
@pytest.mark.skipif(not chromium_is_there, reason="needs chromium")
def test_the_attack_works_on_a_server_that_lets_everybody_in(tmp_path):
    """So what refuses it below is not the attack's own fault."""

    async def answer(request):
        return PlainTextResponse("prefect")

    route = Route("/{path:path}", answer, methods=["GET", "POST"])
    open_to_all = CORSMiddleware(
        Starlette(routes=[route]), allow_origins=["*"], allow_methods=["*"], allow_headers=["*"]
    )
    chromium = a_browser(tmp_path / "chromium")
    with served(open_to_all) as client, another_site(tmp_path / "site") as site, chromium as browser:
        browser.open(site)
        results = browser.run_async(attack, str(client.base_url).rstrip("/"), "1")
    assert {"read": "prefect", "get": "prefect", "create": "prefect", "blind": ""}.items() <= results.items()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(not chromium_is_there, reason="needs chromium")
def test_a_page_of_another_origin_reads_and_starts_nothing_while_ui_and_clients_work(tmp_path):
    product = Product(tmp_path, RUNATLAS_WATCH__ENABLED="false")
    write_log(product.logs / "a.jsonl", 3)
    server = f"http://127.0.0.1:{product.ports[0]}"
    with product.running() as process, another_site(tmp_path / "site") as site:
        load = product.prefect("/deployments/name/load/load")["id"]
        rebound = f"MAP evil.example 127.0.0.1:{product.ports[0]}"
        with a_browser(tmp_path / "chromium", more_flags=[f"--host-resolver-rules={rebound}"]) as browser:
            signs_in_and_sees_the_deployments(browser, sign_in_of(product.output.read_text()), server)
            links_of_the_api_work(browser, product.post("/load")["url"])
            assert browser.run("return localStorage.getItem('prefect-password')"), (
                "still signed in, as the attack begins"
            )
            before = runs_of(product)

            browser.open(site)
            results = browser.run_async(attack.replace("COMMAND", str(tmp_path / "taken")), server, load)
            assert len(results) == 5
            assert {name: text for name, text in results.items() if not text.startswith("refused")} == {}

            browser.open(f"http://evil.example:{product.ports[0]}/api/health")
            assert "does not accept that host name" in browser.run("return document.body.innerText")
        assert runs_of(product) == before
        assert not (tmp_path / "taken").exists()
        other_users_get_nothing(server)
        key_reaches_nobody(product, process)


def runs_of(product):
    return {run["id"] for run in product.prefect("/flow_runs/filter", limit=200) if run["state_type"] != "SCHEDULED"}


def signs_in_and_sees_the_deployments(browser, link, server):
    browser.open(link)
    browser.wait_for("localStorage.getItem('prefect-password') && location.pathname.includes('dashboard')")
    assert "#" not in browser.run("return location.href")
    browser.open(f"{server}/deployments")
    browser.wait_for("document.body.innerText.includes('index') && document.body.innerText.includes('load')")
    other_spelling = server.replace("127.0.0.1", "localhost")  # has a storage of its own, so another sign-in
    browser.open(link.replace("127.0.0.1", "localhost"))
    browser.wait_for("localStorage.getItem('prefect-password') && location.pathname.includes('dashboard')")
    browser.open(f"{other_spelling}/deployments")
    browser.wait_for("document.body.innerText.includes('index') && document.body.innerText.includes('load')")


def links_of_the_api_work(browser, url):
    browser.open(url)
    browser.wait_for("document.body.innerText.includes('load default')")


def other_users_get_nothing(server):
    """Users who can connect, but have no key."""
    for wrong in ({}, {"Authorization": "Basic cnVuYXRsYXM6d3Jvbmc="}, {"Authorization": "Bearer x"}):
        for path in ("/deployments/filter", "/flow_runs/filter", "/logs/filter", "/block_documents/filter"):
            answer = httpx.post(f"{server}/api{path}", json={}, headers=wrong)
            assert answer.status_code == 401, answer.text
        assert httpx.get(f"{server}/api/admin/settings", headers=wrong).status_code == 401
    assert asyncio.run(opens_a_socket(server)) is False


async def opens_a_socket(server):
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async with connect(f"{server.replace('http', 'ws')}/api/events/out", subprotocols=["prefect"]) as socket:
        await socket.send(json.dumps({"type": "auth", "token": "wrong"}))
        try:
            return json.loads(await socket.recv())["type"] == "auth_success"
        except ConnectionClosed:
            return False


def key_reaches_nobody(product, process):
    """It is in the key's own file and on the terminal; in no other file, no log and no command line."""
    import psutil

    key = (product.home / "prefect" / key_file).read_text()
    secret = key.partition(":")[2].encode()
    up = psutil.Process(process.pid)
    for one in (up, *up.children(recursive=True)):
        assert secret.decode() not in " ".join(one.cmdline())
    files = [path for path in product.home.rglob("*") if path.is_file() and path.name != key_file]
    assert [path for path in files if secret in path.read_bytes()] == []
    assert stat.S_IMODE((product.home / "prefect").stat().st_mode) == 0o700
    assert os.access(product.home / "prefect" / key_file, os.R_OK)


@pytest.mark.slow
def test_a_run_can_not_choose_its_command_environment_or_folder(tmp_path):
    product = Product(tmp_path, RUNATLAS_WATCH__ENABLED="false")
    write_log(product.logs / "a.jsonl", 3)
    with product.running() as process:
        load = product.prefect("/deployments/name/load/load")["id"]
        for variables in (
            {"command": f"touch {tmp_path / 'taken'}"},
            {"env": {"PYTHONPATH": str(tmp_path)}},
            {"env.PYTHONPATH": str(tmp_path)},
            {"working_dir": str(tmp_path)},
        ):
            answer = product.ask_prefect("POST", f"/deployments/{load}/create_flow_run", {"job_variables": variables})
            assert answer.status_code == 422, answer.text
        run = product.prefect(f"/deployments/{load}/create_flow_run", state={"type": "SCHEDULED"})["id"]
        assert product.ended(run, process)["state"] == "Completed"

        def lines_of_run():  # which come after its end
            lines = product.prefect("/logs/filter", logs={"flow_run_id": {"any_": [run]}})
            return any(line["name"].startswith("flows.") for line in lines)

        assert until(lines_of_run, 30, process), "log lines of the components belong to the run"
    assert not (tmp_path / "taken").exists()


@pytest.mark.slow
def test_a_pool_that_lets_runs_choose_their_command_is_closed_at_the_next_start(tmp_path):
    """As an earlier version made it, and its deployments."""
    from prefect.workers.process import ProcessWorker

    product = Product(tmp_path, RUNATLAS_WATCH__ENABLED="false")
    write_log(product.logs / "a.jsonl", 3)
    with product.running():
        open_template = {"base_job_template": ProcessWorker.get_default_base_job_template()}
        assert product.ask_prefect("PATCH", "/work_pools/runatlas", open_template).is_success
        load = product.prefect("/deployments/name/load/load")["id"]
        old = {"job_variables": {"command": "nice -n 5 python -m prefect.engine", "env": {"A": "1"}}}
        assert product.ask_prefect("PATCH", f"/deployments/{load}", old).is_success
    (product.home / "prefect-deployed").write_text("that of another prefect.yaml")
    with product.running() as process:
        assert product.prefect("/work_pools/runatlas")["base_job_template"] == job_template()
        refused = product.ask_prefect("POST", f"/deployments/{load}/create_flow_run", old)
        assert refused.status_code == 422
        assert product.ended(product.post("/load")["flow_run_id"], process)["state"] == "Completed"


@pytest.mark.slow
def test_a_run_reads_only_what_its_dataset_owns(tmp_path):
    product = Product(tmp_path, RUNATLAS_WATCH__ENABLED="false")
    (tmp_path / "private").mkdir()
    write_log(tmp_path / "private" / "b.jsonl", 4)
    with product.running() as process:
        load = product.stop_schedules("load/load")
        write_log(product.logs / "a.jsonl", 3)

        def loaded(**parameters):
            asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
            run = product.prefect(f"/deployments/{load}/create_flow_run", **asked)["id"]
            return product.ended(run, process)

        for dataset in ("default", "other"):
            refused = loaded(dataset=dataset, sources=[str(tmp_path / "private")])
            assert refused["state"] == "Failed"
            assert "is outside of the sources of dataset" in refused["error"]
        assert loaded(dataset="default", sources=["a.jsonl"])["report"]["records"]["new"] == 3
        assert loaded(dataset="default")["report"]["records"]["new"] == 0
        shown = until(lambda: list(product.get("/health")["datasets"]), 30, process)  # it is measured in the background
        assert shown == ["default"], "nothing was made for what was refused"


@pytest.mark.slow
def test_when_the_prefect_server_dies_it_is_started_again_and_the_maps_stay_up(tmp_path):
    import psutil

    product = Product(tmp_path)
    process = product.start()
    try:
        until(lambda: "is ready" in product.output.read_text(), start_within_s, process)
        write_log(product.logs / "a.jsonl", 20)
        until(lambda: product.get("/health")["datasets"].get("default", {}).get("rows"), 300, process)
        for n in (1, 2):
            server_of(psutil.Process(process.pid)).kill()
            assert httpx.get(f"http://127.0.0.1:{product.ports[1]}/map/default.png", timeout=30).status_code == 200
            until(lambda n=n: product.output.read_text().count("is available again") == n, start_within_s, process)
            write_log(product.logs / f"b{n}.jsonl", 20, start=1_000 * n)
            want = 20 * (n + 1)
            until(lambda want=want: product.get("/health")["datasets"]["default"]["rows"] == want, 300, process)
        assert "Prefect server stopped unexpectedly; restarting it" in product.output.read_text()
        until(lambda: product.get("/health")["prefect"]["reachable"], 30, process)
    finally:
        process.terminate()
        assert process.wait(90) == 0, product.output.read_text()


def server_of(up):
    return next(child for child in up.children() if "api.up.prefect_app" in child.cmdline())


@pytest.mark.slow
def test_an_up_that_is_killed_takes_a_restarted_prefect_server_along(tmp_path):
    import psutil

    product = Product(tmp_path, RUNATLAS_WATCH__ENABLED="false")
    process = product.start()
    until(lambda: "is ready" in product.output.read_text(), start_within_s, process)
    server_of(psutil.Process(process.pid)).kill()
    until(lambda: "is available again" in product.output.read_text(), start_within_s, process)
    server = server_of(psutil.Process(process.pid))
    process.kill()
    process.wait()
    waited(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, what="its end", within_s=60)


def test_a_server_without_a_key_does_not_start(monkeypatch, capsys):
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings

    from api.up import prefect_app

    monkeypatch.setattr("sys.argv", ["prefect_app", "--port", str(free_port())])
    with temporary_settings(restore_defaults={PREFECT_SERVER_API_AUTH_STRING}), pytest.raises(SystemExit) as left:
        prefect_app.main()
    assert left.value.code == 2
    assert "PREFECT_SERVER_API_AUTH_STRING" in capsys.readouterr().err
