"""What an index has to do: which records are pending, which of their texts have a vector, and batches of the others.

Each pending text is read and hashed here once; later steps work on what was learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.errors import DimensionMismatch, ModelChanged
from components.index.batches import EmbedBatch, UnknownTexts, cut_batches
from components.index.context import IndexContext
from components.retry import retry_while_busy
from components.store.index_requests import IndexRequest
from components.store.layouts import LayoutInfo
from components.store.records import Stored
from components.store.tables import RecordState
from components.text import digest

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRecords:
    """Parallel arrays (n,) in order of arrival; `vector_ids` is -1 where the text has no vector yet."""

    seqs: Ids
    vector_ids: Ids
    unknown: UnknownTexts  # of the records whose text has no vector, in the same order


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One pass of an index. `layout` is the published one; `is_other_space`: the settings ask for other vectors."""

    layout: LayoutInfo | None
    is_other_space: bool
    recompute: bool
    request: IndexRequest  # that is fulfilled with this pass
    pending: PendingRecords
    batches: Sequence[EmbedBatch]
    n_texts: int  # distinct texts in all batches
    n_tokens: int  # estimated, of these

    @property
    def records(self) -> int:
        return len(self.pending.seqs)

    @property
    def reused(self) -> int:
        """Records whose text has a vector, or gets it from another record."""
        return self.records - self.n_texts

    @property
    def states(self) -> tuple[RecordState, ...]:
        """The states of the records that this pass places."""
        return states_of(is_other_space=self.is_other_space)


def make_plan(context: IndexContext, *, is_first: bool) -> Plan:
    """The plan of the next pass. What the caller requested is part of the first; requests of others of any.

    Raises `ModelChanged` or `DimensionMismatch` if the model or text settings changed and no recompute was requested.
    """
    return retry_while_busy(lambda: _make_plan(context, is_first=is_first))


def _make_plan(context: IndexContext, *, is_first: bool) -> Plan:
    target, store = context.target, context.target.store
    request = store.index_requests.open(target.dataset)
    if request.retry_failed or (is_first and context.requested.retry_failed):
        store.records.retry_failed(target.fence, target.dataset_id)
    recompute = request.recompute or (is_first and context.requested.recompute)
    layout = store.layouts.current(target.dataset_id)
    is_other_space = _is_other_space(context, layout, recompute=recompute)
    pending = _pending(context, states_of(is_other_space=is_other_space))
    distinct = pending.unknown.distinct()
    if len(pending.seqs) and (layout is None or recompute):
        context.projector.prepare_fit()
    return Plan(
        layout=layout,
        is_other_space=is_other_space,
        recompute=recompute,
        request=request,
        pending=pending,
        batches=cut_batches(distinct.seqs, distinct.tokens),
        n_texts=len(distinct.seqs),
        n_tokens=int(distinct.tokens.sum()),
    )


def states_of(*, is_other_space: bool) -> tuple[RecordState, ...]:
    """Pending records; if all vectors change, the indexed ones as well."""
    return (RecordState.WAITING, RecordState.INDEXED) if is_other_space else (RecordState.WAITING,)


def _pending(context: IndexContext, states: Sequence[RecordState]) -> PendingRecords:
    seqs: list[Ids] = [np.empty(0, np.int64)]
    vector_ids: list[Ids] = [np.empty(0, np.int64)]
    unknown: list[UnknownTexts] = []
    done = 0
    for batch in context.target.store.records.stream(context.target.dataset_id, *states):
        ids, texts = _looked_up(context, batch)
        seqs.append(np.array([stored.seq for stored in batch], np.int64))
        vector_ids.append(ids)
        unknown.append(texts)
        done += len(batch)
        context.report("fetch", done, 0)
    return PendingRecords(
        seqs=np.concatenate(seqs), vector_ids=np.concatenate(vector_ids), unknown=UnknownTexts.joined(unknown)
    )


def _looked_up(context: IndexContext, batch: Sequence[Stored]) -> tuple[Ids, UnknownTexts]:
    """The vectors of a batch of records, and the texts that have none."""
    target = context.target
    texts = [target.text(stored.record) for stored in batch]
    digests = [digest(text) for text in texts]
    known = target.store.vectors.known(target.model_id, digests)
    unknown = UnknownTexts.of(
        (stored.seq, name, len(text))
        for stored, name, text in zip(batch, digests, texts, strict=True)
        if name not in known
    )
    return np.array([known.get(name, -1) for name in digests], np.int64), unknown


def _is_other_space(context: IndexContext, layout: LayoutInfo | None, *, recompute: bool) -> bool:
    """Do the settings ask for other vectors than those of the map? Raises `ModelChanged` unless it is to be rebuilt."""
    target = context.target
    if layout is None or (layout.model_id == target.model_id and layout.text_hash == context.text_hash):
        return False
    if recompute:
        return True
    model, dim = target.store.vectors.model(layout.model_id)
    identity, own_dim = target.embedder.identity, target.embedder.dim
    if model == identity and dim != own_dim:
        raise DimensionMismatch(
            f'Model {model} gives {own_dim} dimensions, the map of dataset "{target.dataset}" was made of '
            f"{dim}; index with recompute=true (runatlas index --recompute) if the model was changed on purpose."
        )
    what = f"model {identity}" if model != identity else "other text settings"
    raise ModelChanged(
        f'The map of dataset "{target.dataset}" was made by model {model} ({dim} dimensions), the settings now '
        f"specify {what}. Index with recompute=true (runatlas index --recompute) to rebuild the map; the old one "
        "stays published until then. Or restore the model and text settings."
    )


def still_in(context: IndexContext, plan: Plan) -> NDArray[np.bool_]:
    """Which planned records are still in the states that are placed, (n,): a load may have superseded some."""
    found = [np.array(batch, np.int64) for batch in _seqs(context, plan)]
    return np.isin(plan.pending.seqs, np.concatenate([np.empty(0, np.int64), *found]), assume_unique=True)


def _seqs(context: IndexContext, plan: Plan) -> Iterator[list[int]]:
    return context.target.store.records.stream_seqs(context.target.dataset_id, *plan.states)
