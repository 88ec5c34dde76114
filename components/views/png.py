"""A picture of the map as PNG: points coloured by type, new records marked, and the names of its regions."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from components.contracts import Positions
from components.snapshot.manifest import Label

WIDTH, HEIGHT = 1_200, 900  # pixels
MAP_WIDTH, MARGIN = 1_010, 46  # the legend is to the right of the map
BACKGROUND = (250, 250, 248)
INK, FAINT = (38, 42, 51), (120, 126, 138)
NEW = (230, 0, 60)
LABELS_DRAWN = 24
# colours that remain apart for colour-blind readers, after Okabe and Ito
COLOURS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (128, 104, 196),
    (150, 134, 60),
    (90, 98, 112),
)
OTHERS = (176, 180, 188)

Pixels = NDArray[np.float64]


def draw_map(
    positions: Positions, types: Sequence[str], is_new: NDArray[np.bool_] | Sequence[bool], labels: Sequence[Label]
) -> bytes:
    """A PNG of 1200 x 900 pixels; any number of records from 0 on. Dense regions are shaded by their density."""
    at, fresh = np.asarray(positions, np.float64).reshape(-1, 2), np.asarray(is_new, bool)
    pixels, to_pixels = projected(at)
    kinds, codes = _kinds(types)
    picture = _shaded(pixels, codes, len(kinds))
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    _mark_new(draw, pixels[fresh])
    write_labels(draw, labels, to_pixels)
    _write_legend(draw, kinds, np.bincount(codes, minlength=len(kinds)), len(at), int(fresh.sum()))
    if not len(at):
        draw.text((MAP_WIDTH / 2, HEIGHT / 2), "no records yet", fill=FAINT, font=font(22), anchor="mm")
    out = io.BytesIO()
    image.save(out, "PNG", optimize=False)
    return out.getvalue()


class ToPixels:
    """Map units to pixels, the same scale on both axes; y grows upwards on the map and downwards in a picture."""

    def __init__(self, at: Pixels) -> None:
        low, high = (at.min(axis=0), at.max(axis=0)) if len(at) else (np.zeros(2), np.ones(2))
        available = np.array([MAP_WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN])
        extent = high - low
        self.scale = min((float(available[axis] / extent[axis]) for axis in (0, 1) if extent[axis] > 0), default=1.0)
        self.centre = (low + high) / 2

    def __call__(self, at: Pixels) -> Pixels:
        return (at - self.centre) * [self.scale, -self.scale] + [MAP_WIDTH / 2, HEIGHT / 2]


def projected(at: Pixels) -> tuple[Pixels, ToPixels]:
    """The points in pixels, and what makes pixels of other positions."""
    to_pixels = ToPixels(at)
    return to_pixels(at), to_pixels


def _kinds(types: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The most frequent types, the rest as one, and the index of its type for each record."""
    common = [name for name, _ in sorted(Counter(types).items(), key=lambda item: (-item[1], item[0]))]
    kinds = common if len(common) <= len(COLOURS) else [*common[: len(COLOURS)], "others"]
    number = {name: min(at, len(kinds) - 1) for at, name in enumerate(common)}
    return kinds, np.fromiter((number[name] for name in types), np.int64, len(types))


def _colour(at: int) -> tuple[int, int, int]:
    return COLOURS[at] if at < len(COLOURS) else OTHERS


def _shaded(pixels: Pixels, codes: NDArray[np.int64], n_kinds: int) -> NDArray[np.uint8]:
    """The points as a density: each pixel's colour is the mean of its points' colours, its opacity grows with their number."""
    radius = _radius(len(pixels))
    strength = np.zeros((HEIGHT, WIDTH))
    mixed = np.zeros((HEIGHT, WIDTH, 3))
    for kind in range(n_kinds):
        layer = splatted(pixels[codes == kind], radius)
        strength += layer
        mixed += layer[..., None] * np.array(_colour(kind), np.float64)
    alpha = (1 - np.exp(-strength * _opacity(strength)))[..., None]
    colour = mixed / np.maximum(strength, 1e-12)[..., None]
    return np.asarray(np.rint(colour * alpha + np.array(BACKGROUND) * (1 - alpha)), np.uint8)


