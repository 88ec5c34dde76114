"""The pages' JavaScript: its structure, what is vendored, its types, what its linter says, and the tests of its pure modules."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from page_tools import installed_tools, needs_node, root

static = root / "api" / "static"
vendored = static / "vendor" / "preact"
packages = ("core", "gl", "ui", "terrain")
may_import = {  # package -> packages that it may import besides itself
    "core": set(),
    "gl": {"core"},
    "ui": {"core", "vendor"},
    "terrain": {"core", "gl", "ui", "vendor"},
}
browser_words = re.compile(
    r"\b(document|window|navigator|location|localStorage|sessionStorage|fetch|WebGL\w*|gl|HTML\w+)\b"
)


def modules() -> list[Path]:
    return sorted(path for package in packages for path in (static / package).glob("*.js"))


def code_of(path: Path) -> str:
    """The module without comments."""
    return re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", "", path.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("path", modules(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_modules_import_in_one_direction(path: Path) -> None:
    targets = re.findall(r"(?:from|import)\s*\(?\"([^\"]+)\"", code_of(path))
    assert all(target.startswith(("./", "../")) for target in targets), "browsers resolve relative addresses alone"
    files = [(path.parent / target).resolve() for target in targets]
    assert all(file.is_file() for file in files), targets
    own = path.parent.name
    assert {file.relative_to(static).parts[0] for file in files} - {own} <= may_import[own]


@pytest.mark.parametrize("path", sorted((static / "core").glob("*.js")), ids=lambda path: path.name)
def test_core_knows_no_browser(path: Path) -> None:
    code = re.sub(r"\"[^\"]*\"|`[^`]*`", "", code_of(path))
    assert not browser_words.findall(code)


@pytest.mark.parametrize("path", modules(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_the_vendored_file_is_the_one_that_is_described() -> None:
    described = json.loads((vendored / "vendor.json").read_text("utf-8"))
    assert hashlib.sha256((vendored / described["file"]).read_bytes()).hexdigest() == described["sha256"]
    locked = json.loads((root / "vendoring" / "package-lock.json").read_text("utf-8"))["packages"]
    for package in described["packages"]:
        lock = locked[f"node_modules/{package['name']}"]
        assert (package["version"], package["integrity"]) == (lock["version"], lock["integrity"])
        assert package["licence"] in {"MIT", "Apache-2.0"}
        assert (vendored / package["licence_file"]).stat().st_size > 900


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_tools(tmp_path_factory.mktemp("tools"))


@pytest.mark.slow
@needs_node
def test_the_vendored_file_is_rebuilt_byte_for_byte(tools: Path) -> None:
    built = tools / "built"
    subprocess.run(["node", "build.mjs", str(built)], cwd=tools, check=True, timeout=120)
    assert {path.name: path.read_bytes() for path in built.iterdir()} == {
        path.name: path.read_bytes() for path in vendored.iterdir()
    }


def said(tools: Path, tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A tool of `vendoring/`, run in the checkout."""
    command = [tools / "node_modules" / ".bin" / tool, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@needs_node
def test_types_are_right(tools: Path) -> None:
    checked = said(tools, "tsc", "--project", root / "jsconfig.json")
    assert checked.returncode == 0, checked.stdout
    broken = tools / "broken.js"
    core = (static / "core" / "balance.js").as_posix()
    broken.write_text(f'import {{ gini }} from "{core}";\nexport const one = gini("a").size;\n', "utf-8")
    found = said(tools, "tsc", "--checkJs", "--noEmit", "--strict", "--target", "es2023", broken)
    assert "broken.js(2" in found.stdout, "the checker finds what is wrong"


@pytest.mark.slow
@needs_node
def test_the_linter_finds_nothing_in_any_file_of_ours(tools: Path) -> None:
    rules = ("--config", tools / "eslint.config.mjs", "--max-warnings", "0")
    linted = said(tools, "eslint", *rules, "--format", "json", "api/static")
    found = json.loads(linted.stdout)
    assert [(one["filePath"], one["messages"]) for one in found if one["messages"]] == []
    ours = {path for path in static.rglob("*.js") if "vendor" not in path.relative_to(static).parts}
    assert {Path(one["filePath"]) for one in found} == ours
    broken = subprocess.run(
        [tools / "node_modules" / ".bin" / "eslint", *rules, "--stdin", "--stdin-filename", "api/static/broken.js"],
        input="let kept = 1;\nif (kept == missing) var again = kept;\n",
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert broken.returncode == 1
    rule_names = ("prefer-const", "eqeqeq", "no-undef", "no-var", "no-unused-vars")
    assert [name for name in rule_names if name not in broken.stdout] == [], broken.stdout


@pytest.mark.slow
@needs_node
def test_pure_modules_compute_what_they_promise() -> None:
    done = subprocess.run(
        ["node", "--test", root / "tests" / "pages" / "core.test.mjs"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE) or re.search(r"pass (\d+)", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= 15
