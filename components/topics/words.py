"""Names for the regions of a map: where records are dense, and which words set them apart.

Regions are the hills of the smoothed point density, coarse ones for the view from afar and finer ones for closer
views. Words are chosen by class-based TF-IDF (Grootendorst 2022, section 3.3), counted once a record, so that one
huge dump can't name a region.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contracts import Positions
from components.snapshot.manifest import Label
from components.snapshot.parts import logs_schema, read_row_groups

SAMPLE = 20_000  # records used, at most
TEXT_CHARS = 1_500  # of each record: its beginning says what it is about
WORDS_A_LABEL = 3
GRID = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    level: int
    width: float  # of the smoothing, in map extents
    most: int  # regions
    needs: int  # records, for the level to make sense


LEVELS = (
    _Level(level=0, width=0.060, most=12, needs=1),
    _Level(level=1, width=0.025, most=40, needs=60),
    _Level(level=2, width=0.012, most=120, needs=5_000),
)


def sample_rows(n: int, limit: int = SAMPLE) -> NDArray[np.int64]:
    """At most `limit` of n row numbers, evenly spread, ascending; always the same ones."""
    if n <= limit:
        return np.arange(n, dtype=np.int64)
    return np.linspace(0, n - 1, limit).astype(np.int64)


def labels_of_parts(files: Sequence[Path], n_rows: int) -> list[Label]:
    """Names of the regions of the map whose `n_rows` records are in these logs parts; only a sample is kept in memory."""
    columns = ["text", "type", "projection_x", "projection_y"]
    stride = max(1, -(-n_rows // SAMPLE))
    tables = [
        table.take(np.arange(0, len(table), stride)) for path in files for table in read_row_groups(path, columns)
    ]
    sample = pa.concat_tables([logs_schema().empty_table().select(columns), *tables])
    positions = np.column_stack([sample["projection_x"].to_numpy(), sample["projection_y"].to_numpy()])
    return map_labels(positions.astype(np.float32), sample["text"].to_pylist(), sample["type"].to_pylist())


def map_labels(positions: Positions, texts: Sequence[str], types: Sequence[str]) -> list[Label]:
    """Names of the map's regions, coarse ones first; [] for no records.

    Uses at most `SAMPLE` records, evenly spread; `sample_rows` gives their row numbers.
    """
    rows = sample_rows(len(positions))
    if not len(rows):
        return []
    sampled = np.asarray(positions, np.float64)[rows]
    words = [frozenset(words_of(texts[row])) for row in rows]
    types = [types[row] for row in rows]
    labels: list[Label] = []
    for level in LEVELS:
        if len(rows) >= level.needs:
            labels += _labels_of(level, sampled, words, types)
    return labels


def _labels_of(
    level: _Level, positions: NDArray[np.float64], words: Sequence[frozenset[str]], types: Sequence[str]
) -> list[Label]:
    members = regions(positions, level.width, level.most)
    names = _names(
        [[words[row] for row in rows] for rows in members], [[types[row] for row in rows] for rows in members]
    )
    centres = [np.median(positions[rows], axis=0) for rows in members]
    return [
        Label(x=float(x), y=float(y), text=name, level=level.level, priority=float(len(rows)))
        for (x, y), name, rows in zip(centres, names, members, strict=True)
    ]


# --- regions -----------------------------------------------------------------------------------------------------


def regions(positions: NDArray[np.float64], width: float, most: int) -> list[NDArray[np.int64]]:
    """Row numbers of each region, the largest first.

    Each cell of a grid over the map belongs to the hilltop that one reaches by walking uphill in the density
    smoothed over `width` map extents. Regions of less than 1 % of the largest are left out.
    """
    cells = _cells(positions)
    density = _smoothed(np.bincount(cells, minlength=GRID * GRID).reshape(GRID, GRID).astype(np.float64), width)
    top_of = _hilltops(density)[cells]
    tops, region, sizes = np.unique(top_of, return_inverse=True, return_counts=True)
    order = [int(i) for i in np.lexsort((tops, -sizes)) if sizes[i] >= max(1, sizes.max() / 100)]
    return [np.flatnonzero(region == i) for i in order[:most]]


def _cells(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """The grid cell of each position; the grid is square and has a margin of an eighth on each side."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent = float((high - low).max()) or 1.0
    scaled = ((positions - (low + high) / 2) / extent * 0.75 + 0.5) * GRID
    column, row = np.clip(scaled, 0, GRID - 1).astype(np.int64).T
    return np.asarray(row * GRID + column, np.int64)


