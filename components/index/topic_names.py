"""Name the topics that a fit found, from the texts of their records."""

from __future__ import annotations

import heapq
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from functools import partial
from threading import Thread
from typing import Final

import numpy as np
from numpy.typing import NDArray

from components.contracts import NO_TOPIC, TOPIC_LEVEL, Record, Topic, in_batches
from components.errors import EmbeddingFailed, NoModel, ServiceUnavailable, TransientError
from components.index.context import IndexContext
from components.retry import retry_while_busy
from components.store.layouts import LayoutInfo, PlacedText
from components.topics.chat import ChatModel
from components.topics.model_names import model_name
from components.topics.names import MIN_SHARE, Name, Sample, keyword_names

logger = logging.getLogger(__name__)

EXAMPLES: Final = 5  # records that show what a topic is about
FREQUENT: Final = 3  # texts of a topic that most records have, beside the typical ones
GIVE_UP_AFTER: Final = 4  # answers in a row that name nothing
NEAREST: Final = 2  # other topics whose texts are shown for contrast
GROUP_SHARE: Final = 0.12  # of a group's texts have a phrase of its name
GROUP_TEXTS: Final = 60  # of a group, from all of its topics
PHRASES: Final = 256  # embedded at once
POLL_S: Final = 0.5  # between looks whether the index is to stop

