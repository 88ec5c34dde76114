"""Uploads become datasets, and leave again: after some hours, or when there are too many, the least recently used first."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from components.atomic import fsync_file, fsync_folder, make_folder, replace
from components.store.surveys import SurveyInfo
from components.survey.table import Table, warnings_of

NAME_CHARS: Final = 120  # of an uploaded file's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was accepted as a dataset."""

    dataset_id: str
    columns: Sequence[str]
    text_column: str
    rows: int
    warnings: Sequence[str]


def new_dataset_name() -> str:
    """A name that nobody guesses: whoever knows it can see the dataset."""
    return f"upload-{secrets.token_hex(8)}"


def keep_file(received: Path, target: Path) -> None:
    """Give a received file its name, durably."""
    make_folder(target.parent)
    fsync_file(received)
    replace(received, target)
    fsync_folder(target.parent)


def upload_of(dataset: str, table: Table) -> Upload:
    """What the answer to the upload says."""
    return Upload(
        dataset_id=dataset,
        columns=table.names,
        text_column=table.names[table.text_index],
        rows=table.rows,
        warnings=warnings_of(table),
    )


def plain_name(file_name: str) -> str:
    r"""The name of a file without folders and what no page should show.

    >>> plain_name("C:\\Users\\me\\a\x00b.csv"), plain_name("../../etc/passwd"), plain_name("")
    ('ab.csv', 'passwd', 'upload.csv')
    """
    last = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in last if c.isprintable()).strip(" .")[-NAME_CHARS:]
    return shown or "upload.csv"


def expired(
    surveys: Sequence[SurveyInfo], pinned: Sequence[str], *, now: datetime, ttl_h: float, keep: int
) -> list[SurveyInfo]:
    """The surveys that are to be deleted: old ones, and of the others all but `keep`, the least recently used first.

    `surveys` are in the order of their use. Those that are `pinned` stay and do not count; one that is still being made is
    never too many.
    """
    own = [survey for survey in surveys if survey.dataset not in pinned]
    old = [survey for survey in own if survey.created_at < now - timedelta(hours=ttl_h)]
    young = [survey for survey in own if survey not in old]
    idle = [survey for survey in young if survey.status != "processing"]
    return [*old, *idle[: max(0, len(young) - keep)]]


def utc_now() -> datetime:
    """The time now."""
    return datetime.now(UTC)
