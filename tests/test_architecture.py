"""The house stands as docs and DESIGN say: imports point one way, and effects stay at the deps."""

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
ground = {
    "contracts",
    "errors",
    "settings",
    "text",
    "atomic",
    "cached_folder",
    "http_client",
    "locations",
    "redact",
    "neighbors",
    "retry",
}
# what makes an HTTP client or a request, by module; only components/http_client.py may name it
client_makers = {
    "httpx": {"Client", "AsyncClient", "HTTPTransport", "AsyncHTTPTransport", "request", "stream"}
    | {"get", "post", "put", "patch", "delete", "head", "options"},
    "urllib.request": {"urlopen", "build_opener", "urlretrieve", "OpenerDirector"},
    "http.client": {"HTTPConnection", "HTTPSConnection"},
}
client_libraries = {"requests", "aiohttp", "urllib3", "websockets", "websocket", "pycurl", "httplib2"}


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


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(root)))
def test_http_clients_are_made_in_one_module(path: Path) -> None:
    """A client made elsewhere would send what is meant for this machine to the proxy of the environment."""
    if path == root / "components" / "http_client.py":
        return
    tree = ast.parse(path.read_text())
    names = {  # as this module calls what it imports
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not {name.split(".")[0] for name in imports(path)} & client_libraries
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert not client_makers.get(node.module or "", set()) & {alias.name for alias in node.names}
            if f"{node.module}" in {"urllib", "http"}:
                assert not {"request", "client"} & {alias.name for alias in node.names}, "import the whole module"
        if isinstance(node, ast.Attribute):
            owner = names.get(ast.unparse(node.value), "")
            assert node.attr not in client_makers.get(owner, set()), f"{path.name}: {ast.unparse(node)}"


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
