"""The table of formats, in order of recognition: the first one that accepts a source reads it.

A new format is one pure module with a tuple `ROWS` (see `contract`), one import and one line here. The most decisive
formats come first; `generic` and `plain_text`, which take what no other format knows, come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps

from components.sources.formats import (
    aider,
    amp,
    antigravity,
    atif,
    autogen,
    chat,
    chatgpt,
    claude_code,
    cline,
    cline_api,
    codex,
    copilot_cli,
    cursor,
    cursor_ide,
    droid,
    gemini_cli,
    generic,
    goose,
    grok_build,
    iflow,
    inspect,
    kimi_code,
    langfuse,
    langsmith,
    mini_swe_agent,
    nebius,
    openai_agents,
    openclaw,
    opencode,
    openhands,
    otel,
    pi,
    plain_text,
    qwen_code,
    reflexion,
    smolagents,
    specstory,
    swe_agent,
    swe_smith,
    tau_bench,
    tree_of_thought,
    vscode_copilot,
    web_agent,
    zipkin,
)
from components.sources.formats.contract import Format, Head, Verdict, decline


def _unless(rows: Sequence[Format], *others: Sequence[Format]) -> tuple[Format, ...]:
    """The rows, which decline what one of the others takes: a tool's dialect of their own kind of log."""
    dialects = [row for some in others for row in some]
    return tuple(replace(row, recognises=_declining(row, dialects)) for row in rows)


def _takes(row: Format, head: Head) -> bool:
    """Does the row take this source, or its first line as a document?"""
    if row.shape == "document" and head.shape == "lines" and head.lines:
        head = Head(name=head.name, shape="document", document=head.lines[0])
    return row.shape == head.shape and row.recognises(head).accepted


def _declining(row: Format, dialects: Sequence[Format]) -> Callable[[Head], Verdict]:
    @wraps(row.recognises)
    def recognises(head: Head) -> Verdict:
        verdict = row.recognises(head)
        for dialect in dialects if verdict.accepted else ():
            if _takes(dialect, head):
                return decline(f"it is the dialect of {dialect.name}")
        return verdict

    return recognises


FORMATS: tuple[Format, ...] = (
    *langsmith.ROWS,
    *langfuse.ROWS,
    *openai_agents.ROWS,
    *openclaw.ROWS,
    *otel.ROWS,
    *zipkin.ROWS,
    *copilot_cli.ROWS,
    *cursor.ROWS,
    *cursor_ide.ROWS,
    *qwen_code.ROWS,
    *iflow.ROWS,
    *_unless(claude_code.ROWS, cursor.ROWS, qwen_code.ROWS, iflow.ROWS),
    *codex.ROWS,
    *droid.ROWS,
    *kimi_code.ROWS,
    *antigravity.ROWS,
    *grok_build.ROWS,
    *goose.ROWS,
    *opencode.ROWS,
    *vscode_copilot.ROWS,
    *chatgpt.ROWS,
    *cline.ROWS,
    *cline_api.ROWS,
    *amp.ROWS,
    *pi.ROWS,
    *openhands.ROWS,
    *atif.ROWS,
    *inspect.ROWS,
    *gemini_cli.ROWS,
    *tau_bench.ROWS,
    *autogen.ROWS,
    *reflexion.ROWS,
    *tree_of_thought.ROWS,
    *nebius.ROWS,
    *web_agent.ROWS,
    *mini_swe_agent.ROWS,
    *swe_agent.ROWS,
    *swe_smith.ROWS,
    *smolagents.ROWS,
    *_unless(
        chat.ROWS,
        grok_build.ROWS,
        amp.ROWS,
        cline.ROWS,
        cline_api.ROWS,
        nebius.ROWS,
        web_agent.ROWS,
        mini_swe_agent.ROWS,
    ),
    *generic.ROWS,
    *aider.ROWS,
    *specstory.ROWS,
    *plain_text.ROWS,
)
