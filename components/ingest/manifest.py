"""How vector files are named and described."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson

from components.atomic import atomic_write
from components.locations import without_credentials

DTYPE = "<f2"  # of numpy: float16, little endian
bytes_a_value = 2


def write_json(path: Path, value: Any) -> None:
    """Writes a manifest, whole or not at all."""
    with atomic_write(path) as aside:
        aside.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")


def shown_model(uri: str) -> str:
    """A model's URI without credentials, for people."""
    return without_credentials(uri) if "@" in uri or "?" in uri else uri


def model_name(uri: str) -> str:
    """A model's name as a part of a file's name.

    >>> model_name("hf://sentence-transformers/all-MiniLM-L6-v2"), model_name("openai://m?base_url=http://h/v1")
    ('sentence-transformers-all-MiniLM-L6-v2', 'openai-m')
    """
    bare = without_credentials(uri).partition("?")[0].removeprefix("hf://")
    return re.sub(r"[^\w.]+", "-", bare).strip("-.")[-100:] or "model"