Answer = Name | ServiceUnavailable | None  # the model's name, why it gave none, or None where it can't be used


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTexts:
    """The active topics and groups of a layout, and a record of each of their typical and frequent vectors, by its id.

    `weights` (by vector) grow with the number of equal records; `frequent` are vectors that many records of a topic have,
    `inside` the topics of each group.
    """

    topics: Sequence[Topic]
    records: Mapping[int, Record]
    weights: Mapping[int, float]
    frequent: Mapping[int, Sequence[int]]
    inside: Mapping[int, Sequence[Topic]]

    def sample(self, topic: Topic) -> Sample:
        """Typical records of a topic; of a group, some of each of its topics."""
        vectors = self._vectors(topic)
        found = [self.records[vector] for vector in vectors]
        return Sample(
            texts=[record.text for record in found],
            types=[record.type for record in found],
            tools=[str(record.extra.get("tool") or "") for record in found],
            runs=[record.filename for record in found],
            weights=[self.weights[vector] for vector in vectors],
        )

    def typical(self, topic: Topic) -> list[Record]:
        """The records closest to the topic's centroid first, then frequent ones."""
        return [self.records[vector] for vector in self._vectors(topic)]

    def _vectors(self, topic: Topic) -> list[int]:
        wanted = [*topic.members, *self.frequent.get(topic.id, ())]
        if topic.level < TOPIC_LEVEL:
            inside = self.inside.get(topic.id, ())
            each = max(1, GROUP_TEXTS // max(1, len(inside)))
            wanted = [member for leaf in inside for member in leaf.members[:each]]
        return [vector for vector in dict.fromkeys(wanted) if vector in self.records]


def name_topics(context: IndexContext, layout: LayoutInfo) -> int:
    """Name the topics of a new layout that have no name yet, and give all of them examples; returns how many were named."""
    return retry_while_busy(lambda: _name_topics(context, layout))


def _name_topics(context: IndexContext, layout: LayoutInfo) -> int:
    store, chat = context.target.store, context.chat
    texts = _texts(context, layout)
    names: dict[int, Name] = {}
    for level in sorted({topic.level for topic in texts.topics}):
        here = [topic for topic in texts.topics if topic.level == level]
        unnamed = [topic for topic in here if _needs_name(topic, asks_model=chat is not None)]
        if unnamed:
            kept = [topic.name for topic in here if topic not in unnamed]
            found = keyword_names(
                [texts.sample(topic) for topic in here],
                _Closeness(context, here) if level == TOPIC_LEVEL else None,  # a group's mean is like none of its parts
                taken=kept,
                min_share=MIN_SHARE if level == TOPIC_LEVEL else GROUP_SHARE,
            )
            names |= {topic.id: name for topic, name in zip(here, found, strict=True) if topic in unnamed}
            if chat is not None:
                names |= _by_model(context, chat, texts, unnamed, here)
    named = [
        replace(
            _with_name(topic, names.get(topic.id)),
            examples=[one.id for one in texts.typical(topic)[:EXAMPLES]],
        )
        for topic in texts.topics
    ]
    store.topics.name(context.target.fence, layout.id, named)
    return len(names)


def _by_model(
    context: IndexContext, chat: ChatModel, texts: TopicTexts, unnamed: Sequence[Topic], here: Sequence[Topic]
) -> dict[int, Name]:
    """Names by a language model, of those topics for which it gave one; it is given up after some failures in a row."""
    found: dict[int, Name] = {}
    taken = {topic.name for topic in here if topic not in unnamed}
    n_failed, n_done = 0, 0
    for group in in_batches(unnamed, context.settings.topics.connections):
        answers = [_started(partial(_ask, chat, texts, topic, here)) for topic in group]
        while wait(answers, timeout=POLL_S).not_done:
            context.report("name topics", n_done, len(unnamed))  # a request to stop does not wait for the model
        for topic, name in zip(group, (answer.result() for answer in answers), strict=True):
            n_failed = 0 if isinstance(name, Name) else n_failed + 1
            if isinstance(name, Name) and name.name not in taken:
                found[topic.id] = name
                taken.add(name.name)
            elif isinstance(name, ServiceUnavailable):
                logger.warning("%s: %s", context.dataset, name)
        n_done += len(group)
        context.report("name topics", n_done, len(unnamed))
        if n_failed >= GIVE_UP_AFTER:
            logger.warning("%s: the language model is not asked any more.", context.dataset)
            break
    return found


def _started(ask: Callable[[], Answer]) -> Future[Answer]:
    """The answer to come, from a thread that no exit of the process waits for."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            future.set_exception(error)

    Thread(target=run, name="name topic", daemon=True).start()
    return future


def _ask(chat: ChatModel, texts: TopicTexts, topic: Topic, here: Sequence[Topic]) -> Answer:
    """The model's name for a topic, why it gave none, or None for answers that can't be used."""
    closeness = [float(topic.centroid @ other.centroid) if other.id != topic.id else -2.0 for other in here]
    nearest = [here[at] for at in np.argsort(closeness)[::-1][:NEAREST] if here[at].id != topic.id]
    others = [record.text for other in nearest for record in texts.typical(other)[:EXAMPLES]]
    try:
        return model_name(chat.complete, [record.text for record in texts.typical(topic)], others)
    except ServiceUnavailable as error:
        return error


def _needs_name(topic: Topic, *, asks_model: bool) -> bool:
    """Has a topic no name, or none from the model although there is one? Names by people stay."""
    return not topic.name or (asks_model and topic.name_source in {"keywords", "fallback"})


def _with_name(topic: Topic, name: Name | None) -> Topic:
    """The topic under a new name, if there is one."""
    if name is None:
        return topic
    return replace(topic, name=name.name, description=name.description, name_source=name.source)


def _texts(context: IndexContext, layout: LayoutInfo) -> TopicTexts:
    store = context.target.store
    topics = [topic for topic in store.topics.of_layout(layout.id) if topic.state == "active"]
    members = {member for topic in topics for member in topic.members}
    chosen: dict[int, PlacedText] = {}
    frequent: dict[int, list[PlacedText]] = defaultdict(list)
    for text in store.layouts.placed_texts(layout.id):
        if text.vector_id in members:
            chosen[text.vector_id] = text
        if text.records > 1 and text.topic != NO_TOPIC:
            frequent[text.topic] = heapq.nlargest(FREQUENT, [*frequent[text.topic], text], key=_by_records)
    chosen |= {text.vector_id: text for texts in frequent.values() for text in texts}
    by_seq = {one.seq: one.record for one in store.records.by_seq([text.seq for text in chosen.values()])}
    return TopicTexts(
        topics=topics,
        records={vector: by_seq[text.seq] for vector, text in chosen.items() if text.seq in by_seq},
        weights={vector: math.sqrt(text.records) for vector, text in chosen.items()},
        frequent={topic: [text.vector_id for text in texts] for topic, texts in frequent.items()},
        inside=_topics_of_groups(topics),
    )


def _topics_of_groups(topics: Sequence[Topic]) -> dict[int, list[Topic]]:
    """Group -> all topics within it."""
    parents = {topic.id: topic.parent for topic in topics}
    inside: dict[int, list[Topic]] = defaultdict(list)
    for topic in topics:
        above = topic.parent if topic.level == TOPIC_LEVEL else NO_TOPIC
        while above in parents:
            inside[above].append(topic)
            above = parents[above]
    return inside


def _by_records(text: PlacedText) -> tuple[int, int]:
    return text.records, -text.seq


@dataclass(frozen=True, slots=True)
class _Closeness:
    """How close phrases are to topics, by the dataset's model; all the same where the model can't tell."""

    context: IndexContext
    topics: Sequence[Topic]

    def __call__(self, pairs: Sequence[tuple[int, str]]) -> NDArray[np.float32]:
        embedder = self.context.target.embedder
        phrases = sorted({phrase for _, phrase in pairs})
        try:
            vectors = np.concatenate(
                [
                    np.empty((0, embedder.dim), np.float32),
                    *(embedder.embed(phrases[at : at + PHRASES]).vectors for at in range(0, len(phrases), PHRASES)),
                ]
            )
        except (TransientError, EmbeddingFailed, NoModel) as error:
            logger.warning("%s: topics are named without the model: %s", self.context.dataset, error)
            return np.zeros(len(pairs), np.float32)
        row = {phrase: at for at, phrase in enumerate(phrases)}
        cosines = [vectors[row[phrase]] @ self.topics[topic].centroid for topic, phrase in pairs]
        return np.array(cosines, np.float32)
