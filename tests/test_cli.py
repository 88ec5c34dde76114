"""The command line: JSON reports, readable output, exit codes, one-line errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from logs import append, lines, write

from components.store import Store, lease_name

Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("RUNATLAS_")},
        "RUNATLAS_HOME": str(tmp_path / "home"),
        "RUNATLAS_MODEL": "hash://32",
        "RUNATLAS_LOAD__QUIET_S": "0",
        "COLUMNS": "200",
    }


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Shell:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "api.cli.main", *map(str, arguments)]
        root = str(Path(__file__).parents[1])
        env = {**environment, "PYTHONPATH": root}
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False, timeout=600)

    return run


def report(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout)


def test_reports_have_the_literal_keys(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "logs" / "a.jsonl", lines(40))
    loaded = report(shell("load", tmp_path / "logs", "--json"))
    assert set(loaded) >= {"dataset", "sources", "records", "defects", "bytes", "seconds", "problems"}
    assert set(loaded["sources"]) >= {"discovered", "loaded", "resumed", "skipped", "not_ready", "failed", "gone"}
    assert set(loaded["records"]) >= {"new", "existing", "superseded", "unindexed"}
    indexed = report(shell("index", "--json"))
    assert set(indexed) >= {
        *(
            "dataset",
            "records",
            "embedded",
            "reused",
            "failed",
            "step",
            "layout",
            "drift",
            "snapshot",
            "rows",
            "seconds",
        )
    }
    assert set(indexed["seconds"]) >= {"fetch", "embed", "project", "publish", "total"}
    assert (indexed["step"], indexed["rows"]) == ("fit", 40)
    state = report(shell("status", "--json"))["datasets"]["default"]
    assert set(state) >= {"records", "unindexed", "failed", "defects", "model", "layout", "drift", "snapshot", "output"}
    checked = report(shell("verify", "--json"))
    assert checked["ok"] is True
    assert set(checked["checks"][0]) >= {"name", "ok", "detail"}
    exported = report(shell("export", "--to", tmp_path / "plain", "--json"))
    assert [Path(path).name for path in exported["files"]] == ["logs.parquet", "embeddings.parquet"]


@pytest.mark.slow
def test_reports_for_people_are_sentences(shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(20))
    assert "20 new records" in shell("load", path).stdout
    assert "Map created (layout 1)" in shell("index").stdout
    append(path, lines(3, start=20))
    assert "3 new records" in shell("load").stdout
    assert "Map updated (layout 1)" in shell("index").stdout
    assert "no pending records" in shell("index").stdout
    assert str(path) in shell("status").stdout
    assert shell("defects").stdout == "No defects.\n"
    assert shell("failed").stdout == "No failed records.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["load", "missing-folder"], 1, "missing-folder"),
        (["load", "--no-such-flag"], 2, "No such option"),
        (["index", "-d", "../etc"], 2, "can't be used"),
        (["verify", "-d", "nothing"], 1, "no dataset"),
        (["show", "0" * 32], 1, "Nothing was loaded"),
        (["export", "--to", "out"], 1, "runatlas index"),
        (["view"], 1, "runatlas index"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do_and_an_exit_code(
    shell: Shell, arguments: list[str], code: int, message: str
) -> None:
    done = shell(*arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_invalid_setting_is_reported_with_its_value(shell: Shell, environment: dict[str, str]) -> None:
    environment["RUNATLAS_API__PORT"] = "many"
    done = shell("status")
    assert (done.returncode, "api.port" in done.stderr, "many" in done.stderr) == (2, True, True)


def test_sources_that_fail_for_one_reason_share_a_line(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    write(folder / "good.jsonl", lines(3))
    for name in ("a", "b"):
        (folder / f"{name}.json").write_text('{"other": 1}')
    (folder / "c.bin").write_bytes(bytes(range(256)))
    done = shell("load", folder)
    output = done.stdout.splitlines()
    assert done.returncode == 0  # something could be read
    assert any(line.startswith("  2 sources (a.json, b.json): Unsupported format.") for line in output)
    assert any(line.startswith("  c.bin: ") for line in output)


def test_a_problem_is_reported_once_and_again_when_it_changes(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    write(folder / "good.jsonl", lines(3))
    for n in range(11):
        (folder / f"odd-{n}.json").write_text('{"other": 1}')
    first, second = shell("load", folder).stdout, shell("load").stdout
    assert "11 sources (odd-0.json, " in first
    assert "and 6 more" in first
    assert "odd-" not in second
    assert "11 more have not changed since an earlier load reported them" in second
    (folder / "odd-3.json").write_text('{"other": 22}')
    third = report(shell("load", "--json"))
    assert [one["source"] for one in third["problems"] if not one["known"]] == ["odd-3.json"]
    assert third["sources"]["failed"] == 11
    assert "11 not read" in shell("sources").stdout


def test_a_source_that_names_nothing_is_reported_once(
    shell: Shell, environment: dict[str, str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    environment["RUNATLAS_DATASETS"] = orjson.dumps({"default": {"sources": [missing]}}).decode()
    assert missing in shell("load").stdout
    assert missing not in shell("load").stdout


def test_explain_prints_one_line_for_each_file_before_the_details(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    write(folder / "good.jsonl", lines(3))
    (folder / "odd.json").write_text('{"other": 1}')
    output = shell("load", "--explain", folder).stdout.splitlines()
    assert [line.partition(":")[0] for line in output[:2]] == ["good.jsonl", "odd.json"]
    assert output[2] == ""


def test_each_count_of_a_load_that_is_not_obvious_is_explained(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    write(folder / "good.jsonl", [*lines(3), "not json\n"])
    (folder / "odd.json").write_text('{"other": 1}')
    output = shell("load", folder, "-d", "demo").stdout
    assert "Failed: 1 source could not be read" in output
    assert "Defects: 1 line or item could not be converted to records. Details: `runatlas defects -d demo`" in output
    assert "3 records pending. Next: `runatlas index -d demo`" in output
    assert not {"Not ready", "Gone", "Superseded"} & {line.partition(":")[0] for line in output.splitlines()}
    assert ", 0 " not in output


def test_starting_the_command_line_imports_no_heavy_library() -> None:
    code = """
