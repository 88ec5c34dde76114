"""What a user reads is true: commands run, examples work, settings and links are there."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from browser import free_port, waited
from pydantic import BaseModel

from api.cli.main import app
from components.settings import Settings, load_settings

root = Path(__file__).parents[1]
readme = (root / "README.md").read_text("utf-8")
example = root / "runatlas.toml.example"
pages = sorted([root / "README.md", root / "CONTRIBUTING.md", root / "CHANGELOG.md", *(root / "docs").rglob("*.md")])
shell = typer.main.get_command(app)
runatlas = shutil.which("runatlas", path=str(Path(sys.executable).parent)) or "runatlas"


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RUNATLAS_")]:
        monkeypatch.delenv(name)


def blocks(page: str, *languages: str) -> list[str]:
    """What stands between fences of these languages."""
    fenced = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", page, re.MULTILINE | re.DOTALL)
    return [content for _, language, content in fenced if language in languages]


def lines(page: str) -> list[str]:
    """Every line of the page's shell blocks, without comments, continued ones in one."""
    text = "\n".join(blocks(page, "bash", "")).replace("\\\n", " ")
    return [line for line in (re.sub(r"(^|\s)#.*", "", raw).strip() for raw in text.splitlines()) if line]


def mentions(page: str) -> list[list[str]]:
    """The words after each `runatlas` that the page tells somebody to type, in blocks and within sentences."""
    spans = re.findall(r"`(runatlas [^`]*)`", page)
    found = [part for text in [*lines(page), *spans] for part in re.findall(r"(?:^|/| )runatlas ([a-z][^&|]*)", text)]
    return [re.sub(r"[\[\]…]", " ", words).split() for words in found if words != "already runs on …"]  # a message


# --- the first screen --------------------------------------------------------------------------------------------


def test_the_first_screen_holds_two_commands_and_ci_installs_as_they_do() -> None:
    first_screen = "\n".join(readme.splitlines()[:24])
    up, tests = lines(first_screen)
    assert (
        up == "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e . && .venv/bin/runatlas up --demo"
    )
    assert tests == ".venv/bin/pip install -c constraints.txt -e '.[test]' && .venv/bin/pytest"
    assert "install --quiet -c constraints.txt -e '.[test]'" in (root / ".ci" / "run").read_text("utf-8")


# --- the shell ---------------------------------------------------------------------------------------------------


def test_every_command_of_the_shell_is_named_in_the_readme() -> None:
    assert {words[0] for words in mentions(readme)} == set(shell.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(root)))
def test_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    for name, *words in mentions(page.read_text("utf-8")):
        command = shell.commands.get(name)  # type: ignore[attr-defined]
        assert command is not None, f"runatlas {name}"
        inner = getattr(command, "commands", {})  # `sources remove`
        command = next(
            (inner[word] for word in words if word in inner), inner.get("run", command)
        )  # `ingest` is one as well
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("-")} <= known, f"runatlas {name} {' '.join(words)}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, as a checkout has one, and a user with sessions of an agent in it."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "components").symlink_to(root / "components")
    shutil.copytree(root / "components" / "samples" / "logs" / "claude-code", folder / ".claude" / "projects" / "a")
    with sqlite3.connect(folder / "app.db") as database:
        database.execute("create table steps (id integer primary key, text text, type text, at text)")
        database.execute("insert into steps (text, type, at) values ('hello', 'user', '2026-01-01T10:00:00Z')")
    database.close()
    return folder


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RUNATLAS_", "PREFECT_"))}
    cache = load_settings().shared_cache
    ports = {"RUNATLAS_API__PORT": str(free_port()), "RUNATLAS_PREFECT__PORT": str(free_port())}
    spared = {"RUNATLAS_MODEL": "hash://32", "RUNATLAS_SHARED_CACHE": str(cache), "BROWSER": "true"}
    return own | ports | spared | {"HOME": str(place)}


