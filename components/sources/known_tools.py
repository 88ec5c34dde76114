"""Where the tools whose logs are read keep them, on Linux, macOS and Windows.

A place is a glob below a person's home. All systems' places are looked for everywhere: a home may have been copied, or
mounted from another system.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

EDITORS: Final = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf", "Trae")
EDITOR_HOMES: Final = (".config/{}", "Library/Application Support/{}", "AppData/Roaming/{}")
REMOTE_EDITORS: Final = (".vscode-server/data", ".vscode-server-insiders/data", ".cursor-server/data")
DATA_HOMES: Final = (".local/share", "Library/Application Support", "AppData/Local", "AppData/Roaming")
CONFIG_HOMES: Final = (".config", "Library/Application Support", "AppData/Roaming", "AppData/Local")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool: its `name` for `load --found`, its `title` for people, and its `places`.

    `sessions` are the names of the files that hold a session each; "" where a database holds all of them.
    """

    name: str
    title: str
    places: Sequence[str]
    sessions: str = "*"


def _editors(place: str) -> list[str]:
    """The place below the settings of every editor of the family of VS Code."""
    local = [f"{home.format(editor)}/User/{place}" for editor in EDITORS for home in EDITOR_HOMES]
    return [*local, *(f"{home}/User/{place}" for home in REMOTE_EDITORS)]


def _below(homes: Sequence[str], *places: str) -> list[str]:
    return [f"{home}/{place}" for home in homes for place in places]


TOOLS: Final = (
    Tool(name="claude_code", title="Claude Code", places=(".claude/projects/", ".config/claude/projects/")),
    Tool(name="codex", title="Codex CLI", places=(".codex/sessions/", ".codex/archived_sessions/")),
    Tool(
        name="gemini_cli", title="Gemini CLI", places=(".gemini/tmp/*/chats/*.json", ".gemini/tmp/*/chats/*.jsonl")
    ),
    Tool(name="qwen_code", title="Qwen Code", places=(".qwen/projects/*/chats/*.jsonl",)),
    Tool(name="iflow", title="iFlow", places=(".iflow/projects/",)),
    Tool(name="kimi_code", title="Kimi Code", places=(".kimi-code/sessions/", ".kimi/sessions/"), sessions="wire.jsonl"),
    Tool(
        name="copilot_cli",
        title="GitHub Copilot CLI",
        places=(".copilot/session-state/*/events.jsonl", ".copilot/session-state/*.jsonl"),
    ),
    Tool(
        name="vscode_copilot",
        title="GitHub Copilot in VS Code",
        places=_editors("workspaceStorage/*/chatSessions/*.json*")
        + _editors("globalStorage/emptyWindowChatSessions/*.json*"),
    ),
    Tool(
        name="cursor",
        title="Cursor",
        places=[
            ".cursor/projects/*/agent-transcripts/**/*.jsonl",
            *(f"{home.format('Cursor')}/User/globalStorage/state.vscdb" for home in EDITOR_HOMES),
        ],
        sessions="*.jsonl",
    ),
    Tool(
        name="cline",
        title="Cline, Roo Code, Kilo Code",
        places=[
            place
            for extension in ("saoudrizwan.claude-dev", "rooveterinaryinc.roo-cline", "kilocode.kilo-code")
            for place in _editors(f"globalStorage/{extension}/tasks/*/ui_messages.json")
        ],
    ),
    Tool(
        name="opencode",
        title="opencode",
        places=_below(DATA_HOMES, "opencode/opencode*.db", "opencode/storage/"),
        sessions="ses_*.json",
    ),
    Tool(name="aider", title="Aider", places=[f"{'*/' * depth}.aider.chat.history.md" for depth in range(4)]),
    Tool(name="droid", title="Factory Droid", places=(".factory/sessions/",), sessions="*.jsonl"),
    Tool(
        name="goose",
        title="Goose",
        places=_below((*DATA_HOMES, "AppData/Roaming/Block", "Library/Application Support/Block"), "goose/sessions/*.jsonl",
                      "goose/sessions/sessions.db", "goose/data/sessions/sessions.db"),
        sessions="*.jsonl",
    ),
    Tool(
        name="antigravity",
        title="Antigravity",
        places=(".gemini/antigravity/brain/*/.system_generated/logs/transcript*.jsonl",),
    ),
    Tool(name="amp", title="Amp", places=_below(DATA_HOMES, "amp/threads/*.json")),
    Tool(name="pi", title="pi", places=(".pi/agent/sessions/",), sessions="*.jsonl"),
    Tool(name="openclaw", title="OpenClaw", places=(".openclaw/agents/*/sessions/*.jsonl",)),
    Tool(
        name="openhands",
        title="OpenHands",
        places=(".openhands/sessions/", ".openhands/conversations/", ".openhands-state/sessions/"),
        sessions="",
    ),
    Tool(
        name="mini_swe_agent",
        title="mini-SWE-agent",
        places=_below(CONFIG_HOMES, "mini-swe-agent/**/*.traj.json"),
    ),
    Tool(
        name="chatgpt",
        title="ChatGPT export",
        places=("Downloads/conversations*.json", "Downloads/*/conversations*.json"),
    ),
)  # fmt: skip
"""In the order in which they are listed. A place that ends in a slash is a folder, read with all that is below it."""
