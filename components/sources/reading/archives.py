"""Zip archives, whose members are documents: each is read once, by its name and checksum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from components.contracts import Batch, Cursor, Defect, Json, Skipped
from components.errors import NotReady
from components.sources import cursors, zips
from components.sources.documents import only_value
from components.sources.formats.contract import Format, Read
from components.sources.opener import Opened
from components.sources.reading.batches import BatchBuilder, Job, safely, spelled

NO_RUN: Final = Skipped(rule="archive member that holds no run")


def from_archive(job: Job, opened: Opened, state: dict[str, Json]) -> Iterator[Batch]:
    """Batches of the members that were not read before; `state["members"]` is name -> checksum of those that were."""
    listing = zips.listing(opened)
    _expect_end(job, opened, listing)
    finished: dict[str, int] = dict(state.get("members", {}))
    begun: dict[str, Any] = dict(state.get("begun", {}))
    batch = BatchBuilder(job=job)
    is_first_look = not finished and not begun
    for member in listing.members:
        if not _holds_run(job.format, member.name):
            if is_first_look:
                batch.add(NO_RUN, 0)
            continue
        if finished.get(member.name) == member.crc:
            continue
        skip = begun["items"] if begun.get("crc") == member.crc and begun.get("name") == member.name else 0
        batch.size_bytes += member.packed_bytes
        for n, got in enumerate(safely(job.format.name, partial(_member_items, job, opened, member)), start=1):
            if n > skip:
                batch.add(got, n - 1)
            else:
                job.maker.pass_over(got)
            if batch.is_full:
                begun = {"name": member.name, "crc": member.crc, "items": n}
                yield batch.take(_cursor(job, opened, finished, begun, listed=""))
        finished[member.name] = member.crc
        begun = {}
    last = _cursor(job, opened, finished, {}, listed=cursors.listing_digest(listing.members))
    if listing.whole:
        yield batch.take(last)
        return
    yield batch.take(replace(last, state={**last.state, "waits": True}))
    raise NotReady("The archive has no directory; it is being written or was cut short. Its whole members were read.")


def _holds_run(format: Format, name: str) -> bool:
    return format.takes is None or format.takes(name)


def _member_items(job: Job, opened: Opened, member: zips.Member) -> Iterable[Read]:
    assert job.format.read_member is not None
    try:
        value = only_value(zips.content(opened, member, job.settings.max_item_bytes))
    except ValueError as error:
        return [Defect(offset=0, reason=f"{member.name}: {error}")]
    return job.format.read_member(member.name, value, job.options)


def _expect_end(job: Job, opened: Opened, listing: zips.Listing) -> None:
    """Raises `NotReady` unless the archive carries its end mark or has not changed for a while."""
    if job.is_quiet(opened):
        return
    for member in listing.members:
        if member.name == job.format.end_member:
            try:
                end = job.format.end(orjson.loads(zips.content(opened, member, job.settings.max_item_bytes)))
            except Exception as error:  # whatever a format raises on what the member holds
                raise NotReady(f"The archive's end can't be read: {spelled(error)}") from error
            if end.mark:
                return
            raise NotReady(f"The archive may still be written: {end.reason}. {job.waits_until_quiet}")
    raise NotReady(f"The archive may still be written: its end mark is missing. {job.waits_until_quiet}")


def _cursor(job: Job, opened: Opened, finished: Mapping[str, int], begun: Mapping[str, Any], *, listed: str) -> Cursor:
    """`listed` is the digest of the archive's listing once all of it was read, "" before."""
    state: dict[str, Json] = {"kind": "archive", "shape": "archive", "members": dict(finished)}
    return Cursor(
        format=job.format.name,
        size_bytes=opened.size_bytes if listed else 0,
        mtime_ns=opened.mtime_ns if listed else 0,
        ctime_ns=opened.ctime_ns if listed else 0,
        birth_ns=opened.birth_ns,
        inode=opened.inode,
        content=listed,
        state={**state, "begun": dict(begun)} if begun else state,
    )
