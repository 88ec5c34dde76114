"""Settings with the store that they name, opened when it is needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from components import wiring
from components.contracts import StepRunner
from components.dataset_settings import effective_settings
from components.retry import retry_while_busy, run_directly
from components.settings import Settings, load_settings
from components.store import Store

if TYPE_CHECKING:
    from components.index.cluster import Cluster


class OpenStore:
    """Opens the database at its first use; a context manager, or call `close`.

    `run_step` runs the steps of the work, `cluster` embeds and places in other processes if there is one.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        run_step: StepRunner = run_directly,
        cluster: Cluster | None = None,
    ) -> None:
        self.settings = settings or load_settings()
        self.run_step, self.cluster = run_step, cluster

    @cached_property
    def store(self) -> Store:
        return wiring.open_store(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the database connections back."""
        if "store" in self.__dict__:
            self.__dict__.pop("store").close()

    def effective_settings(self) -> Settings:
        """The settings, with those of datasets that the database has; see `components.dataset_settings`."""
        return retry_while_busy(lambda: effective_settings(self.settings, self.store))
