"""Without a token the API accepts only requests of the user who started it, not of other users of the machine."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import threading

import httpx
import pytest
import uvicorn

from api.peers import is_of_another_user
from api.serving import server_config
from api.up.ports import listen
from components.settings import ApiSettings, Settings

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.getuid() != 0, reason="needs Linux, and root to become another user"
)

ask = """
import http.client, os, sys
"127.0.0.1".encode("idna")  # imported now: the other user may not be able to read the interpreter's files
os.setuid(int(sys.argv[2]))
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request(sys.argv[3], sys.argv[4], headers={"X-Forwarded-For": "192.0.2.1", "Content-Length": "0"})
print(connection.getresponse().status)
"""


@pytest.fixture
def port(tmp_path):
    """The port of an API without a token."""
    yield from serve(Settings(home=tmp_path / "home", api=ApiSettings(port=0)))


def serve(settings):
    with listen("127.0.0.1", 0) as taken:
        server = uvicorn.Server(server_config(settings, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        yield taken.getsockname()[1]
        server.should_exit = True
        thread.join(60)


def status_for(user, port, method="GET", path="/datasets"):
    number = str(pwd.getpwnam(user).pw_uid)
    command = [sys.executable, "-c", ask, str(port), number, method, path]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.mark.parametrize(("method", "path"), [("GET", "/datasets"), ("GET", "/health"), ("POST", "/index")])
def test_another_user_is_refused(port, method, path):
    assert status_for("nobody", port, method, path) == 403


def test_the_user_who_started_it_is_accepted(port):
    assert status_for("root", port) == 200
    assert httpx.get(f"http://127.0.0.1:{port}/datasets", trust_env=False).status_code == 200


def test_with_a_token_the_token_decides(tmp_path):
    for port in serve(Settings(home=tmp_path / "home", api_token="secret")):
        assert status_for("nobody", port, "GET", "/health") == 200
        assert status_for("nobody", port) == 401


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connection_that_the_client_has_closed_counts_as_another_users(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        server_port = listener.getsockname()[1]
        client = socket.create_connection((host, server_port))
        accepted, address = listener.accept()
        with accepted:
            assert not is_of_another_user(address[:2], server_port)
            client.close()
            assert is_of_another_user(address[:2], server_port)


def test_other_machines_are_not_checked_here():
    assert not is_of_another_user(("192.0.2.7", 5_000), 8_000)
    assert not is_of_another_user(None, 8_000)
