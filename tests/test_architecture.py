"""The structure of the code: which package may import which, where effects happen, and how large things grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

root = Path(__file__).parents[1]
top_level = ("components", "flows", "api", "sciembed")

# Inside components, each package may import itself, the ground, and what is named here.
ground = {
    *("contracts", "errors", "settings", "text", "arrow", "atomic", "cached_folder", "private"),
    *("http_client", "locations", "redact", "retry", "columns", "failures"),
}
allowed = {
    "sources": set(),
    "store": set(),
    "neighbors": set(),
    "embedders": set(),
    "projector": {"neighbors"},
    "snapshot": {"store"},
    "views": {"snapshot", "neighbors"},
    "topics": {"projector", "neighbors"},
    "publish": {"snapshot", "store", "topics"},
    "search": {"snapshot", "store", "neighbors"},
    "compare": {"snapshot", "store", "neighbors", "search"},
    "ingest": {"store"},
    "load": {"sources", "store", "datasets", "credentials"},
    "receive": {"sources", "store"},
    "survey": {"store", "sources", "topics"},
    "index": {"store", "projector", "embedders", "neighbors", "publish", "topics", "snapshot", "search"},
}
# Own modules that are imported inside a function, by importer, each with its reason; all other imports are at the top.
late_imports = {
    "api/cli/command.py": {"components.pipeline": "SQLAlchemy: 0.4 s that `--help` does not need"},
    "api/cli/inspection.py": {"api.cli.doctor": "SQLAlchemy, as above"},
    "api/cli/loading.py": {"api.cli.explain": "all formats: 0.5 s that only `load --explain` needs"},
    "api/cli/serving.py": {
        "api.up.supervisor": "Prefect: 2 s that only `up` needs",
        "api.cli.view": "the web server, for `view` alone",
        "api.cli.watch": "the watcher, for `watch` alone",
    },
    "api/cli/mcp.py": {"api.mcp_server": "the protocol's library and SQLAlchemy: 1 s that only `mcp` needs"},
    "components/pipeline.py": {"components.verify": "pyarrow: 0.2 s that commands on the store do not need"},
    "components/selection_pipeline.py": {
        "components.snapshot.read": "pyarrow, as above",
        "components.selections": "pyarrow, as above",
    },
    "components/wiring.py": {  # so that each operation imports what it needs itself
        "components.sources.files": "the readers of logs",
        "components.load": "loading",
        "components.index": "indexing: umap's layout, pyarrow",
        "components.publish.run": "publishing: pyarrow",
        "components.search": "searching: polars, pyarrow",
        "components.compare": "comparing: the same",
        "components.projector.umap_projector": "the projector",
        "components.embedders.model_uri": "the embedders",
    },
    "components/embedders/model_uri.py": {
        "components.embedders": "httpx, for services alone",
        "components.embedders.torch_models": "torch: 4 s that the default model does not need",
    },
}
# Modules longer than 400 lines, each with its reason.
long_modules = {
    "components/contracts.py": "every value and Protocol on one page, as documentation",
    "components/settings.py": "every setting with its unit and default on one page, as documentation",
}
long_classes = {"Pipeline": "the Python API: one documented method per operation"}
with_many_attributes = {
    "Settings": "one field per setting",
    "DatasetSettings": "one field per setting",
    "IngestConfig": "one field per option of an ingest",
    "MapData": "one field per column of the map page",
    "Store": "one field per table group of the database",
}
sql_outside_of_the_store = {
    "components/sources/tables.py": "reads the databases of users",
    "components/locations.py": "parses database URLs",
    "flows/watch.py": "polls the data_version of users' SQLite files",
    "components/sources/table_urls.py": "parses database URLs",
    **dict.fromkeys(
        (
            f"components/sources/stores/{name}.py"
            for name in ("contract", "cursor", "goose", "opencode", "snapshot", "stores")
        ),
        "reads copies of the databases of other programs",
    ),
    "api/state.py": "translates errors of the database that were not expected",
    "api/problems.py": "translates errors of the database that were not expected",
}
# what makes an HTTP client or a request, by module; only components/http_client.py may name it
client_makers = {
    "httpx": {"Client", "AsyncClient", "HTTPTransport", "AsyncHTTPTransport", "request", "stream"}
    | {"get", "post", "put", "patch", "delete", "head", "options"},
    "urllib.request": {"urlopen", "build_opener", "urlretrieve", "OpenerDirector"},
    "http.client": {"HTTPConnection", "HTTPSConnection"},
}
client_libraries = {"requests", "aiohttp", "urllib3", "websockets", "websocket", "pycurl", "httplib2"}


@cache
def modules() -> list[Path]:
    return sorted(path for name in top_level for path in (root / name).rglob("*.py") if "migrations" not in path.parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    return path.relative_to(root).as_posix()


def imported(nodes: Iterator[ast.AST] | list[ast.AST]) -> Iterator[str]:
    """Dotted names of the modules, and of what is taken from them."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> list[str]:
    return list(imported(ast.walk(tree_of(path))))