def _radius(n: int) -> float:
    """The radius of a point in pixels: smaller on a fuller map."""
    return float(np.clip(9 - 1.6 * math.log10(max(n, 1)), 0.9, 5.5))


def _opacity(strength: NDArray[np.float64]) -> float:
    """A factor at which single points are visible and dense maps still show differences in density."""
    lit = strength[strength > 0.05]
    return float(np.clip(5 / np.percentile(lit, 90), 0.25, 4)) if len(lit) else 1.0


def splatted(pixels: Pixels, radius: float, values: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """The coverage of each pixel by points, drawn as soft discs and added up; all points are within the margins.

    `values` (n,): each disc counts so much.
    """
    reach = math.ceil(radius)
    x, y = np.rint(pixels).astype(np.int64).T
    layer = np.zeros(WIDTH * HEIGHT)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            weight = min(1.0, max(0.0, radius + 0.5 - math.hypot(dx, dy)))
            if weight:
                np.add.at(layer, (y + dy) * WIDTH + x + dx, weight if values is None else weight * values)
    return layer.reshape(HEIGHT, WIDTH)


def _mark_new(draw: ImageDraw.ImageDraw, pixels: Pixels) -> None:
    """Rings around new records; where there are too many, a tint."""
    marked = np.unique(np.rint(pixels), axis=0)[:100_000]
    if len(marked) > 5_000:
        draw.point([(x, y) for x, y in marked.tolist()], fill=(*NEW, 110))
        return
    radius, width = (7, 2) if len(marked) <= 400 else (3, 1)
    for x, y in marked:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=NEW, width=width)


def write_labels(draw: ImageDraw.ImageDraw, labels: Sequence[Label], to_pixels: ToPixels) -> None:
    """Names where they don't overlap, those of coarse and large regions first."""
    taken: list[tuple[float, float, float, float]] = []
    for label in sorted(labels, key=lambda label: (label.level, -label.priority)):
        if len(taken) == LABELS_DRAWN or label.level > 1:
            break
        x, y = to_pixels(np.array([[label.x, label.y]]))[0]
        face = font(18 if label.level == 0 else 13)
        box = draw.textbbox((float(x), float(y)), label.text, font=face, anchor="mm")
        shift = min(0.0, MAP_WIDTH - 8 - box[2]) + max(0.0, 8 - box[0])
        box = (box[0] + shift - 4, box[1] - 3, box[2] + shift + 4, box[3] + 3)
        if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            taken.append(box)
            draw.text(
                (float(x) + shift, float(y)),
                label.text,
                fill=INK,
                font=face,
                anchor="mm",
                stroke_width=3,
                stroke_fill=(*BACKGROUND, 235),
            )


def _write_legend(
    draw: ImageDraw.ImageDraw, kinds: Sequence[str], counts: NDArray[np.int64], n: int, n_new: int
) -> None:
    left, top = MAP_WIDTH + 14, MARGIN
    draw.text((left, top), f"{n:,} records", fill=INK, font=font(19))
    top += 42
    for at, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
        draw.ellipse((left, top + 3, left + 12, top + 15), fill=_colour(at))
        name = kind if len(kind) <= 16 else f"{kind[:15]}…"
        draw.text((left + 20, top), name, fill=INK, font=font(14))
        draw.text((left + 20, top + 17), f"{count:,}", fill=FAINT, font=font(12))
        top += 40
    if n_new:
        draw.ellipse((left - 1, top + 2, left + 13, top + 16), outline=NEW, width=2)
        draw.text((left + 20, top), "new", fill=INK, font=font(14))
        draw.text((left + 20, top + 17), f"{n_new:,}", fill=FAINT, font=font(12))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The typeface of all pictures."""
    return ImageFont.load_default(size)
