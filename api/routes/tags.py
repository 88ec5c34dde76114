"""Tags that people put on records."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from api.dependencies import Dependencies, Deps
from api.inputs import DatasetName
from api.problems import Problem
from api.responses import Json
from api.selection import Chosen, chosen_ids
from components.dataset_tags import MAX_NOTE_CHARS, MAX_TAG_CHARS, tag_records, untag_records, usable_tag

router = APIRouter(tags=["data"])

Name = Annotated[
    str, Field(min_length=1, max_length=4 * MAX_TAG_CHARS, description=f"The tag, 1 to {MAX_TAG_CHARS} characters.")
]


class Tagging(Chosen):
    """A tag for the chosen records. A note replaces that of records which have the tag."""

    tag: Name
    note: Annotated[str, Field(max_length=MAX_NOTE_CHARS)] = ""


class Untagging(Chosen):
    """A tag that is taken from the chosen records; from all, if none are chosen."""

    tag: Name


@router.get("/datasets/{dataset}/tags", response_class=Json, summary="List the tags")
def tags(deps: Deps, dataset: DatasetName) -> Json:
    """The tags of the dataset's records, those that were given last first; `note` is the newest."""
    number = deps.state.dataset_id(dataset)
    found = deps.state.with_store(lambda store: store.tags.all(number) if number is not None else [])
    return Json({"tags": [asdict(tag) for tag in found]}, headers={"Cache-Control": "no-store"})


@router.post("/datasets/{dataset}/tags", summary="Tag records")
def tag(deps: Deps, dataset: DatasetName, body: Tagging) -> dict[str, Any]:
    """Give the chosen records a tag: all of them, or none if one is unknown. Records keep their tags whatever happens to the map."""
    number, name = _dataset_id(deps, dataset), usable_tag(body.tag)
    ids = chosen_ids(deps, dataset, body)
    done = deps.state.with_store(lambda store: tag_records(store, dataset, number, name, ids, note=body.note))
    return {"tag": name, **asdict(done)}


@router.delete("/datasets/{dataset}/tags", summary="Remove a tag")
def untag(deps: Deps, dataset: DatasetName, body: Untagging) -> dict[str, Any]:
    """Take a tag from the chosen records, or from all."""
    number, name = _dataset_id(deps, dataset), usable_tag(body.tag)
    ids = chosen_ids(deps, dataset, body) if body.is_given else None
    removed = deps.state.with_store(lambda store: untag_records(store, dataset, number, name, ids))
    left = deps.state.with_store(lambda store: store.tags.count(number, name))
    return {"tag": name, "removed": removed, "count": left}


def _dataset_id(deps: Dependencies, dataset: str) -> int:
    number = deps.state.dataset_id(dataset)
    if number is None:
        raise Problem(404, "not-found", f"Nothing was loaded into dataset {dataset!r} yet.")
    return number
