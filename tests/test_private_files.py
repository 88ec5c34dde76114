"""The files of a home are for one user alone, whatever the umask and whichever command made them."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from api_world import settings_at, write_run
from product import Product, until, write_log

from components.pipeline import Pipeline

root = Path(__file__).parents[1]
everybody = 0o077


def open_to_others(folder: Path) -> dict[str, str]:
    """Path -> mode of everything in and below the folder that somebody else may read, write or enter."""
    found = [folder, *folder.rglob("*")]
    modes = {path: path.lstat().st_mode for path in found if not path.is_symlink()}
    return {str(path): stat.filemode(mode) for path, mode in modes.items() if mode & everybody}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNATLAS_")}
    own = {"RUNATLAS_HOME": str(home), "RUNATLAS_MODEL": "hash://32", "RUNATLAS_LOAD__QUIET_S": "0"}
    return {**kept, **own, "PYTHONPATH": str(root), **more}


def shell(home: Path, *arguments: str, **more: str) -> str:
    command = [sys.executable, "-m", "api.cli.main", *arguments]
    done = subprocess.run(
        command,
        env=environment(home, **more),
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
        umask=0o022,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_load_index_and_publish_make_files_for_this_user_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_run(tmp_path / "logs", "a", 12)
    shell(home, "load", str(tmp_path / "logs"))
    shell(home, "index")
    assert (home / "output" / "default" / "current" / "manifest.json").exists()
    assert open_to_others(home) == {}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "runatlas.db").stat().st_mode) == 0o600


def test_files_that_an_older_version_left_open_become_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_run(tmp_path / "logs", "a", 12)
    shell(home, "load", str(tmp_path / "logs"))
    shell(home, "index")
    for path in [home, *home.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    shell(home, "status")
    assert open_to_others(home) == {}


def test_a_program_that_uses_the_library_keeps_its_umask_and_its_home_is_private(tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 3)
    with umask(0o022), Pipeline(settings_at(tmp_path / "home")) as pipeline:
        pipeline.load([str(tmp_path / "logs")])
        (tmp_path / "its own").touch()
    assert stat.S_IMODE((tmp_path / "its own").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert open_to_others(tmp_path / "home") == {}


def test_a_folder_that_also_holds_other_files_keeps_its_mode_and_our_files_in_it_become_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "notes.txt").touch(0o644)
    write_run(tmp_path / "logs", "a", 3)
    shell(home, "load", str(tmp_path / "logs"))
    assert open_to_others(home) == {str(home): "drwxr-xr-x", str(home / "notes.txt"): "-rw-r--r--"}


@pytest.mark.slow
def test_private_files_off_leaves_modes_to_the_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_run(tmp_path / "logs", "a", 12)
    for arguments in (["load", str(tmp_path / "logs")], ["index"]):
        shell(home, *arguments, RUNATLAS_PRIVATE_FILES="false")
    assert stat.S_IMODE((home / "output" / "default" / "current" / "manifest.json").stat().st_mode) == 0o644
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


@pytest.mark.slow
def test_an_export_has_the_modes_of_its_user(tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "a", 12)
    for arguments in (["load", str(tmp_path / "logs")], ["index"], ["export", "--to", str(tmp_path / "plain")]):
        shell(tmp_path / "home", *arguments)
    assert stat.S_IMODE((tmp_path / "plain" / "logs.parquet").stat().st_mode) == 0o644


@pytest.mark.slow
def test_the_api_alone_makes_files_for_this_user_alone_and_logs_no_query(tmp_path: Path) -> None:
    port = str(Product(tmp_path).ports[1])
    write_run(tmp_path / "runs", "a", 12)
    shell(tmp_path / "home", "load", str(tmp_path / "runs"))
    shell(tmp_path / "home", "index")
    log_file = tmp_path / "log.txt"
    command = [sys.executable, "-m", "api"]
    env = environment(tmp_path / "home", RUNATLAS_API__PORT=port, RUNATLAS_API_TOKEN="open-sesame")
    with log_file.open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=output, stderr=output, umask=0o022)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 120
            while not answers(client):
                assert process.poll() is None, log_file.read_text()
                assert time.monotonic() < deadline, log_file.read_text()
                time.sleep(0.1)
            client.get("/map/default", params={"token": "open-sesame", "q": "open-sesame"})
            client.post("/login", data={"token": "open-sesame", "next": "/datasets"})
            assert client.get("/datasets?access_token=open-sesame").status_code == 200, "the cookie replaces the token"
            assert client.get("/map/default.png").status_code == 200
            assert client.get("/map/default/points.bin").status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    log = log_file.read_text()
    assert "/map/default" in log
    assert "/datasets" in log
    assert "sesame" not in log
    assert "?" not in log
    assert open_to_others(tmp_path / "home") == {}


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_up_and_its_runs_make_files_for_this_user_alone_and_no_log_holds_the_token(tmp_path: Path) -> None:
    product = Product(tmp_path, RUNATLAS_API_TOKEN="open-sesame")
    write_log(product.logs / "a.jsonl", 20)
    before = os.umask(0o022)
    try:
        with product.running() as process:
            until((product.home / "output" / "default" / "current").exists, 180, process)
            url = f"http://127.0.0.1:{product.ports[1]}/datasets"
            assert httpx.get(url, params={"token": "open-sesame"}, timeout=30).status_code == 401
            assert httpx.get(url, headers={"authorization": "Bearer open-sesame"}, timeout=30).status_code == 200
    finally:
        os.umask(before)
    assert {path.name for path in product.home.iterdir()} >= {"runatlas.db", "output", "logs", "prefect"}
    assert open_to_others(product.home) == {}
    for log in [product.output, *(product.home / "logs").iterdir()]:
        assert "sesame" not in log.read_text(errors="replace"), log
