"""Dockerfile and compose.yaml name existing files, commands and settings; no container engine is needed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from components.settings import load_settings

root = Path(__file__).parents[1]
services = yaml.safe_load((root / "compose.yaml").read_text())["services"]
ours = {name: service for name, service in services.items() if service["image"] == "runatlas"}
dockerfile = (root / "Dockerfile").read_text()


def environment_of(service):
    given = service["environment"]
    return {name: re.sub(r"\$\{(\w+)[^}]*\}", r"a-\1", str(value)) for name, value in given.items()}


def programs(command):
    """The programs that a command starts, with their arguments: one, or those of a shell line."""
    if command[:2] == ["sh", "-c"]:
        return [line.split() for line in command[2].split(" && ")]
    return [command]


@pytest.mark.parametrize("name", ours)
def test_every_setting_that_a_container_gets_is_one(name, monkeypatch, tmp_path):
    from prefect.settings import Settings as PrefectSettings
    from prefect.settings.legacy import _get_settings_fields

    monkeypatch.chdir(tmp_path)
    for variable in [variable for variable in os.environ if variable.startswith("RUNATLAS_")]:
        monkeypatch.delenv(variable)
    given = environment_of(ours[name])
    for variable, value in given.items():
        if variable.startswith("RUNATLAS_") and variable != "RUNATLAS_ROOT":
            monkeypatch.setenv(variable, value)
    load_settings()
    known = _get_settings_fields(PrefectSettings)
    assert {variable for variable in given if variable.startswith("PREFECT_")} <= set(known)


@pytest.mark.parametrize("name", ours)
def test_every_command_of_a_container_is_there(name):
    from flows.deploy import work_pool

    scripts = {script.name for script in entry_points(group="console_scripts")}
    for program, *arguments in programs(ours[name]["command"]):
        assert program in scripts | {"python"}
        if program == "python":
            module = arguments[1] if "." in arguments[1] else f"{arguments[1]}.__main__"
            assert importlib.util.find_spec(module), arguments
        if "--pool" in arguments:
            assert arguments[arguments.index("--pool") + 1] == work_pool
        if arguments[:2] == ["work-pool", "create"]:
            assert arguments[2] == work_pool
            assert (root / arguments[arguments.index("--base-job-template") + 1]).exists()


def test_the_cuda_variant_changes_the_image_of_all_services_and_gives_a_gpu_to_the_one_that_embeds():
    variant = yaml.safe_load((root / "compose.cuda.yaml").read_text())["services"]
    assert set(variant) == set(ours)
    index = "TORCH_INDEX"
    assert re.search(rf"^ARG {index}=.*/cpu$", dockerfile, re.MULTILINE)
    assert f'--extra-index-url "${index}"' in dockerfile
    for service in variant.values():
        assert service["image"] != "runatlas", "the image without CUDA keeps its name"
        assert re.fullmatch(r"https://download\.pytorch\.org/whl/cu\d+", service["build"]["args"][index])
    ((name, given),) = [(name, one["deploy"]) for name, one in variant.items() if "deploy" in one]
    assert name == "worker"
    assert given["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


def test_who_depends_on_another_service_names_one_that_can_become_so():
    for service in services.values():
        for other, dependency in service.get("depends_on", {}).items():
            if dependency["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"]
            else:
                assert services[other]["restart"] == "no", "it ends by itself"


def test_the_image_copies_files_that_there_are():
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY")]
    assert copied
    for name in (name for names in copied for name in names):
        assert (root / name).exists(), name
    packages = re.search(r"mkdir (.+?) && touch", dockerfile)
    assert packages
    assert set(packages[1].split()) == {"components", "flows", "api"}


def test_no_container_answers_to_somebody_without_a_secret():
    server, clients = services["prefect"], [name for name in ours if name != "prefect"]
    assert server["command"][:3] == ["python", "-m", "api.up.prefect_app"], "the guarded server"
    required = re.compile(r"\$\{\w+:\?.+\}")
    assert required.fullmatch(server["environment"]["PREFECT_SERVER_API_AUTH_STRING"])
    for name in clients:
        assert required.fullmatch(ours[name]["environment"]["PREFECT_API_AUTH_STRING"]), name
        assert required.fullmatch(ours[name]["environment"]["RUNATLAS_API_TOKEN"]), name
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize(
    "name",
    [
        "runatlas.toml",
        ".env",
        ".env.production",
        "deploy/.env",
        "logs/run.jsonl",
        "data/runatlas.db",
        "old/runatlas.db",
    ],
)
def test_settings_secrets_and_logs_of_a_checkout_stay_out_of_the_image(name, tmp_path):
    from docker.utils.build import exclude_paths  # the rules as Docker's own client applies them

    for path in (name, "api/up/supervisor.py", "runatlas.toml.example", "work-pool.json", "prefect.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    copied = exclude_paths(str(tmp_path), (root / ".dockerignore").read_text().splitlines())
    assert name not in copied
    assert {"api/up/supervisor.py", "runatlas.toml.example", "work-pool.json", "prefect.yaml"} <= copied


@pytest.mark.slow
def test_the_image_does_not_start_without_a_token(tmp_path):
    """Its own environment and command, in a folder of its own."""
    given = dict(re.findall(r"(RUNATLAS_\w+)=(\S+)", dockerfile)) | {"RUNATLAS_HOME": str(tmp_path / "home")}
    assert given["RUNATLAS_API__HOST"] == "0.0.0.0"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RUNATLAS_", "PREFECT_"))}
    for command in (["api.cli.main", "up"], ["api"]):
        ended = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env={**own, **given, "RUNATLAS_API__PORT": "0", "RUNATLAS_PREFECT__PORT": "0"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode != 0
        assert "RUNATLAS_API_TOKEN" in ended.stderr
        assert "Traceback" not in ended.stderr
