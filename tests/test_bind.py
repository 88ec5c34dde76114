"""Which addresses the API may listen on, and which requests it accepts there."""

from __future__ import annotations

import signal

import pytest
from api_world import settings_at
from served import served

from api.app import create_app
from api.up.supervisor import run_up
from components.errors import BadSetting


def settings(tmp_path, **api):
    token = api.pop("api_token", None)
    return settings_at(tmp_path / "home", api={"port": 0, **api}, api_token=token)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.10", "logs.example"])
@pytest.mark.parametrize("token", [None, ""])
def test_other_machines_are_served_only_with_a_token(tmp_path, host, token):
    with pytest.raises(BadSetting, match="RUNATLAS_API_TOKEN"):
        create_app(settings(tmp_path, host=host, api_token=token))
    create_app(settings(tmp_path, host=host, api_token="open sesame"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_loopback_needs_no_token(tmp_path, host):
    create_app(settings(tmp_path, host=host))


def test_up_says_that_a_token_is_missing_before_anything_starts(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert run_up(settings(tmp_path, host="0.0.0.0")) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "RUNATLAS_API_TOKEN" in capsys.readouterr().err
    assert not (tmp_path / "home" / "prefect").exists()


def test_an_empty_token_is_none(tmp_path):
    """Otherwise a call with an empty token would pass, and the Host header would not be checked."""
    with served(create_app(settings(tmp_path, api_token=""))) as client:
        assert client.get("/datasets").status_code == 200
        assert client.get("/datasets", headers={"Host": "evil.example"}).status_code == 421


def test_with_a_token_a_machine_answers_to_any_of_its_names(tmp_path):
    with served(create_app(settings(tmp_path, host="0.0.0.0", api_token="open sesame"))) as client:
        named = {"Host": "logs.example"}
        assert client.get("/datasets", headers=named).status_code == 401
        assert client.get("/datasets", headers={**named, "Authorization": "Bearer open sesame"}).status_code == 200
