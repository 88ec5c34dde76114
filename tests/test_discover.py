"""Finding the logs of known tools: all are found, nothing is read, and only what is picked is loaded."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from click.testing import Result
from typer.testing import CliRunner

from api.cli.main import app
from components.errors import BadSetting, NotFound
from components.sources.installed_tools import find_tools, pick
from components.sources.known_tools import TOOLS

PLACES = {
    "claude_code": [".claude/projects/-home-ada/s.jsonl", ".claude/projects/-home-ada/s/subagents/agent-1.jsonl"],
    "codex": [".codex/sessions/2026/01/01/rollout-2026-01-01T00-00-00-x.jsonl"],
    "gemini_cli": [".gemini/tmp/abc/chats/session-1.json"],
    "qwen_code": [".qwen/projects/p/chats/q.jsonl"],
    "iflow": [".iflow/projects/p/session-1.jsonl"],
    "kimi_code": [".kimi-code/sessions/w/s/wire.jsonl", ".kimi-code/sessions/w/s/context.json"],
    "copilot_cli": [".copilot/session-state/id/events.jsonl"],
    "vscode_copilot": [".config/Code/User/workspaceStorage/h/chatSessions/c.json"],
    "cursor": [
        ".cursor/projects/p/agent-transcripts/u/u.jsonl",
        "Library/Application Support/Cursor/User/globalStorage/state.vscdb",
    ],
    "cline": ["AppData/Roaming/Code/User/globalStorage/saoudrizwan.claude-dev/tasks/1/ui_messages.json"],
    "opencode": [".local/share/opencode/opencode.db"],
    "aider": ["work/pond/.aider.chat.history.md"],
    "droid": [".factory/sessions/p/d.jsonl"],
    "goose": [".local/share/goose/sessions/sessions.db"],
    "antigravity": [".gemini/antigravity/brain/id/.system_generated/logs/transcript_full.jsonl"],
    "amp": ["AppData/Local/amp/threads/T-1.json"],
    "pi": [".pi/agent/sessions/p/x.jsonl"],
    "openclaw": [".openclaw/agents/main/sessions/s.jsonl"],
    "openhands": [".openhands/conversations/c/events/event-00000-x.json"],
    "mini_swe_agent": [".config/mini-swe-agent/last_mini_run.traj.json"],
    "chatgpt": ["Downloads/export/conversations.json"],
}
SESSION = {"type": "user", "uuid": "u", "sessionId": "s", "cwd": "/w", "message": {"role": "user", "content": "Hello"}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "ada [home]"
    for paths in PLACES.values():
        for path in paths:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(orjson.dumps(SESSION) + b"\n")
    for other in ("notes/a.jsonl", ".secret/b.jsonl", ".config/Code/User/settings.json"):
        (place / other).parent.mkdir(parents=True, exist_ok=True)
        (place / other).write_text("{}")
    return place


def test_all_known_tools_are_found_with_just_their_files(home: Path) -> None:
    found = {tool.name: tool for tool in find_tools(home)}
    assert set(found) == set(PLACES) == {tool.name for tool in TOOLS}
    assert {name: tool.files for name, tool in found.items()} == {name: len(paths) for name, paths in PLACES.items()}
    sessions = {name: tool.sessions for name, tool in found.items()}
    assert (sessions["kimi_code"], sessions["cursor"], sessions["goose"]) == (1, 1, None)


def test_no_file_of_the_home_is_opened(home: Path) -> None:
    code = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in ("open", "sqlite3.connect") else None)
from pathlib import Path
from components.sources.installed_tools import find_tools
assert len(find_tools(Path(sys.argv[1]))) > 20
print([path for path in opened if path.startswith(sys.argv[1])])
"""
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_what_is_picked_is_loaded(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNATLAS_HOME", str(tmp_path / "data"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--home", str(home)])

    listed = run("discover").stdout
    assert all(name in listed for name in PLACES)
    assert "Nothing was read yet." in listed
    assert not (tmp_path / "data" / "runatlas.db").exists()
    report = json.loads(run("load", "--found", "claude_code, codex", "--json").stdout)
    assert report["sources"]["discovered"] == 3
    wrong = run("load", "--found", "claude")
    assert (wrong.exit_code, "Did you mean 'claude_code'?" in wrong.output) == (2, True)


def test_names_are_checked_before_anything_is_loaded(home: Path) -> None:
    found = find_tools(home)
    assert pick(found, "all", home) == found
    assert [tool.name for tool in pick(found, "pi,codex,pi", home)] == ["pi", "codex"]
    with pytest.raises(BadSetting, match="needs the names"):
        pick(found, " , ", home)
    with pytest.raises(NotFound, match="No logs of 'codex'"):
        pick([tool for tool in found if tool.name != "codex"], "codex", home)
    with pytest.raises(BadSetting, match="is no folder"):
        find_tools(home / "missing")


@pytest.mark.parametrize(
    ("answer", "n_sources"), [pytest.param("", 0, marks=pytest.mark.slow), ("nonsense\nclaude_code", 1)]
)
def test_the_first_start_asks_once_and_remembers_what_was_picked(
    home: Path, tmp_path: Path, answer: str, n_sources: int
) -> None:
    code = """
from contextlib import closing
from api.up.first_start import ask_at_first_start
from components.settings import load_settings
from components.wiring import open_store
settings = load_settings()
settings.home.mkdir(parents=True, exist_ok=True)
ask_at_first_start(settings)
ask_at_first_start(settings)
with closing(open_store(settings)) as store:
    print("sources:", sum(len(store.datasets.sources(id)) for id in store.datasets.ids().values()))
"""
    environment = {**os.environ, "RUNATLAS_HOME": str(tmp_path / "data"), "HOME": str(home)}
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    said = b""
    while True:
        try:
            said += os.read(ours, 65_536)
        except OSError:  # the other end was closed
            break
    os.close(ours)
    assert child.wait(timeout=60) == 0, said.decode()
    text = said.decode()
    assert text.count("Logs of tools that runatlas reads") == 1
    assert re.search(rf"sources: {n_sources}\b", text)
