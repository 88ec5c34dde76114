"""Commands on the topics of a map: `topics`, `topics rename`, `topics merge`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.command import DatasetOption, JsonOption, LimitOption, emit, open_pipeline
from components.contracts import TOPIC_LEVEL
from components.load.report import printable
from components.settings import DEFAULT_DATASET

if TYPE_CHECKING:
    from components.dataset_topics import TopicList

TopicArgument = Annotated[int, typer.Argument(help="Id of the topic, as `runatlas topics` lists it.", metavar="TOPIC")]


def topics(
    context: typer.Context,
    dataset: DatasetOption = DEFAULT_DATASET,
    since: Annotated[
        int | None, typer.Option("--since", min=1, help="Show how each topic changed after this snapshot.")
    ] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List the topics of the map, or rename or merge some."""
    if context.invoked_subcommand:
        return
    with open_pipeline() as pipeline:
        found = pipeline.topics(dataset, since=since)
    emit(found.as_dicts(), topic_lines(found, limit), json=json)


def rename_topic(
    topic: TopicArgument,
    name: Annotated[str, typer.Argument(help="The name that it keeps from now on.")],
    dataset: DatasetOption = DEFAULT_DATASET,
    json: JsonOption = False,
) -> None:
    """Name a topic. The name stays, whatever happens to the map."""
    with open_pipeline() as pipeline:
        is_published = pipeline.edit_topic(topic, dataset, name=name)
    line = f"Topic {topic} is called {printable(name)!r} now. {_when(is_published)}"
    emit({"topic": topic, "name": name, "published": is_published}, [line], json=json)


def merge_topics(
    topic: TopicArgument,
    into: Annotated[int, typer.Argument(help="Id of the topic that it becomes part of.")],
    dataset: DatasetOption = DEFAULT_DATASET,
    json: JsonOption = False,
) -> None:
    """Make a topic part of another one, now and after every refit of the map."""
    with open_pipeline() as pipeline:
        is_published = pipeline.edit_topic(topic, dataset, merge_into=into)
    line = f"Topic {topic} is part of topic {into} now. {_when(is_published)}"
    emit({"topic": topic, "into": into, "published": is_published}, [line], json=json)


def _when(is_published: bool) -> str:
    return "It is published." if is_published else "The index that is running now publishes it."


def topic_lines(found: TopicList, limit: int) -> Iterator[str]:
    """A line for each topic, those that changed first if there are trends."""
    counts = found.counts
    active = [topic for topic in found.topics if topic.state == "active" and topic.level == TOPIC_LEVEL]
    yield (
        f"Snapshot {found.snapshot}: {len(active):,} topics with {counts.assigned:,} records; "
        f"{counts.noise:,} records have none."
    )
    if found.trends:
        active = [topic for topic in active if found.trends[topic.id] != "steady"]
        yield f"{len(active):,} topics have changed:" if active else "No topic has changed."
    for topic in active[:limit]:
        trend = f"{found.trends[topic.id]:<9} " if found.trends else ""
        repeats = f" ({topic.texts:,} distinct texts)" if topic.texts <= topic.size / 2 else ""
        yield f"{topic.id:>6}  {topic.size:>9,}  {trend}{printable(topic.name)}{repeats}"
    if len(active) > limit:
        yield f"… and {len(active) - limit:,} more; `--limit` or `--json` shows them."
