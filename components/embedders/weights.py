"""Content of the folder of a sentence-transformers model: its shape, its weights and their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.atomic import atomic_write
from components.contracts import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """The sizes of a BERT encoder, and how many tokens of a text it reads."""

    dim: int
    layers: int
    heads: int
    epsilon: float
    max_tokens: int


class _Tensors(Mapping[str, NDArray[np.float32]]):
    """The file's tensors as float32, each read when asked for, whatever prefix the file gives their names."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = {name.removeprefix("bert."): name for name in file.keys()}  # noqa: SIM118 (no mapping)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return np.asarray(self._file.get_tensor(self._names[name]), np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def open_tensors(file: Path) -> Iterator[Mapping[str, NDArray[np.float32]]]:
    """The tensors of a safetensors file by name, read lazily."""
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        yield _Tensors(opened)


def read_json(file: Path) -> Json:
    """What the file holds, or None where it is missing or no JSON."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def bert_shape(folder: Path) -> BertShape | None:
    """The shape of the folder's model if it is a plain BERT with mean pooling, else None.

    Plain: absolute positions, exact GELU, float32 or float16 safetensors, a `tokenizer.json`, no prompt of its own.
    """
    config, modules = read_json(folder / "config.json"), read_json(folder / "modules.json")
    if not isinstance(config, dict) or not isinstance(modules, list) or not _is_plain_bert(config):
        return None
    if not _pools_by_mean(folder, modules) or not _is_plain_input(folder) or not _is_float(folder):
        return None
    window = (read_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    return BertShape(
        dim=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        epsilon=config.get("layer_norm_eps", 1e-12),
        max_tokens=min(window or config["max_position_embeddings"], config["max_position_embeddings"]),
    )


def _is_plain_bert(config: Mapping[str, Json]) -> bool:
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
    )


def _pools_by_mean(folder: Path, modules: list[Json]) -> bool:
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return False
    pooling = read_json(folder / modules[1].get("path", "") / "config.json") or {}
    chosen = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value]
    return chosen == ["pooling_mode_mean_tokens"] or pooling.get("pooling_mode") == "mean"


def _is_plain_input(folder: Path) -> bool:
    prompt = (read_json(folder / "config_sentence_transformers.json") or {}).get("default_prompt_name")
    lowercases = (read_json(folder / "sentence_bert_config.json") or {}).get("do_lower_case")
    return not prompt and not lowercases and (folder / "tokenizer.json").is_file()


def _is_float(folder: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "model.safetensors", framework="numpy") as file:
            names = list(file.keys())
            kinds = {file.get_slice(name).get_dtype() for name in names if "position_ids" not in name}
    except (OSError, SafetensorError):
        return False
    return kinds <= {"F32", "F16"} and any(name.endswith("embeddings.word_embeddings.weight") for name in names)


def sha256_of(file: Path) -> str:
    """Hex SHA-256 of the file's bytes, read in bounded memory. Raises `OSError`."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def remembered_sha256(file: Path, cache: Path) -> str:
    """Hex SHA-256 of the file's bytes, looked up in `cache` while the file keeps its size and time of change."""
    state = file.stat()
    key = hashlib.sha256(f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}".encode()).hexdigest()
    note = cache / "digests" / key
    with suppress(OSError):
        digest, _, checksum = note.read_bytes().partition(b" ")
        if checksum == _note_checksum(digest):  # a damaged one would name another model
            return digest.decode()
    digest = sha256_of(file).encode()
    with suppress(OSError), atomic_write(note) as aside:  # only saves time
        aside.write_bytes(digest + b" " + _note_checksum(digest))
    return digest.decode()


def _note_checksum(digest: bytes) -> bytes:
    return hashlib.sha256(digest).hexdigest()[:16].encode()
