"""The HTTP API conforms to its OpenAPI description: schemathesis makes the requests and checks the answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_world import make_world, settings_at
from httpx import Client
from served import served

from api.app import create_app

config = Path(__file__).with_name("schemathesis.toml")
token = "open sesame"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Iterator[Client]:
    """The application with a token, and a Prefect server that has both deployments and no worker."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    with get_client(sync_client=True) as prefect:
        for name in ("load", "index", "survey"):
            prefect.create_deployment(flow_id=prefect.create_flow_from_name(name), name=name)
    world = make_world(tmp_path_factory.mktemp("schema"))
    more = {"api_url": PREFECT_API_URL.value()}
    settings = world.model_copy(update={"api_token": token, "prefect": world.prefect.model_copy(update=more)})
    with served(create_app(settings)) as opened:
        opened.headers["authorization"] = f"Bearer {token}"
        yield opened


@pytest.mark.slow
def test_schemathesis_finds_no_deviation_from_the_description(deployed: Client, tmp_path: Path) -> None:
    url = str(deployed.base_url.join("/openapi.json"))
    command = [*(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", url)]
    command += ["--header", f"Authorization: Bearer {token}", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-60_000:] + done.stderr[-2_000:]


def description(**more: Any) -> Any:
    return create_app(settings_at(Path("nowhere"), **more)).openapi()


def calls(schema: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in schema["paths"].items():
        for method, call in methods.items():
            yield f"{method.upper()} {path}", call


def test_every_call_declares_its_refusals_as_problem_documents() -> None:
    schema = description()
    parts = schema["components"]["responses"]
    assert all(list(part["content"]) == ["application/problem+json"] for part in parts.values())
    for name, call in calls(schema):
        assert {"400", "401", "404", "421", "422", "503"} <= set(call["responses"]), name


def test_the_token_is_declared_as_a_security_scheme_of_all_calls_but_health() -> None:
    for token_of, needed in (({"api_token": "x"}, [{"bearerToken": []}]), ({}, [{"bearerToken": []}, {}])):
        schema = description(**token_of)
        assert schema["components"]["securitySchemes"]["bearerToken"]["scheme"] == "bearer"
        for name, call in calls(schema):
            assert call["security"] == ([] if name == "GET /health" else needed), name


def test_every_input_is_bounded() -> None:
    """A new string, list or number without a bound fails here."""

    def unbounded(schema: Any, at: str) -> Iterator[str]:
        if not isinstance(schema, dict):
            return
        for option in schema.get("anyOf", []):
            yield from unbounded(option, at)
        match schema.get("type"):
            case "string" if "maxLength" not in schema and "format" not in schema and "enum" not in schema:
                yield at
            case "integer" if "maximum" not in schema:
                yield at
            case "array":
                if "maxItems" not in schema:
                    yield at
                yield from unbounded(schema["items"], f"{at}[]")
            case "object":
                for name, inner in schema.get("properties", {}).items():
                    yield from unbounded(inner, f"{at}.{name}")

    schema = description()
    found = [
        name_of_input
        for name, call in calls(schema)
        for given in call.get("parameters", [])
        for name_of_input in unbounded(given["schema"], f"{name}: {given['name']}")
    ]
    for name in ("LoadRequest", "IndexRequest", "Adjustments"):
        found += unbounded(schema["components"]["schemas"][name], name)
    assert found == []