def _smoothed(grid: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The grid under a Gaussian of `width` map extents, rows first, then columns."""
    sigma = width * 0.75 * GRID
    reach = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    for _ in range(2):
        grid = np.apply_along_axis(np.convolve, 1, grid, kernel / kernel.sum(), mode="same").T
    return grid


def _hilltops(density: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each cell the cell of its hilltop."""
    padded = np.pad(density, 1, constant_values=-1.0)
    offsets = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    size = len(density)
    around = np.stack([padded[1 + r : 1 + r + size, 1 + c : 1 + c + size] for r, c in offsets])
    steps = np.array([row * size + column for row, column in offsets])
    steps_up = steps[np.where(around.max(axis=0) > density, around.argmax(axis=0), offsets.index((0, 0)))]
    uphill = np.arange(size * size) + steps_up.reshape(-1)
    for _ in range(math.ceil(math.log2(size * size))):  # twice as far in each round
        uphill = uphill[uphill]
    return np.asarray(uphill, np.int64)


# --- words -------------------------------------------------------------------------------------------------------

NOISE = re.compile(
    r"""
    https?://\S+                              # addresses
    | \S*[/\\]\S+[/\\]\S*                     # paths
    | "[\w.\- ]{1,40}"\s*:                    # keys of JSON
    | <[^<>\s][^<>]{0,200}>                   # tags
    | [A-Za-z0-9+/=_\-]{25,}                  # tokens, digests, base64
    | \b\w*\d\w*\b                            # anything with a digit: hex, versions, identifiers
    | \b\w+(?:[._]\w+)+(?:\(\))?              # dotted and underscored names of code
    """,
    re.VERBOSE,
)
WORD = re.compile(r"[^\W\d_]{2,24}(?:['\u2019][^\W\d_]{1,3})?")
HUMP = re.compile(r"[a-z][A-Z]")
HEX = re.compile(r"[a-f]+")
SPACELESS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # scripts that put no spaces between words
ENGLISH = """
about above after again against all also although always am an and any anything are aren't as at be because been
before being below between both but by can can't cannot could couldn't did didn't do does doesn't doing don't done
down during each either else etc even ever every few first for from further get gets getting give given go goes
going good got had has hasn't have haven't having he hello her here hers hi him his how however i'd i'll i'm i've
if in into is isn't it it's its itself just know last least less let let's like ll look looks made make makes many
may maybe me might more most much must my need needs never new next no nor not nothing now of off ok okay on once
one only onto or other our out over own per please put rather re really right run said same say says see seems
several shall she should show shows since so some something still such sure take than thank thanks that that's the
their them then there there's these they thing things this those three through thus to together too toward try
trying two under until up upon us use used uses using ve very via want wants was wasn't way we we'll we're well
were what when where whether which while who whom whose why will with within without won't would yes yet you you'll
you're your yours
"""
CODE = """
args async await bool break case class const continue def default dict elif enum eval exec export extends false
final finally float fn foo func function global im impl import include init instanceof int interface io js json kwargs
lambda len let list main max min module mut namespace nan nil nonlocal none null num obj object param params pass
pre print private protected pub public py raise return returns self set static std stderr stdin stdout str string
struct super sys this throw throws true tuple txt type types undefined utf val value values var void yaml yield
com http https html org www amp div gt href lt nbsp px quot span src
"""
STOP_WORDS = frozenset(ENGLISH.split()) | frozenset(CODE.split())
SHORT_WORDS = frozenset(("ai", "ui", "db"))


def words_of(text: str) -> list[str]:
    """The natural-language words of a text, in lower case, in order; code, paths and data are left out.

    >>> words_of('Fix the parser: {"path": "/src/lib/a.py"} in 3f2a9c commit')
    ['fix', 'parser', 'commit']
    """
    plain = NOISE.sub(" ", text[:TEXT_CHARS])
    words: list[str] = []
    for word in WORD.findall(plain):
        if SPACELESS.match(word):
            words += [word[i : i + 2] for i in range(len(word) - 1)]
        elif not HUMP.search(word) and _is_readable(lower := word.lower()):
            words.append(lower)
    return words


@lru_cache(maxsize=65_536)  # logs repeat the same words
def _is_readable(word: str) -> bool:
    if len(word) < 3:
        return word in SHORT_WORDS
    return word not in STOP_WORDS and not HEX.fullmatch(word) and len(set(word)) > 2


def _names(words: Sequence[Sequence[frozenset[str]]], types: Sequence[Sequence[str]]) -> list[str]:
    """One name a region; where no word distinguishes it, its most frequent type."""
    counts = [Counter(word for record in region for word in record) for region in words]
    everywhere = sum(counts, Counter[str]())
    mean = sum(everywhere.values()) / max(len(counts), 1)
    names = []
    for count, region, region_types in zip(counts, words, types, strict=True):
        scores = {
            word: times / len(region) * math.log1p(mean / everywhere[word])
            for word, times in count.items()
            if times >= min(3, max(1, len(region) // 20))
        }
        names.append(_name(scores) or _commonest(region_types))
    return names


def _name(scores: dict[str, float]) -> str:
    """The best words that are not forms of one another."""
    chosen: list[str] = []
    for word in sorted(scores, key=lambda word: (-scores[word], word)):
        if not any(word[:4] == other[:4] or word in other or other in word for other in chosen):
            chosen.append(word)
        if len(chosen) == WORDS_A_LABEL:
            break
    return ", ".join(chosen)


def _commonest(types: Sequence[str]) -> str:
    name, _ = min(Counter(types).items(), key=lambda item: (-item[1], item[0]))
    return "".join(c for c in name if c.isprintable())[:40].replace("_", " ").strip() or "untitled"
