"""What one pass of an index has to do: the pending records, their vectors as far as known, and batches of the rest.

Each pending text is read and hashed once, here; the later steps use what was learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
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
class Pending:
    """The pending records: parallel arrays (n,) in order of arrival; `vector_ids` is -1 where there is no vector yet.

    `unknown` has the records without a vector, in the same order.
    """

    seqs: Ids
    vector_ids: Ids
    unknown: UnknownTexts


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One pass of an index. `layout` is the published one; `is_other_space`: the settings ask for other vectors."""

    layout: LayoutInfo | None
    is_other_space: bool
    recompute: bool
    renew_topics: bool
    request: IndexRequest  # done by this pass
    pending: Pending
    batches: Sequence[EmbedBatch]
    n_texts: int  # distinct texts in all batches
    n_tokens: int  # of these, estimated

    @property
    def records(self) -> int:
        """How many records are pending."""
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
    """The plan of the next pass. What the caller requested is part of the first pass, open requests of any.

    Raises `ModelChanged` or `DimensionMismatch` if the model or text settings changed and no recompute is requested.
    """
    return retry_while_busy(lambda: _make_plan(context, is_first=is_first))


def _make_plan(context: IndexContext, *, is_first: bool) -> Plan:
    target, store = context.target, context.target.store
    request = store.index_requests.open(context.dataset)
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
        renew_topics=request.renew_topics or (is_first and context.requested.renew_topics),
        request=request,
        pending=pending,
        batches=cut_batches(distinct),
        n_texts=len(distinct.seqs),
        n_tokens=int(distinct.tokens.sum()),
    )


def states_of(*, is_other_space: bool) -> tuple[RecordState, ...]:
    """The states of pending records; if all vectors change, the indexed ones are pending as well."""
    return (RecordState.WAITING, RecordState.INDEXED) if is_other_space else (RecordState.WAITING,)


def _pending(context: IndexContext, states: Sequence[RecordState]) -> Pending:
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
    return Pending(
        seqs=np.concatenate(seqs), vector_ids=np.concatenate(vector_ids), unknown=UnknownTexts.joined(unknown)
    )


def _looked_up(context: IndexContext, batch: Sequence[Stored]) -> tuple[Ids, UnknownTexts]:
    """The vectors of a batch of records, -1 where there is none, and the texts of these."""
    target = context.target
    texts = [target.prepared(stored.record) for stored in batch]
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
            f'Model {model} gives {own_dim} dimensions, the map of dataset "{context.dataset}" was fitted with '
            f"{dim}; index with recompute=true (runatlas index --recompute) if the model was changed on purpose."
        )
    what = f"model {identity}" if model != identity else "other text settings"
    raise ModelChanged(
        f'The map of dataset "{context.dataset}" was made by model {model} ({dim} dimensions), the settings now '
        f"specify {what}. Index with recompute=true (runatlas index --recompute) to rebuild the map; the old one "
        "stays published until then. Or restore the model and text settings."
    )
