"""What an index asks of a cluster of other processes or machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from components.index.batches import EmbedBatch, EmbedOutcome
    from components.index.maps import PlacedVectors
    from components.index.plan import Ids


class Cluster(Protocol):
    """Embeds and places in other processes, or on other machines, several tasks at once.

    Both call `while_waiting` every second or so; an error that it raises ends the other processes' work.
    """

    def embed(
        self, dataset: str, fence_token: int, batches: Sequence[EmbedBatch], while_waiting: Callable[[], None]
    ) -> Iterator[EmbedOutcome]:
        """What embedding each batch did, in their order, as `components.wiring.embed_batch` does it."""
        ...

    def place(
        self, dataset: str, layout_id: int, chunks: Sequence[Ids], while_waiting: Callable[[], None]
    ) -> Iterator[PlacedVectors]:
        """Where the vectors of each chunk of ids are placed, in their order, as `components.index.maps.place_in_turn` does it."""
        ...
