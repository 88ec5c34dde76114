"""Documents that are rewritten without their oldest items: what is left keeps its positions, and numbering continues.

A format numbers a document from its start. Where the store has that start at later positions, since older items came
before it then, the records get the positions that they had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from components.contracts import Batch, Record, Said, said_digest, with_occurrence

Runs = Mapping[str, Sequence[Said]]  # filename -> its records, in order of their positions


def kept(old: Sequence[int], new: Sequence[int]) -> tuple[int, int]:
    """How many of the first items stayed, and how many older ones were dropped after them, (n, 0) if none were.

    Items were dropped if what follows the first ones is the whole end of the old list.

    >>> kept([1, 2, 3, 4], [1, 2, 3, 4, 5]), kept([1, 2, 3, 4], [3, 4, 5]), kept([1, 2, 3, 4], [1, 4, 5])
    ((4, 0), (0, 2), (1, 2))
    >>> kept([1, 2, 3, 4], [1, 9, 4, 5])
    (1, 0)
    """
    n = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    if n in {len(old), len(new)}:
        return n, 0
    for start in range(n + 1, len(old)):
        if old[start] == new[n] and len(old) - start <= len(new) - n and old[start:] == new[n : n + len(old) - start]:
            return n, start - n
    return n, 0


def sequence(batches: Iterable[Batch]) -> dict[str, list[Said]]:
    """The records of batches as they come, by run."""
    runs: dict[str, list[Said]] = defaultdict(list)
    for record in (record for batch in batches for record in batch.records):
        said = Said(record.iteration, record.idx_in_iteration, said_digest(record.type, record.text))
        runs[record.filename].append(said)
    return runs


def renumbered(batches: Sequence[Batch], whole: Runs, old: Runs) -> Iterator[Batch]:
    """The batches, with the positions that `old` has for known records. They are the end of the `whole` document."""
    positions = {run: _positions(old.get(run, ()), said) for run, said in whole.items()}
    left = {run: len(said) for run, said in sequence(batches).items()}
    for batch in batches:
        records = []
        for record in batch.records:
            run = record.filename
            records.append(_at(record, positions[run][len(positions[run]) - left[run]]))
            left[run] -= 1
        yield replace(batch, records=records)


def _positions(old: Sequence[Said], new: Sequence[Said]) -> list[tuple[int, int]]:
    """(iteration, idx) of each new record: its old one, or as far behind the last known record as in the document."""
    own = [(one.iteration, one.idx_in_iteration) for one in new]
    n, dropped = kept([one.digest for one in old], [one.digest for one in new])
    known = [*old[:n], *(old[n + dropped :] if dropped else ())]
    if not known or own != sorted(own):
        return own
    before, then = new[len(known) - 1], known[-1]
    idx = then.idx_in_iteration - before.idx_in_iteration
    more = [
        (
            one.iteration - before.iteration + then.iteration,
            one.idx_in_iteration + idx * (one.iteration == before.iteration),
        )
        for one in new[len(known) :]
    ]
    return [*((one.iteration, one.idx_in_iteration) for one in known), *more]


def _at(record: Record, position: tuple[int, int]) -> Record:
    iteration, idx = position
    if position == (record.iteration, record.idx_in_iteration):
        return record
    return with_occurrence(record._replace(iteration=iteration, idx_in_iteration=idx), 0)
