"""Settings: what can't be used is refused by name, with the way out."""

from __future__ import annotations

import pytest

from components.errors import BadSetting
from components.settings import DatasetSettings, Settings, load_settings


@pytest.mark.parametrize(
    "key", ["id", "timestamp", "text", "projection_x", "vector", "topic", "topic_label", "__neighbors", "type:int"]
)
def test_an_extra_named_like_a_column_of_the_output_is_refused(key):
    with pytest.raises(BadSetting, match=f"extras.*column '{key.partition(':')[0]}' of its own: leave it out"):
        load_settings(datasets={"runs": {"extras": ["model", key]}})


def test_other_extras_are_taken_with_and_without_a_type():
    extras = ("model", "cost:float", "kind")
    assert DatasetSettings(extras=extras).extras == extras


def test_an_extra_without_a_key_is_refused():
    with pytest.raises(BadSetting, match="needs a key"):
        load_settings(datasets={"runs": {"extras": [":int"]}})


@pytest.mark.parametrize("name", ["ä" * 100, "a" * 100, "運" * 66])
def test_a_dataset_may_be_named_as_long_as_a_folder_may_be(name, tmp_path):
    assert Settings().dataset(name) == DatasetSettings()
    (tmp_path / name).mkdir()


@pytest.mark.parametrize("name", ["運" * 67, "a" * 101, "𠀀" * 100, "\ud800", ""])
def test_a_dataset_name_that_no_folder_could_have_is_refused(name):
    with pytest.raises(BadSetting, match="at most 100 characters and 200 bytes"):
        Settings().dataset(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("RUNATLAS_API_PORT", "RUNATLAS_API__PORT"), ("RUNATLAS_DATABSE_URL", "RUNATLAS_DATABASE_URL")],
)
def test_a_name_in_the_environment_that_nearly_is_a_setting_is_refused(monkeypatch, name, meant):
    monkeypatch.setenv(name, "1")
    with pytest.raises(BadSetting, match=f"{name} is no setting, but {meant} is"):
        load_settings()


@pytest.mark.parametrize("name", ["RUNATLAS_SERVICE_HOST", "RUNATLAS_PORT_8000_TCP", "RUNATLAS_TEST_MINUTES"])
def test_names_in_the_environment_that_are_nobody_s_setting_are_let_be(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    load_settings()


def test_a_key_of_the_file_that_is_no_setting_is_refused(monkeypatch, tmp_path):
    (tmp_path / "runatlas.toml").write_text("[load]\nquiet = 3\n")
    monkeypatch.setenv("RUNATLAS_CONFIG", str(tmp_path / "runatlas.toml"))
    with pytest.raises(BadSetting, match=r"load\.quiet"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "name", "nearest"),
    [
        ({"project": {"neigbors": 30}}, "project.neigbors", "neighbors"),
        ({"datasets": {"runs": {"colums": {}}}}, "datasets.runs.colums", "columns"),
        ({"datasets": {"runs": {"text": {"feilds": []}}}}, "datasets.runs.text.feilds", "fields"),
        ({"modell": "x"}, "modell", "model"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(given, name, nearest):
    with pytest.raises(BadSetting, match=f"Unknown setting '{name}'; did you mean '{nearest}'"):
        load_settings(**given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUNATLAS_DATASETS", '{"runs": {"sources": [{"url": "postgresql://me:hunter2@db/x?table=t"}]}}'),
        ("RUNATLAS_EMBED__API_KEYS", '[["hunter2"]]'),
    ],
)
def test_a_secret_that_can_not_be_used_is_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)
