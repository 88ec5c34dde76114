"""What tests of several modules share."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import hypothesis
import pytest
from browser import Browser, a_browser
from databases import fresh_database, postgres_server

# busy machines are slow, and that is no fault
hypothesis.settings.register_profile("runatlas", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("runatlas")


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    """A Prefect server of our own for the flows of one module; it takes some 10 s to start, so ask for it by name.

    Not for the session: while it runs, the whole process takes it for the server, and other modules need a dead one.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # joining the heartbeat thread would cost each flow run a second
    with (
        prefect_test_harness(server_startup_timeout=300),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server; tests make databases of their own on it."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """No URL, for SQLite in the home, and then the URL of an empty database on a server."""
    if request.param == "sqlite":
        yield None
        return
    with fresh_database(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for the tests of one module."""
    with a_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """The window. After each test: no console warnings, and no requests to other hosts."""
    window.complaints()
    yield window
    assert window.complaints() == []
    hosts = {urlsplit(url).hostname for url in window.asked_for() if url.startswith(("http", "ws"))}
    assert hosts <= {"127.0.0.1"}
