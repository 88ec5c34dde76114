"""Search a dataset by meaning and by words."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from api.dependencies import Deps
from api.filters import FilterParameters
from api.inputs import DatasetName
from api.responses import Json
from components.search import search as searching

router = APIRouter(tags=["data"])

MAX_HITS = 100

Text = Annotated[str, Query(max_length=searching.max_query_chars, description="What to search for.")]
Id = Annotated[str, Query(max_length=1_000, description="Id of a record: the records most similar to it.")]
HowMany = Annotated[int, Query(ge=1, le=MAX_HITS, description="Number of hits.")]
Mode = Annotated[searching.Mode, Query(description="How to compare texts: by meaning, by words, or both, fused.")]
Within = Annotated[
    Literal["everything", "operation"],
    Query(
        description="`operation`, with the `id` of a span: only spans of its operation, by what differs between them."
    ),
]


@router.get("/datasets/{dataset}/search", response_class=Json, summary="Search by meaning and words")
def search(
    deps: Deps,
    dataset: DatasetName,
    filters: FilterParameters,
    q: Text = "",
    id: Id = "",
    k: HowMany = 10,
    mode: Mode = "both",
    within: Within = "everything",
) -> Json:
    """The records of the newest snapshot that fit a text, or that are most similar to a record, the best first.

    Records of equal text are one hit with their number. Words are never syntax, except that those in double quotes are a
    phrase. Filters must all hold; several values of one filter are alternatives.
    """
    wanted = searching.Query(
        text=q,
        like=(id,) if id else (),
        mode=mode,
        k=k,
        within_operation=within == "operation",
        filters=filters,
    )
    searching.check(wanted)
    opened = deps.searches.get(dataset)
    hits = searching.search(opened, wanted)
    return Json(
        {"snapshot": opened.snapshot.number, "mode": mode, "hits": [hit.as_dict() for hit in hits]},
        headers={"Cache-Control": "no-cache"},
    )
