"""A comparison among a run's artifacts: what was found in words, what to read, topics, and a picture of the map."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from prefect.artifacts import create_markdown_artifact

from components.compare.report import (
    CHANCE_Q,
    Comparison,
    Reading,
    by_side,
    differing_topics,
    excerpt,
    summary,
    topic_in_words,
)
from flows.artifacts import artifact_key, escaped

SHOWN = 12  # items of each list, and topics


def show_comparison(dataset: str, found: Comparison, picture: bytes | None, *, api: str) -> None:
    """Adds the comparison to the run's artifacts; the UI keeps the history of those of a dataset."""
    text = markdown(dataset, found, picture, api=api)
    description = escaped(f"{dataset}: {' '.join(list(summary(found))[:2])}")
    create_markdown_artifact(text, key=artifact_key("compare", dataset), description=description)


def markdown(dataset: str, found: Comparison, picture: bytes | None, *, api: str) -> str:
    """The artifact. All text from logs is escaped."""
    path = quote(dataset, safe="")
    blocks = ["\n\n".join(map(escaped, summary(found)))]
    if picture is not None:
        blocks.append(f"![Map of the difference](data:image/png;base64,{base64.b64encode(picture).decode()})")
    blocks += _reading(found)
    topics = differing_topics(found)[:SHOWN]
    if topics:
        rows = [(str(one.id), escaped(one.name), f"{one.q:.3f}", escaped(topic_in_words(one, found))) for one in topics]
        blocks.append("## Topics\n\n" + _table(("id", "topic", "q", "runs"), rows))
    blocks.append(
        f"[Open on the map]({api}/map/{path}?compare={found.id}), [whole result]({api}/datasets/{path}/compare/{found.id})"
    )
    return "\n\n".join(blocks)


def _reading(found: Comparison) -> Iterator[str]:
    if not found.reading:
        return
    heads = ("", f"runs of a ({found.a.runs:,})", f"runs of b ({found.b.runs:,})", "p", "q", "text")
    for part in by_side(found):
        rows = [_row(n, one) for n, one in enumerate(part.items[:SHOWN], 1)]
        yield f"## {escaped(part.heading.rstrip(':'))}\n\n{_table(heads, rows)}"
    yield (
        "Counts are at least so many runs: others may say the same in other words. p is the chance that any item of both lists is "
        f"so clear by accident; only p &le; 0.01 (bold) counts as proof. q is the share of accidents to expect up to there; up to {CHANCE_Q} an "
        "item is worth reading."
    )


def _row(n: int, one: Reading) -> Sequence[str]:
    p = f"**{one.p:.3f}**" if one.p <= 0.01 else f"{one.p:.3f}"
    explained = f" ({' and '.join(one.explained_by)} may explain most of it)" if one.explained_by else ""
    return (
        str(n),
        f"{one.runs_a:,}",
        f"{one.runs_b:,}",
        p,
        f"{one.q:.2f}",
        escaped(excerpt(one.text)) + explained,
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
