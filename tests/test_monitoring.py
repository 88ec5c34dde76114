"""The Grafana dashboard and the Prometheus alerts name only metrics and labels that the API has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
def exposition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What /metrics says of a dataset with an index: three records with one text."""
    root = tmp_path_factory.mktemp("monitoring")
    settings = settings_at(root / "home")
    line = '{"text": "hi", "type": "user", "timestamp": "2026-01-0%d"}\n'
    (root / "a.jsonl").write_text("".join(line % day for day in (1, 2, 3)))
    with Pipeline(settings) as pipeline:
        pipeline.load([root / "a.jsonl"])
        pipeline.index()
    app = create_app(settings)
    yield ask(app, "/metrics").body.decode()
    app.state.dependencies.state.close()


@pytest.fixture(scope="module")
def samples(exposition: str) -> dict[str, set[str]]:
    """Name -> labels of every sample of /metrics."""
    families = list(text_string_to_metric_families(exposition))
    return {one.name: set(one.labels) for family in families for one in family.samples} | {
        family.name: set() for family in families if not family.samples
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


def test_equal_texts_show_as_texts_that_were_not_embedded(exposition: str) -> None:
    assert 'embedded_texts_total{dataset="default"} 1.0' in exposition
    assert 'processed_records_total{dataset="default"} 3.0' in exposition


needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool, of the package prometheus")


def promtool(*arguments: str | Path, given: str = "") -> str:
    """What the real tool prints; it must find no fault."""
    done = subprocess.run(["promtool", *map(str, arguments)], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_no_fault_in_the_metrics(exposition: str) -> None:
    assert promtool("check", "metrics", given=exposition) == ""


@needs_promtool
def test_promtool_accepts_the_alerts() -> None:
    assert "SUCCESS: 7 rules found" in promtool("check", "rules", folder / "alerts.yaml")


minutes = "0x3000"  # a sample a minute, all 0
series_of_alerts = {
    "RunatlasDown": {'up{job="runatlas"}': minutes},
    "RunatlasLoadsFail": {'runatlas_runs_total{kind="load",state="failed",dataset="a"}': "0+1x3000"},
    "RunatlasIndexFails": {'runatlas_runs_total{kind="index",state="failed",dataset="a"}': "0+1x3000"},
    "RunatlasNotIndexed": {
        'runatlas_unindexed{dataset="a"}': "5x3000",
        'runatlas_last_success_timestamp_seconds{kind="index",dataset="a"}': minutes,
    },
    "RunatlasRecordsNotEmbedded": {'runatlas_failed{dataset="a"}': "2x3000"},
    "RunatlasMapDrifts": {'runatlas_drift{dataset="a"}': "0.3x3000"},
    "RunatlasEmbeddingIsSlow": {
        'seconds_per_batch_bucket{dataset="a",le="60.0"}': minutes,
        'seconds_per_batch_bucket{dataset="a",le="300.0"}': "0+2x3000",
        'seconds_per_batch_bucket{dataset="a",le="+Inf"}': "0+2x3000",
    },
}


@needs_promtool
@pytest.mark.parametrize("alert", series_of_alerts)
def test_an_alert_fires_for_what_it_names_and_not_for_others(alert: str, tmp_path: Path) -> None:
    given = [{"series": series, "values": values} for series, values in series_of_alerts[alert].items()]
    rules = yaml.safe_load((folder / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
    labels = {"dataset": "a"} if alert != "RunatlasDown" else {"job": "runatlas"}

    def fires(rule: dict[str, Any]) -> dict[str, Any]:
        own = {**labels, **rule["labels"]}
        if kind := {"RunatlasLoadsFail": "load", "RunatlasIndexFails": "index"}.get(rule["alert"]):
            own |= {"kind": kind, "state": "failed"}
        template = {name: text.replace("{{ $labels.dataset }}", "a") for name, text in rule["annotations"].items()}
        template = {name: text.replace("{{ $value }}", "2") for name, text in template.items()}
        expected = [{"exp_labels": own, "exp_annotations": template}] if rule["alert"] == alert else []
        return {"eval_time": "2d", "alertname": rule["alert"], "exp_alerts": expected}

    tested = {"interval": "1m", "input_series": given, "alert_rule_test": [fires(rule) for rule in rules]}
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": [str(folder / "alerts.yaml")], "tests": [tested]}), "utf-8"
    )
    promtool("test", "rules", tmp_path / "test.yaml")
