"""The Grafana dashboard and the Prometheus alerts name only metrics and labels that the API has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from api_world import settings_at
from asgi import ask
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from components.pipeline import Pipeline

folder = Path(__file__).parents[1] / "docs" / "monitoring"
functions = {"rate", "increase", "histogram_quantile", "sum", "time", "label_values"}
words = {"by", "on", "and", "or", "up"}  # `up` is Prometheus' own


def expressions() -> Iterator[tuple[str, str]]:
    """File and expression of every panel, variable and alert."""
    dashboard = json.loads((folder / "grafana.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        yield from (("grafana.json", target["expr"]) for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield "grafana.json", variable["query"]["query"]
    for group in yaml.safe_load((folder / "alerts.yaml").read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            assert rule["alert"]
            assert {"summary", "description"} <= set(rule["annotations"])
            yield "alerts.yaml", rule["expr"]


def names(expression: str) -> set[str]:
    """The metrics in an expression."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on)\s*\([^)]*\)', " ", expression)
    return set(re.findall(r"[a-z_]{2,}", bare)) - functions - words - {"dataset"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Name -> labels of every sample of /metrics, of a dataset with an index."""
    root = tmp_path_factory.mktemp("monitoring")
    settings = settings_at(root / "home")
    (root / "a.jsonl").write_text('{"text": "hi", "type": "user", "timestamp": "2026-01-01"}\n')
    with Pipeline(settings) as pipeline:
        pipeline.load([root / "a.jsonl"])
        pipeline.index()
    app = create_app(settings)
    text = ask(app, "/metrics").body.decode()
    app.state.dependencies.state.close()
    return {one.name: set(one.labels) for family in text_string_to_metric_families(text) for one in family.samples} | {
        family.name: set() for family in text_string_to_metric_families(text) if not family.samples
    }


@pytest.mark.parametrize(("file", "expression"), list(expressions()))
def test_every_metric_of_an_expression_exists(file: str, expression: str, samples: dict[str, set[str]]) -> None:
    used = names(expression)
    assert used <= set(samples) or used == set(), f"{file}: {used - set(samples)} in {expression}"
    assert used or "up{" in expression
    for name, selected in re.findall(r"([a-z_]+)\{([^}]*)\}", expression):
        labels = set(re.findall(r"([a-z]+)=", selected))
        assert name == "up" or labels <= samples[name] or not samples[name], f"{file}: {name} has no label {labels}"


def test_every_kind_of_metric_is_on_the_dashboard(samples: dict[str, set[str]]) -> None:
    shown = {name for file, expression in expressions() if file == "grafana.json" for name in names(expression)}
    missing = {name for name in samples if name.startswith("runatlas_")} - shown
    assert missing <= {
        "runatlas_layout",
        "runatlas_snapshot",
        "runatlas_indexing",
        "runatlas_run_seconds",
        "runatlas_survey_stage_seconds",
    }
