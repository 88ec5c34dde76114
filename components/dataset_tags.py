"""Tags on the records of a dataset, as people give and remove them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from components.errors import BadQuery, NotFound
from components.retry import retry_while_busy
from components.store import Store
from components.store.tags import TagChange
from components.store.values import storable

MAX_TAG_CHARS = 100
MAX_NOTE_CHARS = 10_000
MAX_IDS = 1_000_000  # tagged at once


def tag_records(
    store: Store, dataset: str, dataset_id: int, tag: str, ids: Sequence[str], *, note: str = ""
) -> TagChange:
    """Give records a tag, all of them or none.

    Raises `BadQuery` for a tag or note that can't be used, `NotFound` for an id that the dataset does not have.
    """
    name, noted = usable_tag(tag), _usable_note(note)
    if not ids:
        raise BadQuery("There is nothing to tag: no record passes the filters.")
    if len(ids) > MAX_IDS:
        raise BadQuery(f"{len(ids):,} records are to be tagged; at most {MAX_IDS:,} are possible at once.")
    unknown = retry_while_busy(lambda: store.tags.unknown(dataset_id, ids))
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise NotFound(f'Dataset "{dataset}" has no record {unknown[0][:100]!r}{more}; nothing was tagged.')
    return retry_while_busy(lambda: store.tags.put(dataset_id, name, noted, ids))


def untag_records(store: Store, dataset: str, dataset_id: int, tag: str, ids: Sequence[str] | None = None) -> int:
    """Take a tag from these records, or from all; returns how many had it. Raises `NotFound` for a tag that is not used."""
    name = usable_tag(tag)
    if not retry_while_busy(lambda: store.tags.count(dataset_id, name)):
        raise NotFound(
            f'No record of dataset "{dataset}" has the tag {name!r}; `runatlas tags -d {dataset}` lists them.'
        )
    return retry_while_busy(lambda: store.tags.remove(dataset_id, name, ids))


def usable_tag(tag: str) -> str:
    """The tag with single spaces and in one spelling of its characters. Raises `BadQuery` for one that can't be used.

    >>> usable_tag("  to   read ")
    'to read'
    """
    plain = " ".join(unicodedata.normalize("NFC", storable(tag)).split())
    if not plain.isprintable():
        raise BadQuery(f"The tag {tag[:MAX_TAG_CHARS]!r} holds characters that can't be seen: leave them out.")
    if not any(c.isalnum() for c in plain) or len(plain) > MAX_TAG_CHARS:
        shown = f"{tag[:MAX_TAG_CHARS]!r}{'…' if len(tag) > MAX_TAG_CHARS else ''}"
        raise BadQuery(
            f"The tag {shown} has {len(plain):,} characters: give 1 to {MAX_TAG_CHARS}, with a letter or digit among them."
        )
    return plain


def _usable_note(note: str) -> str:
    if len(note) > MAX_NOTE_CHARS:
        raise BadQuery(f"The note has {len(note):,} characters; at most {MAX_NOTE_CHARS:,} are possible.")
    return storable(note).strip()
