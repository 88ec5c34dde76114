"""Figures into a page: what was measured beside what was aimed at, and plots of both."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

begin, end = "<!-- numbers: begin -->", "<!-- numbers: end -->"
ink, paper, pale, good, bad = "#1b1f24", "#ffffff", "#d0d7de", "#2f7d4f", "#b3402a"
plain = "#3b6ea5"
libraries = ("numpy", "onnxruntime", "sqlalchemy", "pyarrow", "umap-learn", "torch", "sentence-transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """`sign` is "<=" or ">="; `note` says when it holds."""

    sign: str
    value: float
    note: str

    def is_met(self, measured: float) -> bool:
        return measured <= self.value if self.sign == "<=" else measured >= self.value

    def reached(self, measured: float) -> float:
        """1 where the goal is just met, 2 where the figure is twice as good; infinite at a perfect 0."""
        small, large = (measured, self.value) if self.sign == "<=" else (self.value, measured)
        return large / small if small > 0 else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One benchmark as it was last run: `about` holds date, machine and how; `figures` the lines that it printed."""

    name: str
    about: Mapping[str, Any]
    figures: Sequence[Mapping[str, Any]]


def parse_goal(raw: object) -> Goal | None:
    """The goal of a figure.

    >>> parse_goal("<= 1.5 on quiet cores")
    Goal(sign='<=', value=1.5, note='on quiet cores')
    """
    if isinstance(raw, bool | int | float):
        return Goal(sign=">=", value=float(raw), note="")
    found = re.fullmatch(r"\s*([<>]=)\s*([\d.]+)\s*(.*)", raw) if isinstance(raw, str) else None
    return Goal(sign=found[1], value=float(found[2]), note=found[3]) if found else None


def parse_lines(out: str) -> list[dict[str, Any]]:
    """The figures among the lines that a benchmark printed; anything else on stdout is left out."""
    figures = []
    for line in out.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict) and "figure" in one and "value" in one:
            figures.append(one)
    return figures


# --- results on disk


def machine() -> dict[str, Any]:
    """What the figures were measured on, without names of hosts or folders."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": found,
    }


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "unknown"


def write_run(folder: Path, run: Run) -> None:
    """Keep a run as JSON lines: what it was, then its figures."""
    folder.mkdir(exist_ok=True)
    lines = [{"benchmark": run.name, **run.about}, *run.figures]
    (folder / f"{run.name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_runs(folder: Path, names: Iterable[str]) -> list[Run]:
    """The last runs of these benchmarks, those that were run."""
    runs = []
    for name in names:
        path = folder / f"{name}.jsonl"
        if path.is_file():
            about, *figures = [json.loads(line) for line in path.read_text().splitlines()]
            runs.append(Run(name=name, about=about, figures=figures))
    return runs


# --- the page


def page(runs: Sequence[Run]) -> str:
    """The section of numbers, Markdown."""
    goals = [_row(run.name, figure, goal) for run in runs for figure, goal in _aimed(run)]
    met = sum(row.endswith("| yes |") for row in goals)
    parts = [
        begin,
        "## Numbers",
        "",
        _machine_text(runs),
        "",
        f"### Goals: {met} of {len(goals)} reached",
        "",
        "| benchmark | figure | measured | goal | reached |",
        "|---|---|---|---|---|",
        *goals,
        "",
        "![How far each figure is beyond its goal](results/goals.png)",
        "",
        *(line for run in runs for line in _section(run)),
        end,
    ]
    return "\n".join(parts)


def _machine_text(runs: Sequence[Run]) -> str:
    seen = {json.dumps(run.about["machine"], sort_keys=True) for run in runs}
    lines = []
    for raw in sorted(seen):
        one = json.loads(raw)
        uses = ", ".join(f"{name} {version}" for name, version in one["libraries"].items())
        lines.append(
            f"Measured on {one['cpu']}, {one['cores']} cores, {one['memory_gb']} GB, {one['system']}, "
            f"Python {one['python']}; {uses}."
        )
    return "\n\n".join(lines)


def _aimed(run: Run) -> list[tuple[Mapping[str, Any], Goal]]:
    found = [(figure, parse_goal(figure.get("goal"))) for figure in run.figures if figure["value"] is not None]
    return [(figure, goal) for figure, goal in found if goal]


def _row(name: str, figure: Mapping[str, Any], goal: Goal) -> str:
    reached = "yes" if goal.is_met(figure["value"]) else "no"
    aim = f"{goal.sign} {goal.value:g} {goal.note}".strip()
    if isinstance(figure.get("goal"), bool):
        aim = "yes"
    return f"| {name} | {title(figure)} | {_measured(figure)} | {aim} | {reached} |"


def _section(run: Run) -> list[str]:
    about = run.about
    how = f"`python -m benchmarks.{run.name}{''.join(' ' + one for one in about['arguments'])}`"
    rows = [f"| {title(figure)} | {_measured(figure)} | {_details(figure)} |" for figure in run.figures]
    plot = [f"![{run.name}](results/{run.name}.png)", ""] if panels(run) else []
    return [
        f"### {run.name}",
        "",
        f"{about['date']}, {about['wall_s']:.0f} s, load of the machine before {about['load']:g}: {how}",
        "",
        "| figure | value | with |",
        "|---|---|---|",
        *rows,
        "",
        *plot,
    ]


def title(figure: Mapping[str, Any]) -> str:
    """The figure's name in words."""
    return str(figure["figure"]).replace("_", " ")