import sys
import api.cli.main
heavy = {"torch", "umap", "numba", "onnxruntime", "prefect", "fastapi", "uvicorn", "sqlalchemy", "pyarrow", "polars"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["claud", "nothing-like-it"])
def test_an_unknown_format_is_rejected_before_anything_is_stored(shell: Shell, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    done = shell("load", tmp_path / "a.bin", "--format", name)
    assert done.returncode == 2
    assert f"There is no format called '{name}'" in done.stderr
    assert ("did you mean 'claude_code'" in done.stderr) == (name == "claud")
    assert "a.bin" not in shell("sources").stdout


def test_version_is_printed(shell: Shell) -> None:
    from importlib.metadata import version

    assert shell("--version").stdout == f"runatlas {version('runatlas')}\n"


@pytest.mark.slow
def test_status_of_one_dataset(shell: Shell, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(3))
    for name in ("one", "two"):
        shell("load", path, "-d", name)
    assert set(report(shell("status", "-d", "two", "--json"))["datasets"]) == {"two"}
    assert shell("status", "-d", "three").returncode == 1


@pytest.mark.slow
def test_doctor_reports_a_dataset_whose_settings_name_another_model(
    shell: Shell, environment: dict[str, str], tmp_path: Path
) -> None:
    shell("load", write(tmp_path / "a.jsonl", lines(5)))
    shell("index")
    findings = {one["name"]: one for one in orjson.loads(shell("doctor", "--json").stdout)}
    assert findings["models of datasets"]["ok"]
    environment["RUNATLAS_MODEL"] = "hash://64"
    done = shell("doctor", "--json")
    finding = next(one for one in orjson.loads(done.stdout) if one["name"] == "models of datasets")
    assert (done.returncode, finding["ok"]) == (1, False)
    assert "default" in finding["detail"]
    assert "--recompute" in finding["detail"]


def test_progress_without_a_terminal_is_printed_as_lines() -> None:
    from threading import Event

    from api.cli.progress import ProgressLines

    class Output:
        def __init__(self) -> None:
            self.text, self.written = "", Event()

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            self.written.set()

    output = Output()
    with ProgressLines(output, every_s=0.001) as report_to:  # type: ignore[arg-type]
        report_to("embed", 512, 2_048)
        assert output.written.wait(60)
    assert output.text.startswith("embed: 512 of 2,048 (25%), 0 s\n")


@pytest.mark.slow
def test_ctrl_c_stops_an_index_cleanly_and_the_next_one_resumes(
    shell: Shell, environment: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", lines(3_000))
    shell("load", tmp_path / "a.jsonl")
    child = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", "index"],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with closing(Store(f"sqlite:///{tmp_path / 'home' / 'runatlas.db'}")) as store:
        while child.poll() is None and not store.leases.holder(lease_name("default")).is_held:
            time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=300)
    # CPython itself ends by the signal where the interrupt met a string being exec'd (an import): 130 to a shell, too.
    assert child.returncode in {130, -signal.SIGINT, 0}, errors
    assert "Traceback" not in errors
    assert report(shell("index", "--json"))["rows"] == 3_000
    assert report(shell("verify", "--json"))["ok"] is True


@pytest.mark.parametrize(
    "arguments", [["search", "a"], ["show", "nobody"], ["configure", "nonsense=1"]], ids=lambda one: one[0]
)
def test_with_json_logs_every_line_on_stderr_is_an_object(shell: Shell, arguments: list[str]) -> None:
    plain, json = shell(*arguments), shell("--log-format", "json", *arguments)
    assert (json.returncode, json.stdout) == (plain.returncode, plain.stdout)
    found = [orjson.loads(line) for line in json.stderr.splitlines()]
    assert [set(line) for line in found] == [{"time", "level", "logger", "message"}] * len(found)
    assert [f"runatlas: {line['message']}" for line in found] == plain.stderr.splitlines()
    assert found[-1]["level"] == "ERROR"


def test_progress_is_logged_as_json(tmp_path: Path, environment: dict[str, str]) -> None:
    script = (
        "import time\nfrom api.cli.progress import progress\nimport api.cli.progress as module\n"
        "module.line_every_s = 0.05\nfrom api.json_logs import set_up_logging\nset_up_logging('json')\n"
        "import logging; logging.getLogger('api').warning('a name with %s', '\\udcff')\n"
        "with module.ProgressLines(__import__('sys').stderr, 0.05) as lines:\n    lines('embed', 1, 4)\n    time.sleep(0.3)\n"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    first, *others = [orjson.loads(line) for line in done.stderr.splitlines()]
    assert (first["level"], first["logger"], first["message"]) == ("WARNING", "api", "a name with ?")
    assert others
    assert all(line["message"].startswith("embed: 1 of 4 (25%)") for line in others)


def test_what_is_not_called_is_left_out_and_a_slip_is_answered_from_all(shell: Shell) -> None:
    root = str(Path(__file__).parents[1])
    for words, kept in (
        ("status", 1),
        ("--log-format json status", 1),
        ("--log-format=json topics", 1),
        ("-h", 27),
        ("statsu", 27),
    ):
        code = (
            "from api.cli import main as m\n"
            f"m._leave_out_other_commands({words.split()})\n"
            "print(len(m.app.registered_commands) + len(m.app.registered_groups))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
        assert int(done.stdout) == kept, words
    assert "Did you mean 'status'" in shell("statsu").stderr
