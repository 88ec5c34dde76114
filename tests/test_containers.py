"""Dockerfile and compose.yaml speak of files, commands and settings that there are; no container engine is needed."""

from __future__ import annotations

import importlib.util
import os
import re
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
            assert importlib.util.find_spec(f"{arguments[1]}.__main__"), arguments
        if "--pool" in arguments:
            assert arguments[arguments.index("--pool") + 1] == work_pool
        if arguments[:2] == ["work-pool", "create"]:
            assert arguments[2] == work_pool


def test_who_depends_on_another_service_names_one_that_can_become_so():
    for service in services.values():
        for other, wish in service.get("depends_on", {}).items():
            if wish["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"]
            else:
                assert services[other]["restart"] == "no", "it ends by itself"


def test_the_image_copies_files_that_there_are():
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY")]
    assert copied
    for name in (name for names in copied for name in names):
        assert (root / name).exists(), name
    rooms = re.search(r"mkdir (.+?) && touch", dockerfile)
    assert rooms
    assert set(rooms[1].split()) == {"components", "flows", "api"}
