"""Parameters that several calls share, with their bounds, which OpenAPI states and FastAPI checks."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Header, Path, Query

MAX_NAME_CHARS = 100
NAME_PATTERN = r"^[\w-][\w.-]*$"
NAME_OR_ALL_PATTERN = r"^(\*|[\w-][\w.-]*)$"
MAX_NUMBER = 2**31 - 1  # of rows and snapshots
MAX_SOURCES = 1_000
MAX_SOURCE_CHARS = 4_096  # PATH_MAX
MAX_ROWS = 500  # per request

DatasetName = Annotated[
    str, Path(min_length=1, max_length=MAX_NAME_CHARS, pattern=NAME_PATTERN, description="Name of the dataset.")
]
RecordId = Annotated[
    str, Path(min_length=1, max_length=1_000, description="Id of the record, 32 hex digits, or its key.")
]
SnapshotNumber = Annotated[
    int | None, Query(ge=1, le=MAX_NUMBER, description="Number of the snapshot; by default the newest.")
]
RowNumber = Annotated[int, Query(ge=0, le=MAX_NUMBER, description="Row of the snapshot, from 0.")]
RowNumbers = Annotated[
    str,
    Query(
        max_length=11 * MAX_ROWS,
        pattern=rf"^[0-9]{{1,10}}(,[0-9]{{1,10}}){{0,{MAX_ROWS - 1}}}$",
        description=f"Row numbers joined by commas, at most {MAX_ROWS}.",
    ),
]
WantedId = Annotated[str, Query(min_length=1, max_length=1_000, description="Id of the record.")]
Words = Annotated[
    str, Query(max_length=400, description="Words that the record contains, separated by spaces; or what is meant.")
]
SimilarTo = Annotated[str, Query(max_length=1_000, description="Id of a record: rows that are similar to it.")]
SearchedBy = Annotated[Literal["words", "meaning", "both"], Query(description="Search by words, by meaning, or both.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1, max_length=200, description="A request that repeats a key returns the run that the key started."
    ),
]