def printed(line: str, place: Path, environment: dict[str, str]) -> str:
    """What a line of the shell says in the user's folder; it must succeed."""
    line = line.replace("/srv/app.db", str(place / "app.db")).replace("runatlas", shlex.quote(runatlas), 1)
    done = subprocess.run(
        ["bash", "-c", line], cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def indexed(place: Path, environment: dict[str, str]) -> Path:
    """The user's folder after the first two lines of "Your own logs", as they stand in the README."""
    load, index = (
        next(line for line in lines(readme) if line.startswith(f"runatlas {name}")) for name in ("load", "index")
    )
    assert "new records" in printed(load, place, environment)
    assert "Snapshot 1" in printed(index, place, environment)
    return place


def test_a_table_is_loaded_as_the_readme_says(place: Path, environment: dict[str, str]) -> None:
    (line,) = [line for line in lines(readme) if "sqlite://" in line]
    assert 'Dataset "app": 1 new record ' in printed(line, place, environment)


@pytest.mark.slow
def test_what_stands_in_the_table_of_commands_runs(indexed: Path, environment: dict[str, str]) -> None:
    ids = subprocess.run(
        [
            sys.executable,
            "-c",
            "import pyarrow.parquet as p; print(p.read_table('data/output/default/current/logs')['id'][0])",
        ],
        cwd=indexed,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    given = {"SOURCE…": ".claude/projects", "ID": ids.stdout.strip(), "ID…": ids.stdout.strip(), "DIR": "plain"}
    given |= {"FILE": "table.csv", "DATASET": "unwanted", "NAME=VALUE…": "failed=true"}
    (indexed / "table.csv").write_text("text\n" + "".join(f"row {n % 5}\n" for n in range(60)), "utf-8")
    printed("runatlas load .claude/projects -d unwanted", indexed, environment)
    cells = re.findall(r"^\| (`runatlas .*?) \| ", readme, re.MULTILINE)
    rows = [call for cell in cells for call in re.findall(r"`runatlas ([^`]*)`", cell)]
    assert {row.split()[0] for row in rows} == set(shell.commands)  # type: ignore[attr-defined]
    started = {"up", "view", "watch", "mcp"}  # these stay until they are stopped
    left_out = {*started, "ingest"}  # which needs a corpus, and is typed in tests/test_ingest.py
    for row in rows:
        if row.split()[0] in left_out:
            continue
        words = [given.get(word, word) for word in re.sub(r"\[[^\]]*\]", "", row).split()]
        printed(f"runatlas {shlex.join(words)}", indexed, environment)
    assert (indexed / "plain" / "logs.parquet").exists()
    assert (indexed / "plain" / "embeddings.parquet").exists()


# --- HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def viewed(indexed: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address that `runatlas view` serves, until it is stopped as a person would."""
    printed("runatlas load components/samples/logs/codex --dataset demo", indexed, environment)
    printed("runatlas index --dataset demo", indexed, environment)
    process = subprocess.Popen([runatlas, "view"], cwd=indexed, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{environment['RUNATLAS_API__PORT']}"
    try:
        waited(lambda: process.poll() is not None or answers(f"{address}/health"), what="view", within_s=60)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def calls() -> list[tuple[str, str, str | None]]:
    """Method, path and body of each call that the README shows."""
    found = []
    for words in (shlex.split(line) for line in lines(readme) if line.startswith("curl ")):
        (url,) = (word for word in words if word.startswith("localhost:8000"))
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        body = words[words.index("-d") + 1] if "-d" in words else None
        found.append((method, url.removeprefix("localhost:8000"), body))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "body"), calls(), ids=lambda value: str(value)[:40])
def test_calls_are_answered(method: str, path: str, body: str | None, viewed: str) -> None:
    with httpx.Client(base_url=viewed, timeout=30) as client:
        record = client.get("/map/demo/records", params={"rows": "0"}).json()[0]["id"]
        path = path.replace("$RECORD_ID", record).replace("$FLOW_RUN_ID", "00000000-0000-0000-0000-000000000000")
        answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    needs_prefect = path.startswith(("/load", "/index", "/runs/"))  # which does not run here, and is said to
    assert answer.status_code == (503 if needs_prefect else 200), answer.text
    assert not needs_prefect or "runatlas up" in answer.json()["detail"]


def test_both_pages_of_the_map_are_served(viewed: str) -> None:
    for page in ("/map/demo", "/atlas/demo/"):
        assert f"{page.replace('demo', '{dataset}')}" in readme
        answer = httpx.get(viewed + page, timeout=30)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")


# --- Python ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_python_examples_run_one_after_the_other(place: Path, environment: dict[str, str]) -> None:
    folder = place / "python"
    folder.mkdir()
    (folder / "components").symlink_to(root / "components")
    said = []
    for code in blocks(readme, "python"):
        done = subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning", "-c", code],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "954 new records, 0 defects" in said[0]  # as the caption of the picture says
    assert "(954, 12)" in said[1]


@pytest.mark.slow
def test_the_command_of_embedding_atlas_opens_the_output(indexed: Path, environment: dict[str, str]) -> None:
    (line,) = [line for line in lines(readme) if line.startswith("embedding-atlas ")]
    port = free_port()
    command = Path(sys.executable).parent / line.replace(" ", f" --port {port} --no-auto-port ", 1)
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=indexed,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/data/metadata.json"
        waited(lambda: process.poll() is not None or answers(url), what="Embedding Atlas", within_s=120)
        shown = httpx.get(url, timeout=30).json()["props"]
    finally:
        process.terminate()
        process.wait(30)
    assert shown["data"]["projection"] == {"x": "projection_x", "y": "projection_y"}
    assert shown["embeddingViewLabels"]


def documented_modules() -> list[str]:
    found = []
    for room in ("components", "api"):
        for module in pkgutil.walk_packages([str(root / room)], f"{room}."):
            path = root / Path(*module.name.split("."))
            source = path / "__init__.py" if module.ispkg else path.with_suffix(".py")
            if ">>> " in source.read_text("utf-8") and "migrations" not in source.parts:
                found.append(module.name)
    return found


@pytest.mark.parametrize("name", documented_modules())
def test_examples_in_docstrings_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), report=False)
    assert result.attempted, "no example was found"
    assert not result.failed