def _measured(figure: Mapping[str, Any]) -> str:
    return f"{shown(figure['value'])} {figure.get('unit', '')}".strip().replace("|", "/")


def _details(figure: Mapping[str, Any]) -> str:
    known = {"figure", "value", "unit", "goal"}
    return ", ".join(f"{name.replace('_', ' ')} {_plain(one)}" for name, one in figure.items() if name not in known)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {shown(one)}" for name, one in value.items())
    if isinstance(value, list):
        return " to ".join(shown(one) for one in value)
    return shown(value)


def shown(value: object) -> str:
    """A value as a person reads it.

    >>> shown(1234567), shown(0.75571), shown(True)
    ('1,234,567', '0.756', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if 0.999 < value < 1:
            return f"{value:.8g}"
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_page(readme: Path, runs: Sequence[Run]) -> None:
    """Put the section of numbers in its place; what people wrote around it stays."""
    text = readme.read_text() if readme.is_file() else "# Benchmarks\n"
    section = page(runs)
    if begin in text and end in text:
        before, _, rest = text.partition(begin)
        text = before + section + rest.partition(end)[2]
    else:
        text = f"{text.rstrip()}\n\n{section}\n"
    readme.write_text(text)


# --- plots


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    label: str
    value: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars of one unit, drawn to one scale from 0; `mark` is where a line is drawn across them."""

    title: str
    bars: Sequence[Bar]
    mark: float | None = None


def panels(run: Run) -> list[Panel]:
    """One panel for each unit that two figures of a run share."""
    by_unit: dict[str, list[Bar]] = defaultdict(list)
    for figure in run.figures:
        value = figure["value"]
        if not isinstance(value, bool) and isinstance(value, int | float):
            unit = str(figure.get("unit", "")).partition(",")[0]
            rows = f", {figure['rows']:,} rows" if isinstance(figure.get("rows"), int) else ""
            by_unit[unit].append(Bar(label=title(figure) + rows, value=value, text=shown(value), colour=plain))
    return [Panel(title=unit or "value", bars=bars) for unit, bars in by_unit.items() if len(bars) > 1]


def goal_panel(runs: Sequence[Run]) -> Panel:
    """Every figure with a goal, as how many times better than its goal it is; bars end at 4."""
    bars = []
    for run in runs:
        for figure, goal in _aimed(run):
            if isinstance(figure["goal"], bool):
                continue
            reached = goal.reached(float(figure["value"]))
            colour = good if goal.is_met(figure["value"]) else bad
            text = f"{shown(figure['value'])} (goal {goal.sign} {goal.value:g})"
            bars.append(Bar(label=f"{run.name}: {title(figure)}", value=min(reached, 4.0), text=text, colour=colour))
    return Panel(title="times as good as the goal (the line; bars end at 4)", bars=bars, mark=1.0)


def draw(path: Path, shown_panels: Sequence[Panel]) -> None:
    """Horizontal bars, PNG."""
    width, row, label_width, text_width = 1_280, 26, 460, 230
    height = sum(54 + row * len(panel.bars) for panel in shown_panels) + 20
    image = Image.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(image)
    font, bold = ImageFont.load_default(15), ImageFont.load_default(17)
    y = 16
    for panel in shown_panels:
        pen.text((16, y), panel.title, fill=ink, font=bold)
        y += 32
        longest = max([bar.value for bar in panel.bars] + [panel.mark or 0.0]) or 1.0
        scale = (width - label_width - text_width - 20) / longest
        top = y
        for bar in panel.bars:
            pen.text((16, y + 3), _cut(bar.label, 58), fill=ink, font=font)
            far = label_width + max(bar.value, 0.0) * scale
            pen.rectangle((label_width, y + 4, max(far, label_width + 1), y + row - 5), fill=bar.colour)
            pen.text((far + 8, y + 3), bar.text, fill=ink, font=font)
            y += row
        pen.line((label_width, top, label_width, y), fill=pale)
        if panel.mark is not None:
            at = label_width + panel.mark * scale
            pen.line((at, top - 2, at, y), fill=ink, width=2)
        y += 22
    path.parent.mkdir(exist_ok=True)
    image.save(path, optimize=True)


def _cut(label: str, n: int) -> str:
    return label if len(label) <= n else label[: n - 1] + "\u2026"


def draw_all(folder: Path, runs: Sequence[Run]) -> None:
    """A plot of all goals, and one a run."""
    if (aimed := goal_panel(runs)).bars:
        draw(folder / "goals.png", [aimed])
    for run in runs:
        if found := panels(run):
            draw(folder / f"{run.name}.png", found)
