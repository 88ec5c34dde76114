"""The two sets of runs: by filters, apart from each other, and none of them empty."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.compare.material import Material
from components.errors import BadQuery
from components.search.filters import Filters
from components.search.rows import accepted_rows
from components.snapshot.read import Snapshot
from components.store import Store

A, B, NEITHER = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which runs are in A (runs,), and which in B."""

    a: NDArray[np.bool_]
    b: NDArray[np.bool_]


def choose_sets(
    store: Store, dataset_id: int, snapshot: Snapshot, material: Material, a: Filters, b: Filters | None
) -> Chosen:
    """The runs of both sets; without filters for B it is all other runs.

    Raises `BadQuery` if a set has no run, with the filter that removed them, or if the sets overlap, with the number.
    """
    in_a = _runs_of(store, dataset_id, snapshot, material, a, "a")
    if b is None:
        if in_a.all():
            raise BadQuery(f"Set a ({a or 'no filter'}) holds all {len(in_a):,} runs, so none is left for set b.")
        return Chosen(a=in_a, b=~in_a)
    in_b = _runs_of(store, dataset_id, snapshot, material, b, "b")
    if n := int((in_a & in_b).sum()):
        raise BadQuery(
            f"The sets overlap: {n:,} runs are in set a ({a or 'no filter'}) and in set b ({b or 'no filter'}), "
            f"which hold {int(in_a.sum()):,} and {int(in_b.sum()):,}. Give filters that no run passes both of."
        )
    return Chosen(a=in_a, b=in_b)


def _runs_of(
    store: Store, dataset_id: int, snapshot: Snapshot, material: Material, filters: Filters, name: str
) -> NDArray[np.bool_]:
    found = _passing(store, dataset_id, snapshot, material, filters)
    if found.any():
        return found
    if not material.n_runs:
        raise BadQuery("The newest snapshot holds no record, so there is no run to compare.")
    counts = [(one, int(_passing(store, dataset_id, snapshot, material, one).sum())) for one in filters.parts()]
    nobody = [str(one) for one, n in counts if not n]
    if nobody:
        raise BadQuery(f"Set {name} has no run: none of {material.n_runs:,} passes {' nor '.join(nobody)}.")
    alone = "; ".join(f"{one}: {n:,}" for one, n in counts)
    raise BadQuery(f"Set {name} has no run: no record passes all filters at once. Runs that pass one of them: {alone}.")


def _passing(
    store: Store, dataset_id: int, snapshot: Snapshot, material: Material, filters: Filters
) -> NDArray[np.bool_]:
    """Runs with a record that passes, which began within the time (a run that lasts over midnight is in one week)."""
    of_records = replace(filters, since=None, until=None)
    passing = np.ones(material.n_runs, np.bool_)
    if of_records:
        rows = accepted_rows(store, dataset_id, snapshot, of_records)
        passing = np.bincount(material.run[rows], minlength=material.n_runs) > 0
    if filters.since:
        passing = passing & (material.started >= filters.since.timestamp())
    if filters.until:
        passing = passing & (material.started < filters.until.timestamp())
    return np.asarray(passing, np.bool_)