# --- settings ----------------------------------------------------------------------------------------------------


def leaves(model: type[BaseModel], under: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{under}{name}.")
        else:
            yield f"{under}{name}"


def spelled(table: dict[str, Any], under: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from spelled(value, f"{under}{name}.")
        else:
            yield f"{under}{name}"


def every_setting() -> set[str]:
    from components.settings import DatasetSettings

    datasets = {f"datasets.default.{name}" for name in leaves(DatasetSettings)}
    return {name for name in leaves(Settings) if name != "datasets"} | datasets


def test_the_example_names_every_setting_and_no_other() -> None:
    uncommented = re.sub(r"^# (\w+ = )", r"\1", example.read_text("utf-8"), flags=re.MULTILINE)
    assert set(spelled(tomllib.loads(uncommented))) == every_setting()


def test_every_setting_of_the_example_says_what_it_is() -> None:
    for line in example.read_text("utf-8").splitlines():
        if re.match(r"(# )?\w+ = ", line):
            assert re.search(r"\S\s+# \S", line.removeprefix("# ")), line


@pytest.mark.parametrize("uncomment", [False, True])
def test_the_example_loads_and_holds_the_defaults(
    uncomment: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = example.read_text("utf-8")
    if uncomment:
        text = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "runatlas.toml").write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    loaded = load_settings()
    assert loaded.datasets.keys() == {"default"}
    if not uncomment:
        (tmp_path / "runatlas.toml").unlink()
        defaults = load_settings()
        assert loaded.model_copy(update={"datasets": {}}) == defaults
        assert loaded.dataset("default") == defaults.dataset("default")


@pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(root)))
def test_settings_that_a_page_names_exist(page: Path) -> None:
    known = {name.split("datasets.default.")[0].replace(".", "__").upper() for name in every_setting()} | {"DATASETS"}
    named = set(re.findall(r"\bRUNATLAS_([A-Z]\w*)", page.read_text("utf-8"))) - {
        "ROOT",
        "CONFIG",
    }  # of prefect.yaml; the file itself
    assert named <= known


def test_the_settings_shown_in_the_readme_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runatlas.toml").write_text("\n".join(blocks(readme, "toml")), "utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_settings().datasets


def test_every_model_shown_in_the_readme_is_understood(tmp_path: Path) -> None:
    from components.embedders.model_uri import open_embedder

    table = readme.partition("### Models")[2].partition("\n#")[0]
    uris = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)[1:]
    assert len(uris) >= 4
    for name in ("model.gguf", "llama-server"):
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).chmod(0o755)
    for uri in uris:
        open_embedder(uri.replace("/path/to", str(tmp_path)), Settings().embed, tmp_path)


# --- links -------------------------------------------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(root)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = page if not file else page.parent / file
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text("utf-8")), target


def test_every_decision_is_numbered_and_says_why() -> None:
    decisions = sorted((root / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        text = path.read_text("utf-8")
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        assert all(f"**{part}.**" in text for part in ("Decision", "Why", "Left")), path.name
