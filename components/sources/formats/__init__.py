"""The table of formats, in order of recognition: the first one that accepts a source reads it.

A new format is one pure module with a tuple `ROWS` (see `contract`), one import and one line here. The most decisive
formats come first; `generic` and `plain_text`, which take what no other format knows, come last.
"""

from __future__ import annotations

from components.sources.formats import (
    atif,
    autogen,
    chat,
    claude_code,
    codex,
    gemini_cli,
    generic,
    inspect,
    langfuse,
    langsmith,
    mini_swe_agent,
    nebius,
    openclaw,
    openhands,
    otel,
    pi,
    plain_text,
    reflexion,
    swe_agent,
    tau_bench,
    tree_of_thought,
    web_agent,
    zipkin,
)
from components.sources.formats.contract import Format

FORMATS: tuple[Format, ...] = (
    *langsmith.ROWS,
    *langfuse.ROWS,
    *openclaw.ROWS,
    *otel.ROWS,
    *zipkin.ROWS,
    *claude_code.ROWS,
    *codex.ROWS,
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
    *chat.ROWS,
    *generic.ROWS,
    *plain_text.ROWS,
)
