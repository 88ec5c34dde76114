"""Index, step by step: plan, embed, place, publish, under a lease. Both conductors call exactly this."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from components.atomic import disk_errors
from components.contracts import (
    Embedder,
    IndexReport,
    IndexSeconds,
    Layout,
    Placed,
    Places,
    Progress,
    Projector,
    Record,
    Step,
    TokenProgress,
)
from components.errors import (
    Cancelled,
    DimensionMismatch,
    EmbeddingFailed,
    LeaseHeld,
    ModelChanged,
    NotFound,
    ServiceUnavailable,
    TransientError,
)
from components.index.batches import (
    EmbedOutcome,
    EmbedPlan,
    EmbedTask,
    Foreseen,
    Waiting,
    added,
    checked,
    commit_groups,
    cut_tasks,
    estimated_tokens,
)
from components.neighbors.cores import on_all_cores
from components.projector.geometry import placement
from components.projector.layout import FittedMap, read_folder, write_folder
from components.publish.run import Published, Publishing
from components.retry import longest_wait_s, retry_while_busy
from components.settings import DatasetSettings, Settings
from components.store import Store, Tally, lease_name
from components.store.layouts import LayoutInfo, Positions
from components.store.lease import Fence, Heartbeat
from components.store.records import Stored
from components.store.tables import RecordState
from components.text import digest, prepared_text, settings_hash

logger = logging.getLogger(__name__)

place_rows = 4_096  # vectors placed at once, on each core
canary = "Is the embedding service there?"

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Records and their vectors: parallel arrays (n,)."""

    seqs: Ids
    vector_ids: Ids