def late(path: Path) -> list[str]:
    """Modules of ours that a function imports."""
    found: list[str] = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found += [
                inner.module
                for inner in ast.walk(node)
                if isinstance(inner, ast.ImportFrom) and (inner.module or "").split(".")[0] in top_level
            ]
    return found


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(root).parts[0]
    above = top_level[top_level.index(own) + 1 :]
    found = {name.split(".")[0] for name in imports(path)}
    assert not found & set(above), f"{path.name} imports upwards: {found & set(above)}"
    if own == "components":
        assert not found & {"prefect", "fastapi", "typer", "click"}, (
            "components depend on no server and no orchestrator"
        )


@pytest.mark.parametrize("package", sorted(allowed))
def test_packages_import_only_what_they_are_allowed_to(package: str) -> None:
    for path in (root / "components" / package).rglob("*.py"):
        for name in imports(path):
            if name.startswith("components."):
                target = name.split(".")[1]
                assert target in ground | allowed[package] | {package}, f"{name_of(path)} imports {name}"


def test_every_package_has_its_allowed_imports() -> None:
    packages = {path.name for path in (root / "components").iterdir() if (path / "__init__.py").exists()}
    assert packages - {"samples"} == set(allowed)


def test_own_modules_are_imported_at_the_top() -> None:
    """But for those that keep commands quick, at most twenty-one, each with its reason above."""
    found = {name_of(path): set(late(path)) for path in modules() if late(path)}
    assert found == {name: set(reasons) for name, reasons in late_imports.items()}
    assert sum(len(late(path)) for path in modules()) <= 21


def test_packages_re_export_nothing() -> None:
    for path in modules():
        if path.name == "__init__.py":
            taken = [name for name in imports(path) if name.split(".")[0] in top_level]
            assert not taken or path.parent.name in {"store", "formats", "sciembed"}, (
                f"{name_of(path)} only passes names on; import them from where they are"
            )


def test_sql_stands_only_in_the_store() -> None:
    for path in modules():
        name = name_of(path)
        if not name.startswith("components/store/") and name not in sql_outside_of_the_store:
            used = [one for one in imports(path) if one.split(".")[0] in {"sqlalchemy", "sqlmodel", "sqlite3"}]
            assert not used, f"{name} imports {used}"


def test_modules_and_classes_stay_small() -> None:
    for path in modules():
        lines = len(path.read_text().splitlines())
        assert lines <= 400 or name_of(path) in long_modules, f"{name_of(path)} has {lines} lines"
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 250 or node.name in long_classes, (
                    f"class {node.name} in {name_of(path)} has {length} lines"
                )
                is_allowed = is_declaration(node) or node.name in with_many_attributes
                assert len(attributes(node)) <= 12 or is_allowed, f"{node.name}: {sorted(attributes(node))}"


def attributes(node: ast.ClassDef) -> set[str]:
    """Names that the class sets on itself: fields, and assignments to `self`."""
    fields = {
        item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    assigned = {
        target.attr
        for item in ast.walk(node)
        if isinstance(item, (ast.Assign, ast.AnnAssign))
        for target in (item.targets if isinstance(item, ast.Assign) else [item.target])
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    }
    return fields | assigned


def is_declaration(node: ast.ClassDef) -> bool:
    """Tables, settings and values that consist of fields alone have as many as they describe."""
    return not any(isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) for item in node.body) or bool(
        node.keywords
    )


def test_most_public_names_have_a_docstring() -> None:
    public, bare = 0, []
    for path in modules():
        for node in [*tree_of(path).body]:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith(
                "_"
            ):
                public += 1
                if not ast.get_docstring(node):
                    bare.append(f"{name_of(path)}: {node.name}")
    assert len(bare) <= 0.06 * public, bare


def test_the_words_of_the_field_are_used() -> None:
    """Words that a reader would have to learn; see docs/glossary.md for those that are defined."""
    unwanted = re.compile(r"\b(told|doors?|wish(es)?|patiently)\b", re.IGNORECASE)
    for path in [*modules(), *(root / "api" / "static").rglob("*.*")]:
        if path.suffix in {".py", ".js", ".html", ".css"} and "vendor" not in path.parts:
            found = [line for line in path.read_text().splitlines() if unwanted.search(line)]
            assert not found, f"{name_of(path)}: {found}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_effects_stay_at_the_edges(path: Path) -> None:
    relative = path.relative_to(root).as_posix()
    tree = tree_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{relative} prints"
        if isinstance(node, ast.Attribute) and relative.startswith("components"):
            assert node.attr != "environ" or relative == "components/settings.py", f"{relative} reads the environment"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_http_clients_are_made_in_one_module(path: Path) -> None:
    """A client made elsewhere would send what is meant for this machine to the proxy of the environment."""
    if path == root / "components" / "http_client.py":
        return
    tree = tree_of(path)
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
        assert not {name.split(".")[0] for name in imports(path)} & {"os", "pathlib", "io", "sqlite3", "zipfile"}, (
            f"{path.name} opens things"
        )


def test_importing_is_cheap_and_does_nothing() -> None:
    code = """
import sys, os
before = set(os.listdir("."))
import components.pipeline, api.cli.main
heavy = {"torch", "umap", "numba", "sentence_transformers", "onnxruntime", "prefect", "fastapi", "polars"} & set(sys.modules)
heavy |= {"sqlalchemy.dialects.postgresql", "pyarrow.compute", "filelock"} & set(sys.modules)
assert not heavy, heavy
assert set(os.listdir(".")) == before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
