"""Where on the map two sets of records differ: densities on a grid, blurred, and their difference as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from components.contracts import Positions
from components.snapshot.manifest import Label
from components.views.png import (
    BACKGROUND,
    FAINT,
    HEIGHT,
    INK,
    MAP_WIDTH,
    MARGIN,
    WIDTH,
    font,
    projected,
    splatted,
    write_labels,
)

CELLS = 256
BLUR_CELLS = 3.0
FLOOR = 0.05  # of the densest cell: where there is less, a difference is pale
NOTHING, NEUTRAL, LARGEST = 0, 128, 127  # of the codes of rows
COLOURS = ((213, 94, 0), (0, 114, 178))  # of A and of B, after Okabe and Ito
PALE = (196, 198, 204)
STRENGTH = 1.8  # of colours: a difference of little more than a half is shown as a whole one
MARKED = 12  # items of the list that the picture numbers

Sides = NDArray[np.int8]  # 0 A, 1 B, 2 neither


def difference_at(positions: Positions, side: Sides, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """At each record (n,): -1 where only B is, 1 where only A is, 0 where both are alike or nearly nothing is.

    The weights of each set sum up to 1.
    """
    from scipy.ndimage import gaussian_filter

    at = np.asarray(positions, np.float64).reshape(-1, 2)
    if not len(at):
        return np.zeros(0)
    low, extent = at.min(axis=0), np.ptp(at, axis=0).max() or 1.0
    cell = np.minimum((at - low) / extent * CELLS, CELLS - 1).astype(np.int64)
    flat = cell[:, 0] * CELLS + cell[:, 1]
    density = [
        gaussian_filter(
            np.bincount(flat[side == one], weight[side == one], CELLS * CELLS).reshape(CELLS, CELLS), BLUR_CELLS
        )
        for one in (0, 1)
    ]
    both = density[0] + density[1]
    grid = (density[0] - density[1]) / (both + FLOOR * both.max() + 1e-300)
    return np.asarray(grid.ravel()[flat], np.float64)


def difference_codes(positions: Positions, side: Sides, weight: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A byte for each record (n,): 0 for one in neither set, else 128 plus the difference, from 1 (B) to 255 (A)."""
    codes = NEUTRAL + np.rint(LARGEST * difference_at(positions, side, weight))
    return np.where(side == 2, NOTHING, codes).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A record that the picture numbers."""

    x: float
    y: float
    side: int


def draw_difference(
    positions: Positions,
    side: Sides,
    weight: NDArray[np.float64],
    marked: Sequence[Marked],
    labels: Sequence[Label],
    names: tuple[str, str],
) -> bytes:
    """A PNG of 1200 x 900 pixels: records coloured by the difference around them, the first items of the list numbered."""
    at = np.asarray(positions, np.float64).reshape(-1, 2)
    pixels, to_pixels = projected(at)
    image = Image.fromarray(_painted(pixels, side, difference_at(positions, side, weight)))
    draw = ImageDraw.Draw(image, "RGBA")
    write_labels(draw, labels, to_pixels)
    for n, one in enumerate(marked[:MARKED], 1):
        x, y = to_pixels(np.array([[one.x, one.y]]))[0].tolist()
        draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=(255, 255, 255, 230), outline=COLOURS[one.side], width=3)
        draw.text((x, y), str(n), fill=INK, font=font(13), anchor="mm")
    _write_legend(draw, side, names)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _painted(pixels: NDArray[np.float64], side: Sides, value: NDArray[np.float64]) -> NDArray[np.uint8]:
    radius = float(np.clip(9 - 1.6 * np.log10(max(len(pixels), 1)), 0.9, 5.5))
    total, signed = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    inside = side != 2
    total += splatted(pixels[inside], radius)
    signed += splatted(pixels[inside], radius, value[inside])
    alpha = (1 - np.exp(-np.minimum(total, 3.0)))[..., None]
    mean = (signed / np.maximum(total, 1e-9))[..., None]
    strength = np.minimum(np.abs(mean) * STRENGTH, 1.0)
    colour = np.where(mean > 0, np.array(COLOURS[0]), np.array(COLOURS[1])) * strength + np.array(PALE) * (1 - strength)
    picture = np.array(BACKGROUND) * (1 - alpha) + colour * alpha
    return np.asarray(np.rint(np.clip(picture, 0, 255)), np.uint8)


def _write_legend(draw: ImageDraw.ImageDraw, side: Sides, names: tuple[str, str]) -> None:
    left, top = MAP_WIDTH + 14, MARGIN
    draw.text((left, top), "more in", fill=INK, font=font(19))
    for at, name in enumerate(names):
        top += 42
        draw.ellipse((left, top + 3, left + 12, top + 15), fill=COLOURS[at])
        draw.text(
            (left + 20, top), f"{'ab'[at]}  {name if len(name) <= 14 else name[:13] + '…'}", fill=INK, font=font(14)
        )
        draw.text((left + 20, top + 17), f"{int((side == at).sum()):,} records", fill=FAINT, font=font(12))
