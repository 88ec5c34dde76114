"""The map as one file: complete without a network, harmless, redacted, and as large as allowed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from api_world import evil, settings_at, write_run
from browser import a_browser, is_there
from served import served
from typer.testing import CliRunner

from api.app import create_app
from api.cli.main import app
from components.pipeline import Pipeline
from components.search.filters import Filters
from components.settings import Settings

secret = "sk-ant-api03-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6hIj9kLm2nOp5-AAAAAA"  # fmt: skip
hostile = f"</script><script>document.title='run'</script>{evil} <!-- {{data}} \u2028 \u202e"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("file")
    settings = settings_at(root / "home", privacy={"redact": False})
    write_run(root / "logs", "a", 30)
    lines = [
        {"type": "user", "text": text, "timestamp": "2026-01-01T00:00:00Z", "iteration": n}
        for n, text in enumerate((f"my key is {secret} ok", hostile, "long " * 2_000))
    ]
    (root / "logs" / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Pipeline(settings) as pipeline:
        assert pipeline.load([str(root / "logs")]).records.new == 33
        pipeline.index()
    return settings


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_file_holds_the_chosen_records_and_says_what_it_lacks(settings: Settings, tmp_path: Path) -> None:
    with Pipeline(settings) as pipeline:
        made = pipeline.export_html(tmp_path / "m.html", filters=Filters(run=("b.jsonl",)))
    html = (tmp_path / "m.html").read_text("utf-8")
    data = data_of(html)
    assert made.records == len(data["records"]) == 3
    assert secret not in html
    assert sum(made.redacted.values()) == 1
    assert any(line.startswith("Secrets were redacted: ") for line in data["report"])
    assert "1 texts were cut to 4,000 characters." in data["report"]
    assert hostile in {one[4] for one in data["records"]}
    assert html.count("<script") == 2
    around = html.replace(re.findall(r'id="data">(.*?)</script>', html, re.DOTALL)[0], "")
    assert not re.search(r"https?:|//[a-z]|(src|href)\s*=|url\(|innerHTML|fetch", around)
    assert "default-src 'none'" in around


def test_what_does_not_fit_is_left_out_and_counted(settings: Settings, tmp_path: Path) -> None:
    with Pipeline(settings) as pipeline:
        made = pipeline.export_html(tmp_path / "m.html", max_bytes=103_000)
    assert 0 < made.records < 33
    assert any(f"{33 - made.records} chosen records were left out" in line for line in made.report)


def test_the_shell_writes_it_and_prints_the_report(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNATLAS_HOME", str(settings.home))
    done = CliRunner().invoke(app, ["export", "--html", str(tmp_path / "m.html"), "--filter", "type=user"])
    assert done.exit_code == 0, done.output
    assert "Secrets were redacted" in done.stdout
    assert CliRunner().invoke(app, ["export"]).exit_code == 2
    assert CliRunner().invoke(app, ["export", "--to", str(tmp_path), "--filter", "type=user"]).exit_code == 2


def test_http_gives_it_as_a_download(settings: Settings) -> None:
    with served(create_app(settings)) as client:
        answer = client.get("/map/default/export.html?run=b.jsonl")
        assert answer.headers["content-disposition"] == 'attachment; filename="default.html"'
        assert len(data_of(answer.text)["records"]) == 3
        assert len(data_of(client.get("/map/default/export.html?type=none").text)["records"]) == 0
        assert client.get("/map/nothing/export.html").status_code == 404
        assert client.get("/map/default/export.html?since=x").status_code == 422


@pytest.mark.browser
@pytest.mark.skipif(not is_there, reason="needs chromium and chromedriver")
def test_a_browser_opens_it_from_disk(settings: Settings, tmp_path: Path) -> None:
    with Pipeline(settings) as pipeline:
        pipeline.export_html(tmp_path / "m.html")
    with a_browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "m.html").as_uri())
        assert browser.wait_for("document.getElementById('state').textContent").startswith("33 of 33 records")
        assert browser.run("return document.title") == "runatlas: default"
        assert browser.run("return document.querySelectorAll('img, iframe, link').length") == 0
        assert browser.run("return document.querySelectorAll('#topics button').length >= 0")
        browser.type("#words", "my key")
        browser.wait_for("document.querySelectorAll('#list button').length === 1")
        browser.press("#list button")
        assert "[redacted" in browser.run("return document.getElementById('text').textContent")
        painted = """const c = document.getElementById('map');
            return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v)"""
        assert browser.run(painted)
        assert browser.run("return document.querySelectorAll('#report li').length") >= 2
