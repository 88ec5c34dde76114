"""What tests of several modules share."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
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