class Indexing:
    """One index of one dataset. A context manager: it holds the dataset's lease from entry to exit."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        projector: Projector,
        dataset: str,
        settings: Settings,
        *,
        owner: str,
        recompute: bool = False,
        retry_failed: bool = False,
        progress: Progress | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.store = store
        self.embedder = embedder
        self.projector = projector
        self.dataset = dataset
        self.settings = settings
        self.dataset_settings: DatasetSettings = settings.dataset(dataset)
        self.owner = owner
        self.recompute = recompute
        self.retry_failed = retry_failed
        self.should_stop = should_stop or (lambda: False)
        self._listener = progress
        self._seconds = dict.fromkeys(("fetch", "embed", "project", "publish"), 0.0)
        self._counts = dict.fromkeys(("records", "embedded", "reused", "failed", "shortened"), 0)
        self._step: Step = "none"
        self._placed = False
        self._published: Published | None = None
        self._done = self._total = 0
        self._tokens = Foreseen(of=0)
        self._started = time.monotonic()

    # --- lease

    def __enter__(self) -> Self:
        dataset_id = retry_while_busy(lambda: self.store.ledger.dataset_id(self.dataset, create=True))
        assert dataset_id is not None
        self.dataset_id: int = dataset_id
        try:
            self.fence: Fence = retry_while_busy(
                lambda: self.store.leases.acquire(lease_name(self.dataset), self.owner)
            )
        except LeaseHeld as held:
            raise self._left_to_the_other(held) from held
        self.heartbeat = Heartbeat(self.store.leases, self.fence)
        self.heartbeat.__enter__()
        try:
            retry_while_busy(self._begin)
        except BaseException:
            self.heartbeat.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.heartbeat.__exit__()

    def _left_to_the_other(self, held: LeaseHeld) -> LeaseHeld:
        """The same error, where more was asked for than to go on: that is left to whoever indexes next."""
        wishes = self.store.index_requests
        if not retry_while_busy(
            lambda: wishes.ask(self.dataset, recompute=self.recompute, retry_failed=self.retry_failed)
        ):
            return held
        names = [name for name in ("recompute", "retry_failed") if getattr(self, name)]
        return LeaseHeld(f"{held} It does {' and '.join(names)} as well, or the next index does.")

    def _take_over_wishes(self) -> None:
        """What was asked for and turned away, before this index began or since, is done by it."""
        self._wish = self.store.index_requests.open(self.dataset)
        if self._wish.recompute:
            self.recompute, self._placed = True, False
        if self._wish.retry_failed:
            self.store.records.retry_failed(self.fence, self.dataset_id)

    def _begin(self) -> None:
        self.text_hash = settings_hash(self.dataset_settings.text)
        self.layout = self.store.layouts.current(self.dataset_id)
        self.publishing = Publishing(
            self.store,
            self.fence,
            dataset=self.dataset,
            dataset_id=self.dataset_id,
            home=self.settings.home,
            output=self.settings.output / self.dataset,
            settings=self.settings.publish,
            extras=self.dataset_settings.extras,
        )
        self.publishing.claim()
        self.store.layouts.drop_unfinished(self.fence, self.dataset_id)
        self.publishing.finish()
        self._take_over_wishes()
        self.model_id = self.store.vectors.model_id(self.embedder.identity, self._dim())
        self.is_other_space = self._is_other_space()
        if self.retry_failed:
            self.store.records.retry_failed(self.fence, self.dataset_id)

    def _dim(self) -> int:
        """The model's dimension; a service may have to be asked for it, and asked again."""
        settings = self.settings.embed
        for attempt in range(settings.retries):
            try:
                return self.embedder.dim
            except TransientError as error:
                logger.warning("%s", error)
                self._tell("embed", 0, 0)
                time.sleep(max(min(error.retry_after_s or 0.0, longest_wait_s), settings.backoff_s * 2**attempt))
        return self.embedder.dim

    def _is_other_space(self) -> bool:
        """Do the settings ask for other vectors than those of the map? Raises `ModelChanged` if nobody said so."""
        if self.layout is None:
            return False
        model, dim = self.store.vectors.model(self.layout.model_id)
        if self.layout.model_id == self.model_id and self.layout.text_hash == self.text_hash:
            return False
        if not self.recompute and model == self.embedder.identity and dim != self.embedder.dim:
            raise DimensionMismatch(
                f'Model {model} gives {self.embedder.dim} dimensions, the map of dataset "{self.dataset}" was made of '
                f"{dim}; index with recompute=true (runatlas index --recompute) if the model was changed on purpose."
            )
        if not self.recompute:
            what = f"model {self.embedder.identity}" if model != self.embedder.identity else "other text settings"
            raise ModelChanged(
                f'The map of dataset "{self.dataset}" was made by model {model} ({dim} dimensions), the settings now '
                f"say {what}. Index with recompute=true (runatlas index --recompute) to make the map anew; the old one "
                "stays published until then. Or set the model and text settings back."
            )
        return True

    def _tell(self, step: str, done: int, total: int) -> None:
        self.heartbeat.tell(step, done, total)
        if self._listener:
            self._listener(step, done, total)
        if self.should_stop():
            raise Cancelled(f"The index of {self.dataset} was asked to stop; what is done stays done.")

    # --- fetch

    def plan(self) -> EmbedPlan:
        """The texts that have no vector yet, cut into tasks of similar length; reads only."""
        return retry_while_busy(self._plan)

    def _plan(self) -> EmbedPlan:
        started = time.monotonic()
        self._take_over_wishes()
        missing: list[Waiting] = []
        records = 0
        for batch in self._stream():
            digests = self._digests(batch)
            known = self.store.vectors.known(self.model_id, [d for d, _ in digests])
            unknown = [(s.seq, d, n) for s, (d, n) in zip(batch, digests, strict=True) if d not in known]
            missing.append(Waiting.of(unknown))
            records += len(batch)
            self._tell("fetch", records, 0)
        distinct = Waiting.joined(missing).distinct()
        tasks = cut_tasks(distinct.seqs, distinct.tokens)
        if records and (self.layout is None or self.recompute):
            self.projector.prepare_fit()
        self._total, self._done = len(distinct.seqs), 0
        self._tokens = Foreseen(of=int(distinct.tokens.sum()))
        self._counts["records"] += records
        self._counts["reused"] += records - len(distinct.seqs)
        self._seconds["fetch"] += time.monotonic() - started
        return EmbedPlan(tasks=tasks, records=records, reused=records - len(distinct.seqs))

    def _states(self) -> tuple[RecordState, ...]:
        return (RecordState.WAITING, RecordState.INDEXED) if self.is_other_space else (RecordState.WAITING,)

    def _stream(self) -> Iterator[list[Stored]]:
        return self.store.records.stream(self.dataset_id, *self._states())

    def _text(self, record: Record) -> str:
        return prepared_text(record, self.dataset_settings.text)

    def _digests(self, batch: Sequence[Stored]) -> list[tuple[bytes, int]]:
        texts = [self._text(stored.record) for stored in batch]
        return [(digest(text), len(text)) for text in texts]

    # --- embed

    def embed(self, task: EmbedTask, *, is_last_try: bool = False) -> EmbedOutcome:
        """Embed one task's texts, committing every few seconds; what is there already is not paid for again.

        Raises `TransientError` where another try may help; on the last try the texts that fail are singled out and
        set aside instead, unless the model is down altogether.
        """
        started = time.monotonic()
        try:
            outcome = self._embed(task, is_last_try=is_last_try)
        finally:
            self._seconds["embed"] += time.monotonic() - started
        self._counts["embedded"] += outcome.embedded
        self._counts["failed"] += outcome.failed
        self._counts["shortened"] += outcome.n_shortened
        return outcome

    def _embed(self, task: EmbedTask, *, is_last_try: bool) -> EmbedOutcome:
        stored = retry_while_busy(lambda: self.store.records.by_seq(task.seqs))
        texts = {digest(text): (s.seq, text) for s in stored for text in [self._text(s.record)]}
        known = retry_while_busy(lambda: self.store.vectors.known(self.model_id, list(texts)))
        wanted = sorted((len(text), name) for name, (_, text) in texts.items() if name not in known)
        total = EmbedOutcome()
        for group in commit_groups([(name, n) for n, name in wanted]):
            part = self._embed_group({name: texts[name] for name in group}, is_last_try=is_last_try)
            total = added(total, part)
            self._done += len(group)
            self._tokens = self._tokens.after(part.n_tokens, sum(estimated_tokens(len(texts[d][1])) for d in group))
            if isinstance(self._listener, TokenProgress):
                self._listener.tokens(self._tokens.done, self._tokens.total)
            self._tell("embed", self._done, self._total)
        return total

    def _embed_group(self, texts: Mapping[bytes, tuple[int, str]], *, is_last_try: bool) -> EmbedOutcome:
        """Embed and commit these texts (digest -> seq, text); halve the group until what fails stands alone."""
        began = time.monotonic()
        try:
            embedded = self.embedder.embed([text for _, text in texts.values()])
            vectors = checked(embedded.vectors, len(texts), self.embedder)
        except (EmbeddingFailed, TransientError) as error:
            if isinstance(error, TransientError) and not is_last_try:
                raise
            self._expect_alive(error)
            if len(texts) == 1:
                return self._set_aside(texts, error)
            items = list(texts.items())
            middle = len(items) // 2
            return added(
                self._embed_group(dict(items[:middle]), is_last_try=is_last_try),
                self._embed_group(dict(items[middle:]), is_last_try=is_last_try),
            )
        took = Tally(dataset_id=self.dataset_id, tokens=embedded.n_tokens, seconds=time.monotonic() - began)
        retry_while_busy(lambda: self.store.vectors.put(self.fence, self.model_id, list(texts), vectors, took))
        return EmbedOutcome(embedded=len(texts), n_tokens=embedded.n_tokens, n_shortened=embedded.n_shortened)

    def _expect_alive(self, error: Exception) -> None:
        """Raises `ServiceUnavailable` if the model does not even embed a short plain text: then no text is to blame."""
        try:
            checked(self.embedder.embed([canary]).vectors, 1, self.embedder)
        except (TransientError, EmbeddingFailed, DimensionMismatch) as still:
            is_down = isinstance(still, TransientError)
            raise ServiceUnavailable(
                f"The embedding model {self.embedder.identity} {'is down' if is_down else 'gives no vectors'}: {error} "
                "Nothing is lost; the next index goes on where this one stopped.",
                retry_after_s=still.retry_after_s if isinstance(still, TransientError) else None,
            ) from error

    def _set_aside(self, texts: Mapping[bytes, tuple[int, str]], error: Exception) -> EmbedOutcome:
        digests = {seq: name for name, (seq, _) in texts.items()}
        logger.warning("A text could not be embedded and is skipped (record seq %s): %s", list(digests), error)
        retry_while_busy(lambda: self.store.records.fail(self.fence, self.dataset_id, digests, str(error)))
        return EmbedOutcome(failed=len(texts))

    # --- place

    def place(self) -> Step:
        """Give every record that has a vector a place: fit, refit or transform, whatever the data asks for."""
        return retry_while_busy(self._place)

    def _place(self) -> Step:
        started = time.monotonic()
        waiting = self._waiting_links()
        step = "none" if self._is_empty(waiting) else self._decide(waiting)
        if step in {"fit", "refit"}:
            self._make_map(waiting, step)
        elif len(waiting.seqs):
            self._place_new(waiting)
        else:
            step = "none"
        if self._step == "none":
            self._step = step
        self._placed = True
        self._seconds["project"] += time.monotonic() - started
        return step

    def _is_empty(self, waiting: Links) -> bool:
        """Is there nothing to make a map of: nothing waits, and nothing was ever on one?"""
        if len(waiting.seqs) or self.is_other_space:
            return False
        return self.layout is None or self.layout.n_fitted + self.layout.n_placed == 0

    def _waiting_links(self) -> Links:
        """The waiting records that have a vector; the twins of texts that were set aside follow them there."""
        failed = self.store.records.failed_digests(self.dataset_id)
        seqs, vector_ids = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for batch in self._stream():
            digests = [name for name, _ in self._digests(batch)]
            known = self.store.vectors.known(self.model_id, digests)
            hopeless = {s.seq: d for s, d in zip(batch, digests, strict=True) if d not in known and d in failed}
            if hopeless:
                self.store.records.fail(self.fence, self.dataset_id, hopeless, failed[next(iter(hopeless.values()))])
                self._counts["failed"] += len(hopeless)
            pairs = [(s.seq, known[d]) for s, d in zip(batch, digests, strict=True) if d in known]
            seqs.append(np.array([seq for seq, _ in pairs], np.int64))
            vector_ids.append(np.array([vector_id for _, vector_id in pairs], np.int64))
        return Links(seqs=np.concatenate(seqs), vector_ids=np.concatenate(vector_ids))

    def _decide(self, waiting: Links) -> Step:
        if self.layout is None:
            return "fit"
        settings = self.settings.project
        young = min(settings.young, settings.landmarks)  # a map of all its landmarks can't grow by a refit
        n_total = self.layout.n_fitted
        if self.layout.n_fitted < young and len(waiting.seqs):
            on_map, _ = self.store.layouts.distinct(self.layout.id, self.dataset_id)
            n_total = len(np.union1d(on_map, waiting.vector_ids))
        recompute = self.recompute and not self._placed  # once a run: later passes only place what came meanwhile
        return placement(
            has_layout=True, recompute=recompute, n_fitted=self.layout.n_fitted, n_total=n_total, young=young
        )

    def _place_new(self, waiting: Links) -> None:
        """Place on the layout that there is; whatever is on the map stays where it is."""
        assert self.layout is not None
        fresh = ~self.store.layouts.have_position(self.layout.id, waiting.seqs)
        links = Links(seqs=waiting.seqs[fresh], vector_ids=waiting.vector_ids[fresh])
        if not len(links.seqs):
            return
        fitted_ids, layout = self._open_layout(self.layout)
        placed = self._transform(layout, fitted_ids, np.unique(links.vector_ids))
        self._keep_positions(self.layout, links, placed, is_new=True)

    def _open_layout(self, info: LayoutInfo) -> tuple[Ids, Layout]:
        """The ids of the fitted vectors, ascending, and the layout, memory-mapped from the cache."""
        arrays = self.store.layouts.arrays(info.id)
        fitted_ids = arrays.pop("fitted_ids")
        folder = self._layout_folder(info)
        try:
            return fitted_ids, read_folder(folder)
        except NotFound:
            layout = self.projector.open(arrays, self.store.vectors.get(fitted_ids, self.embedder.dim))
            with disk_errors(folder):
                write_folder(cast("FittedMap", layout), folder)
            return fitted_ids, read_folder(folder)

    def _layout_folder(self, info: LayoutInfo) -> Path:
        made = info.created_at.strftime("%Y%m%d%H%M%S%f")
        return self.settings.cache / "layouts" / f"{self.dataset}-{info.version}-{made}"

    def _transform(self, layout: Layout, fitted_ids: Ids, vector_ids: Ids) -> _Spots:
        """Places for distinct, ascending vector ids; those that were fitted lie where the fit put them."""
        at = np.searchsorted(fitted_ids, vector_ids)
        is_fitted = (at < len(fitted_ids)) & (fitted_ids[np.minimum(at, max(len(fitted_ids) - 1, 0))] == vector_ids)
        places = np.zeros((len(vector_ids), 2), np.float32)
        off_map = np.zeros(len(vector_ids), np.bool_)
        if is_fitted.any():
            places[is_fitted] = layout.arrays()["places"][at[is_fitted]]
        others = np.flatnonzero(~is_fitted)
        chunks = [others[start : start + place_rows] for start in range(0, len(others), place_rows)]
        done = 0

        def place(chunk: Ids) -> Placed:
            return layout.transform(self.store.vectors.get(vector_ids[chunk], self.embedder.dim))

        for chunk, placed in zip(chunks, on_all_cores(place, chunks), strict=True):
            places[chunk], off_map[chunk] = placed.places, placed.off_map
            done += len(chunk)
            self._tell("place", done, len(others))
        return _Spots(vector_ids=vector_ids, places=places, off_map=off_map)

    def _keep_positions(self, info: LayoutInfo, links: Links, spots: _Spots, *, is_new: bool) -> None:
        for start in range(0, len(links.seqs), place_rows):
            part = slice(start, start + place_rows)
            at = np.searchsorted(spots.vector_ids, links.vector_ids[part])
            positions = Positions(seqs=links.seqs[part], vector_ids=links.vector_ids[part], places=spots.places[at])
            n_off_map = int(spots.off_map[at].sum())
            self.store.layouts.put(self.fence, info.id, positions, n_off_map=n_off_map, is_new=is_new)
            self._tell("keep places", start + len(positions.seqs), len(links.seqs))

    # --- fit and refit

    def _make_map(self, waiting: Links, step: Step) -> None:
        """A new layout of everything that has a vector, placed whole, before anybody sees it."""
        old_ids, old_places = self._old_map()
        ids = np.unique(waiting.vector_ids) if self.is_other_space else np.union1d(old_ids, waiting.vector_ids)
        chosen = self._landmarks(ids)
        self._tell(step, 0, len(chosen))
        vectors = self.store.vectors.get(chosen, self.embedder.dim)
        if step == "refit" and self.layout is not None:
            known = (
                self._places_by_record(waiting, chosen) if self.is_other_space else _lookup(old_ids, old_places, chosen)
            )
            layout = cast("FittedMap", self.projector.refit(vectors, known))
        else:
            layout = cast("FittedMap", self.projector.fit(vectors))
        self._tell(step, len(chosen), len(chosen))
        info = self.store.layouts.add(
            self.fence,
            self.dataset_id,
            model_id=self.model_id,
            text_hash=self.text_hash,
            arrays={**layout.arrays(), "fitted_ids": chosen},
            n_fitted=len(chosen),
            displacement=layout.displacement,
        )
        with disk_errors(self.settings.cache):
            write_folder(layout, self._layout_folder(info))
        spots = self._transform(layout, chosen, ids)
        for links in self._all_links(waiting):
            self._keep_positions(info, links, spots, is_new=False)
        self.layout = info
        self.is_other_space = False

    def _landmarks(self, ids: Ids) -> Ids:
        """The vectors to fit, ascending: all of them, or those whose texts have the lowest digests.

        So the sample is fair, the same everywhere, and drawn before a vector is read; and as the data grows, what is in
        the new sample was in the old one if it was there at all: refits keep the landmarks they can.
        """
        limit = self.settings.project.landmarks
        if len(ids) <= limit:
            return ids
        return np.sort(ids[np.argpartition(self.store.vectors.ranks(ids), limit)[:limit]])

    def _old_map(self) -> tuple[Ids, Places]:
        if self.layout is None:
            return np.empty(0, np.int64), np.empty((0, 2), np.float32)
        return self.store.layouts.distinct(self.layout.id, self.dataset_id)

    def _places_by_record(self, links: Links, chosen: Ids) -> Places:
        """Where the records of these vectors lie on the old map, though it was made of other vectors."""
        assert self.layout is not None
        old = self.store.layouts.placed(self.layout.id, int(links.seqs[0]), int(links.seqs[-1]))
        seqs = np.full(len(chosen), -1, np.int64)
        at = np.searchsorted(chosen, links.vector_ids)
        hit = (at < len(chosen)) & (chosen[np.minimum(at, len(chosen) - 1)] == links.vector_ids)
        seqs[at[hit]] = links.seqs[hit]
        return _lookup(old.seqs, old.places, seqs)

    def _all_links(self, waiting: Links) -> Iterator[Links]:
        """Every record that goes on the new map: those on the old one, and the waiting ones."""
        yield waiting
        if self.layout is None or self.is_other_space:
            return
        for batch in self.store.records.stream_seqs(self.dataset_id, RecordState.INDEXED, size=place_rows):
            old = self.store.layouts.placed(self.layout.id, batch[0], batch[-1])
            mine = np.isin(old.seqs, np.array(batch, np.int64)) & ~np.isin(old.seqs, waiting.seqs)
            yield Links(seqs=old.seqs[mine], vector_ids=old.vector_ids[mine])

    # --- publish and report

    def publish(self) -> Published:
        """Bring the output to what is placed; without a map there is nothing to publish."""
        return retry_while_busy(self._publish)

    def _publish(self) -> Published:
        started = time.monotonic()
        published = Published(snapshot=None, rows=0, is_new=False)
        if self.layout is not None:
            published = self.publishing.publish(self.layout, self.embedder.dim, self._tell)
            self.layout = self.store.layouts.current(self.dataset_id)
        self.store.layouts.drop_retired(self.fence, self.dataset_id)
        self.store.records.forget_failures(self.fence, self.dataset_id)
        self.store.index_requests.done(self.fence, self._wish)
        self._published = published
        self._seconds["publish"] += time.monotonic() - started
        return published

    def is_done(self) -> bool:
        """Is nothing left to index, and nothing more asked for?"""

        def nothing_is() -> bool:
            wish = self.store.index_requests.open(self.dataset)
            return not wish.ids and self.store.records.count(self.dataset_id, RecordState.WAITING) == 0

        return retry_while_busy(nothing_is)

    def report(self) -> IndexReport:
        """What was done so far."""
        seconds = {name: round(value, 3) for name, value in self._seconds.items()}
        total = round(time.monotonic() - self._started, 3)
        layout, published = self.layout, self._published
        return IndexReport(
            dataset=self.dataset,
            step=self._step,
            layout=layout.version if layout else None,
            drift=layout.drift if layout else None,
            snapshot=published.snapshot if published else None,
            rows=published.rows if published else 0,
            seconds=IndexSeconds(**seconds, total=total),
            refit_displacement=layout.displacement if layout and self._step == "refit" else None,
            **self._counts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spots:
    """Distinct vectors, ascending, where they lie, and whether off the map."""

    vector_ids: Ids
    places: Places
    off_map: NDArray[np.bool_]


def _lookup(keys: Ids, places: Places, wanted: Ids) -> Places:
    """Places (n, 2) of the wanted ascending keys, NaN where there is none."""
    out = np.full((len(wanted), 2), np.nan, np.float32)
    if len(keys):
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = keys[at] == wanted
        out[hit] = places[at[hit]]
    return out
