"""The house stands as docs and DESIGN say: imports point one way, and effects stay at the doors."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

root = Path(__file__).parents[1]
rooms = ("components", "flows", "api")
adapters = ("sources", "store", "embedders", "projector")
# what an adapter may know besides itself and third parties
ground = {"contracts", "errors", "settings", "text", "urls"}


def modules() -> list[Path]:
    return sorted(path for room in rooms for path in (root / room).rglob("*.py") if "migrations" not in path.parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(root)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(root).parts[0]
    above = rooms[rooms.index(room) + 1 :]
    found = {name.split(".")[0] for name in imports(path)}
    assert not found & set(above), f"{path.name} reaches up into {found & set(above)}"
    if room == "components":
        assert not found & {"prefect", "fastapi", "typer", "click"}, "components know no door and no conductor"


@pytest.mark.parametrize("adapter", adapters)
def test_adapters_do_not_import_each_other(adapter: str) -> None:
    for path in (root / "components" / adapter).rglob("*.py"):
        for name in imports(path):
            if name.startswith("components."):
                assert name.split(".")[1] in ground | {adapter}, f"{path.relative_to(root)} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(root)))
def test_effects_stay_at_the_doors(path: Path) -> None:
    relative = path.relative_to(root).as_posix()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{relative} prints"
        if isinstance(node, ast.Attribute) and relative.startswith("components"):
            assert node.attr != "environ" or relative == "components/settings.py", f"{relative} reads the environment"


def test_formats_are_pure() -> None:
    for path in (root / "components" / "sources" / "formats").glob("*.py"):
        assert not set(imports(path)) & {"os", "pathlib", "io", "sqlite3", "zipfile"}, f"{path.name} opens things"


def test_importing_is_cheap_and_does_nothing() -> None:
    code = """
import sys, os
before = set(os.listdir("."))
import components.pipeline, api.cli
heavy = {"torch", "umap", "numba", "sentence_transformers", "onnxruntime", "prefect", "fastapi", "polars"} & set(sys.modules)
assert not heavy, heavy
assert set(os.listdir(".")) == before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
