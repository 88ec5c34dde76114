"""The records that a body chooses: by ids, by rows of a snapshot, or by filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.dependencies import Dependencies
from api.filters import FilterMembers, filters_of_members
from api.inputs import MAX_NUMBER
from api.problems import Problem
from components.dataset_tags import MAX_IDS
from components.selections import select
from components.snapshot.read import open_snapshot

Id = Annotated[str, Field(max_length=1_000)]
Row = Annotated[int, Field(ge=0, le=MAX_NUMBER)]


class Chosen(BaseModel):
    """Which records: one of `ids`, `rows` (with their `snapshot`, by default the newest) and `filters`."""

    model_config = ConfigDict(extra="forbid")
    ids: list[Id] | None = Field(None, max_length=MAX_IDS, description="Ids of records.")
    rows: list[Row] | None = Field(None, max_length=MAX_IDS, description="Rows of the snapshot.")
    snapshot: int | None = Field(None, ge=1, le=MAX_NUMBER, description="Number of the snapshot that has the rows.")
    filters: FilterMembers | None = None

    @model_validator(mode="after")
    def _is_one_choice(self) -> Self:
        if sum(value is not None for value in (self.ids, self.rows, self.filters)) > 1:
            raise PydanticCustomError("one_choice", "give one of ids, rows and filters")
        if self.snapshot is not None and self.rows is None:
            raise PydanticCustomError("one_choice", "snapshot goes with rows")
        return self

    @property
    def is_given(self) -> bool:
        """Does the body choose records at all?"""
        return any(value is not None for value in (self.ids, self.rows, self.filters))


def chosen_ids(deps: Dependencies, dataset: str, chosen: Chosen) -> Sequence[str]:
    """The ids of the chosen records, each once. Raises `Problem`, `BadSetting` or `NotFound` for a choice that can't be made."""
    if not chosen.is_given:
        detail = "Choose records: give ids, rows or filters."
        raise Problem(422, "invalid-request", detail, errors=[{"field": "body", "message": "chooses no records"}])
    if chosen.ids is not None:
        return list(dict.fromkeys(chosen.ids))
    output = deps.state.output(dataset)
    if chosen.rows is not None:
        data = deps.maps.find(output, chosen.snapshot)
        rows = np.unique(np.array(chosen.rows, np.int64))
        if len(rows) and rows[-1] >= data.rows:
            raise Problem(
                404,
                "unknown-row",
                f"Snapshot {data.snapshot.number} has {data.rows} rows; row {rows[-1]} was requested.",
            )
        return [id.decode() for id in data.ids[rows].tolist()]
    filters = filters_of_members(chosen.filters or {})
    number, snapshot = deps.state.dataset_id(dataset), open_snapshot(output)
    return deps.state.with_store(lambda store: select(store, number, snapshot, filters).ids())
