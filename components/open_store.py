"""Settings with the store that they name, opened when it is needed."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from components import wiring
from components.contracts import StepRunner
from components.retry import run_directly
from components.settings import Settings, load_settings
from components.store import Store


class OpenStore:
    """Opens the database at its first use; a context manager, or call `close`. `run_step` runs the steps of the work."""

    def __init__(self, settings: Settings | None = None, *, run_step: StepRunner = run_directly) -> None:
        self.settings = settings or load_settings()
        self.run_step = run_step

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
