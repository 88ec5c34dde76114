"""The benchmarks' figures have one shape, and the page says of each whether its goal is reached."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.__main__ import benchmarks
from benchmarks.report import (
    Goal,
    Run,
    draw_all,
    machine,
    page,
    parse_goal,
    parse_lines,
    read_runs,
    shown,
    write_page,
    write_run,
)

root = Path(__file__).parents[1]


def run_of(name: str = "place", **figures: dict[str, object]) -> Run:
    about = {"date": "2026-01-02", "arguments": ["--rows", "5"], "wall_s": 3.0, "load": 0.5, "machine": machine()}
    lines = [{"figure": figure, **rest} for figure, rest in figures.items()]
    return Run(name=name, about=about, figures=lines)


def test_a_goal_says_its_sign_its_value_and_when_it_holds():
    assert parse_goal("<= 1.5 on quiet cores") == Goal(sign="<=", value=1.5, note="on quiet cores")
    assert parse_goal(1.45) == Goal(sign=">=", value=1.45, note="")
    assert parse_goal(None) is None
    assert parse_goal("as fast as can be") is None


@pytest.mark.parametrize(
    ("goal", "measured", "is_met", "reached"),
    [("<= 2", 1.0, True, 2.0), ("<= 2", 4.0, False, 0.5), (">= 20", 40, True, 2.0), (">= 20", 5, False, 0.25)],
)
def test_a_goal_knows_whether_and_how_far_it_is_reached(goal, measured, is_met, reached):
    parsed = parse_goal(goal)
    assert parsed is not None
    assert parsed.is_met(measured) is is_met
    assert parsed.reached(measured) == reached


def test_only_figures_are_read_from_what_a_benchmark_prints():
    out = 'Embedding: 100%\n{"figure": "a", "value": 1, "unit": "s"}\n{"other": 2}\n[3]\n4\n'
    assert parse_lines(out) == [{"figure": "a", "value": 1, "unit": "s"}]


def test_a_run_written_is_the_run_read_back(tmp_path):
    run = run_of(a={"value": 1.25, "unit": "s"}, b={"value": None, "why": "no compiler"})
    write_run(tmp_path, run)
    (again,) = read_runs(tmp_path, ["read", "place"])
    assert (again.name, again.figures) == (run.name, run.figures)
    assert again.about["machine"] == run.about["machine"]


def test_the_page_names_what_is_reached_and_what_is_not():
    text = page(
        [
            run_of(
                good={"value": 0.5, "unit": "s", "goal": "<= 1"},
                bad={"value": 5.0, "unit": "x", "goal": ">= 20"},
                same_bits={"value": True, "goal": True},
                untold={"value": None, "goal": ">= 1", "why": "no compiler"},
            )
        ]
    )
    assert "| place | good | 0.5 s | <= 1 | yes |" in text
    assert "| place | bad | 5 x | >= 20 | no |" in text
    assert "| place | same bits | yes | yes | yes |" in text
    assert "2 of 3 reached" in text


def test_only_the_numbers_of_the_page_are_written_anew(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Ours\n\nwords before\n")
    write_page(readme, [run_of(a={"value": 1.0, "unit": "s"})])
    readme.write_text(readme.read_text() + "\nwords after\n")
    write_page(readme, [run_of(a={"value": 2.0, "unit": "s"})])
    text = readme.read_text()
    assert text.count("## Numbers") == 1
    assert "words before" in text
    assert text.endswith("words after\n")
    assert "| a | 2 s |" in text
    assert "| a | 1 s |" not in text


def test_plots_are_pictures_with_every_bar(tmp_path):
    run = run_of(
        a={"value": 1.0, "unit": "s CPU, ours", "goal": "<= 2"},
        b={"value": 9.0, "unit": "s CPU, theirs", "goal": "<= 2"},
        zero={"value": 0.0, "unit": "s CPU"},
    )
    draw_all(tmp_path, [run])
    for name in ("goals.png", "place.png"):
        with Image.open(tmp_path / name) as image:
            assert len(image.convert("RGB").getcolors(1 << 20) or []) > 2, name


def test_a_value_is_shown_as_a_person_reads_it():
    assert [shown(one) for one in (1234567, 0.75571, 12345.6, 0.99999994, True, "x")] == [
        "1,234,567",
        "0.756",
        "12,346",
        "0.99999994",
        "yes",
        "x",
    ]


def test_the_machine_is_told_without_names_of_hosts_or_folders():
    import socket

    text = json.dumps(machine())
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text


def test_no_benchmark_is_left_out_of_the_page():
    shared = {"__init__", "__main__", "behaviours", "compare_cost", "map_quality", "measure", "report", "sample_logs"}
    assert {path.stem for path in (root / "benchmarks").glob("*.py")} - shared <= benchmarks.keys()


def test_the_committed_page_is_that_of_the_committed_figures():
    runs = read_runs(root / "benchmarks" / "results", benchmarks)
    assert page(runs) in (root / "benchmarks" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("load", "--runs 12 --rounds 1 --files 20"),
        ("index", "--small 300 --large 600 --landmarks 200 --umap-rows 100 --peer-rows 0 --rounds 1"),
        ("publish", "--small 200 --large 400 --rounds 1 --dim 8"),
    ],
)
def test_a_benchmark_prints_figures_and_nothing_else(name, arguments):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments.split()],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = parse_lines(done.stdout)
    assert len(figures) == len(done.stdout.splitlines()) > 5
    assert all(figure["unit"] for figure in figures)
    assert all(parse_goal(figure["goal"]) for figure in figures if "goal" in figure)
