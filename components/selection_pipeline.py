"""What a pipeline does with chosen records: tags them, and writes them to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.atomic import atomic_write
from components.dataset_tags import tag_records, untag_records
from components.datasets import find_dataset
from components.errors import BadQuery, NotFound
from components.search.filters import Filters
from components.store.tags import Tag, TagChange
from components.survey_pipeline import SurveyOperations

if TYPE_CHECKING:  # commands that only read the store do not wait for pyarrow
    from components.selections import Selection
    from components.snapshot.read import Snapshot
    from components.views.map_file import MapFile


class SelectionOperations(SurveyOperations):
    """Operations on the records that ids or filters choose."""

    def tags(self, dataset: str = "default") -> list[Tag]:
        """The tags of the dataset's records, those that were given last first."""
        return self.store.tags.all(self.dataset_id(dataset))

    def tag(
        self,
        tag: str,
        ids: Sequence[str] = (),
        dataset: str = "default",
        *,
        filters: Filters | None = None,
        note: str = "",
    ) -> TagChange:
        """Tag records, by their ids or those of the newest snapshot that pass the filters; all of them, or none.

        A tag stays with its records whatever happens to the map. A new note replaces that of records which have the tag.
        Raises `BadQuery` for a tag that can't be used, `NotFound` for an unknown record.
        """
        number = self.dataset_id(dataset)
        return tag_records(self.store, dataset, number, tag, self._chosen(dataset, ids, filters), note=note)

    def untag(
        self, tag: str, ids: Sequence[str] = (), dataset: str = "default", *, filters: Filters | None = None
    ) -> int:
        """Take a tag from records, by ids or filters, or from all that have it; returns how many had it.

        Raises `NotFound` for a tag that no record has.
        """
        number = self.dataset_id(dataset)
        chosen = self._chosen(dataset, ids, filters) if ids or filters else None
        return untag_records(self.store, dataset, number, tag, chosen)

    def export(self, to: str | Path, dataset: str = "default") -> list[Path]:
        """`logs.parquet` and `embeddings.parquet` of the newest snapshot, in a folder."""
        return self.select(dataset).plain_files(Path(to))

    def export_html(
        self, to: str | Path, dataset: str = "default", *, filters: Filters | None = None, max_bytes: int | None = None
    ) -> MapFile:
        """Write the map with the records that pass the filters as one HTML file that opens without a network, redacted.

        Records that do not fit into `max_bytes` (50 MB, without) are left out; the `report` of the result says so.
        """
        chosen = self.select(dataset, filters)
        made = chosen.map_file(max_bytes=max_bytes) if max_bytes else chosen.map_file()
        with atomic_write(Path(to)) as aside:
            aside.write_bytes(made.html)
        return made

    def select(self, dataset: str = "default", filters: Filters | None = None) -> Selection:
        """The records of the newest snapshot that pass the filters."""
        from components.selections import select

        return select(self.store, find_dataset(self.settings, self.store, dataset), self.snapshot(dataset), filters)

    def dataset_id(self, dataset: str) -> int:
        """The number of a dataset. Raises `NotFound` with the nearest name, or where nothing was loaded into it yet."""
        if (found := find_dataset(self.settings, self.store, dataset)) is not None:
            return found
        raise NotFound(f"Nothing was loaded into dataset {dataset!r} yet: `runatlas load SOURCE -d {dataset}`.")

    def output(self, dataset: str = "default") -> Path:
        """The folder of a dataset's snapshots."""
        self.settings.dataset(dataset)
        return self.settings.output / dataset

    def snapshot(self, dataset: str = "default") -> Snapshot:
        """The newest published snapshot. Raises `NotFound` before the first one, and for an unknown dataset."""
        from components.snapshot.read import open_snapshot

        output = self.output(dataset)
        if not output.is_dir():
            find_dataset(self.settings, self.store, dataset)
        return open_snapshot(output)

    def _chosen(self, dataset: str, ids: Sequence[str], filters: Filters | None) -> Sequence[str]:
        if bool(ids) == bool(filters):
            raise BadQuery("Choose records either by their ids or by filters.")
        return list(ids) or self.select(dataset, filters).ids()
