"""Sources that may be asked for by who does not own the settings: through the API, or as a parameter of a run."""

from __future__ import annotations

import pytest

from components.errors import BadSetting
from components.locations import absolute, is_url, without_credentials, without_password
from components.sources.discover import discover
from components.sources.specs import permitted


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "logs" / "app").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "elsewhere")
    return tmp_path


@pytest.mark.parametrize("source", ["app", "app/*.jsonl", "."])
def test_a_path_below_a_source_comes_back_absolute(folders, source):
    assert permitted(source, [str(folders / "logs")], "runs") == str(folders / "logs" / source)


def test_a_url_is_allowed_only_as_the_settings_spell_it():
    own = ["sqlite:////srv/app.db?table=steps"]
    assert permitted(own[0], own, "runs") == own[0]
    with pytest.raises(BadSetting, match="not among the sources"):
        permitted("sqlite:////srv/other.db?table=steps", own, "runs")


@pytest.mark.parametrize("source", ["/etc/passwd", "../elsewhere", "link", "link/*", "", "a\0b", "/elsewhere"])
def test_a_path_elsewhere_is_refused(folders, source):
    with pytest.raises(BadSetting):
        permitted(source, [str(folders / "logs")], "runs")


def test_a_dataset_without_sources_allows_none(folders):
    with pytest.raises(BadSetting, match=r"runatlas load SOURCE -d runs"):
        permitted(str(folders / "logs"), [], "runs")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db/app?table=t",
        "my-scheme://me:hunter2@db/app",
        " postgresql://me:hunter2@db/app",
        "://me:hunter2@db/app",
        "postgresql://me:hunter2@db:port/app",
        "mssql://db/app?PWD=hunter2&table=t",
    ],
)
def test_no_spelling_of_a_url_shows_its_password(url):
    assert is_url(url)
    assert "hunter2" not in without_password(url) + without_credentials(url)
    (problem,) = discover([url]).problems or [None]
    assert problem is None or "hunter2" not in problem.source + problem.reason


def test_a_path_is_absolute_whatever_it_was_given_relative_to(folders, monkeypatch):
    monkeypatch.chdir(folders / "logs")
    monkeypatch.setenv("HOME", str(folders))
    spellings = ["app", "./app", "../logs/app", "~/logs/app", str(folders / "logs" / "app")]
    assert {absolute(spelling) for spelling in spellings} == {str(folders / "logs" / "app")}
    assert absolute("sqlite:///app.db?table=t") == "sqlite:///app.db?table=t"
