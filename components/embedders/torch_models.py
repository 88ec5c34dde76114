"""Any sentence-transformers model on torch, on the CPU or a GPU, with duplicates removed and batches of like length."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts import Embedded, Vectors
from components.embedders.bert import DEFAULT_NAME, default_folder
from components.embedders.texts import distinct, run_or_halve, unit, well_formed
from components.embedders.weights import read_json, remembered_sha256
from components.errors import BadSetting, ServiceUnavailable
from components.settings import EmbedSettings

GPU_BATCH_TOKENS = 65_536  # a GPU wants far more work at once than fits the caches of a CPU
MAX_PADDING = 0.02  # share of a batch that may be padding

_PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_DECIDING = (".json", ".txt", ".safetensors", ".bin", ".model", ".py")  # files that can change a vector
_NOT_DECIDING = ("onnx", "openvino", ".git", ".cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What is embedded of some texts: each whole, or each in windows. `texts[i]` belongs to text number `owner[i]`."""

    texts: list[str]
    owner: NDArray[np.int64]
    n_tokens: NDArray[np.int64]
    is_long: NDArray[np.bool_]  # of the whole texts: more tokens than the model's window


@dataclass(slots=True, kw_only=True)
class TorchEmbedder:
    """Vectors of a sentence-transformers model: float32 on the CPU, float16 on a GPU, unless a precision is asked for.

    Texts of a batch differ a little in length, so a vector may change in its last bits with its neighbours.
    """

    name: str
    settings: EmbedSettings
    cache: Path
    device: str
    precision: str
    _found: Path | None = None
    _digest: str = ""
    _model: Any = None
    _loading: Lock = field(default_factory=Lock)

    @property
    def identity(self) -> str:
        self._digest = self._digest or digest_of(self._folder(), self.cache)
        name = Path(self.name).resolve().name if Path(self.name).is_dir() else self.name
        return (
            f"{name} sha256={self._digest} sentence-transformers normalized "
            f"long_text={self.settings.long_text} {self.precision} v1"
        )

    @property
    def dim(self) -> int:
        return dim_of(self._folder()) or int(self._load().get_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> Embedded:
        model = self._load()
        unique = distinct([well_formed(text) for text in texts])
        pieces = cut(model, unique.texts, by_windows=self.settings.long_text == "mean")
        vectors = np.empty((len(pieces.texts), self.dim), np.float32)
        budget = self.settings.batch_tokens if self.device == "cpu" else GPU_BATCH_TOKENS
        for batch in batches_of_like_length(pieces.n_tokens, budget):
            vectors[batch] = run_or_halve(self._encode, [pieces.texts[i] for i in batch])
        merged = np.zeros((len(unique.texts), self.dim), np.float32)
        np.add.at(merged, pieces.owner, vectors * pieces.n_tokens[:, None].astype(np.float32))
        return Embedded(
            vectors=unit(merged)[unique.where],
            n_tokens=int(pieces.n_tokens.sum()),
            n_shortened=int(pieces.is_long[unique.where].sum()),
        )

    def _encode(self, texts: list[str]) -> Vectors:
        return unit(
            np.asarray(
                self._load().encode(texts, batch_size=self.settings.batch_texts or len(texts), show_progress_bar=False),
                np.float32,
            )
        )

    def _folder(self) -> Path:
        self._found = self._found or find_folder(self.name)
        return self._found

    def _load(self) -> Any:
        with self._loading:
            if self._model is None:
                self._model = load(self._folder(), self.device, self.precision, self.settings.threads)
            return self._model


def cut(model: Any, texts: Sequence[str], *, by_windows: bool) -> Pieces:
    """The texts, long ones cut to windows of the model's size where `by_windows`; else the model itself cuts them."""
    window = int(model.max_seq_length or 512)
    specials = int(model.tokenizer.num_special_tokens_to_add())
    limit = window - specials
    pieces: list[str] = []
    owner: list[int] = []
    n_tokens: list[int] = []
    is_long: list[bool] = []
    for number, text in enumerate(texts):
        part, ends = (
            (text, _token_ends(model.tokenizer, text)) if by_windows else _beginning(model.tokenizer, text, limit)
        )
        is_long.append(len(ends) > limit)
        cuts = range(0, max(1, len(ends)), limit) if by_windows and len(ends) > limit else (0,)
        for first in cuts:
            is_whole = len(cuts) == 1
            last = min(first + limit, len(ends))
            pieces.append(part if is_whole else part[ends[first - 1] if first else 0 : ends[last - 1]])
            owner.append(number)
            n_tokens.append(last - first + specials)
    return Pieces(
        texts=pieces,
        owner=np.array(owner, np.int64),
        n_tokens=np.array(n_tokens, np.int64),
        is_long=np.array(is_long, np.bool_),
    )


def _token_ends(tokenizer: Any, text: str) -> list[int]:
    """Where each token of the text ends, in characters."""
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [int(end) for _, end in found["offset_mapping"]]


def _beginning(tokenizer: Any, text: str, limit: int) -> tuple[str, list[int]]:
    """The text, or a beginning of it with over twice `limit` tokens, so that the cut is far behind the window."""
    size = 4_096
    while True:
        ends = _token_ends(tokenizer, text[:size])
        if size >= len(text) or len(ends) > 2 * limit:
            return text[:size], ends
        size *= 2


def batches_of_like_length(n_tokens: NDArray[np.int64], budget: int) -> Iterator[NDArray[np.int64]]:
    """Indices in batches of nearly one length, longest first: at most `budget` tokens and 2 % padding each."""
    order = np.argsort(-n_tokens, kind="stable")
    start = 0
    while start < len(order):
        longest = int(n_tokens[order[start]])
        ahead = n_tokens[order[start : start + max(1, budget // max(1, longest))]]
        padded = longest * np.arange(1, len(ahead) + 1)
        fits = np.flatnonzero(padded - np.cumsum(ahead) <= MAX_PADDING * padded)
        end = start + int(fits[-1]) + 1
        yield order[start:end]
        start = end


def load(folder: Path, device: str, precision: str, threads: int) -> Any:
    """The model, ready to encode. Raises `ServiceUnavailable` where the device or its memory isn't there."""
    try:
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise BadSetting(f"{error}; pip install sentence-transformers, or choose all-MiniLM-L6-v2.") from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if threads:
        torch.set_num_threads(threads)
    try:
        options = {"dtype": getattr(torch, _PRECISIONS[precision])}
        return SentenceTransformer(str(folder), device=device, model_kwargs=options)
    except (RuntimeError, MemoryError) as error:
        raise ServiceUnavailable(f"The model {folder.name} can't be loaded on {device}: {error}") from error
    except (OSError, ValueError, KeyError) as error:
        raise BadSetting(f"The model in {folder} can't be loaded by sentence-transformers: {error}") from error


def find_folder(name: str) -> Path:
    """The folder of a local or hub model; from the hub's cache if it is there, else downloaded.

    Raises `BadSetting` where there is no such model, `ServiceUnavailable` where the hub does not answer.
    """
    if name == DEFAULT_NAME:
        return default_folder()
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise BadSetting(f"Model {name!r}: there is no such folder.")
    return _from_hub(name if "/" in name else f"sentence-transformers/{name}")


def _from_hub(name: str) -> Path:
    import httpx
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        pass
    except errors.HFValidationError as error:
        raise BadSetting(f"Model {name!r} is neither a folder nor a name on the hub: {error}") from error
    try:
        return Path(snapshot_download(name))
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise BadSetting(f"Model {name!r} is not on the Hugging Face hub, or needs a login there.") from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise ServiceUnavailable(
            f"Model {name!r} is not on this machine and the Hugging Face hub does not answer; download it once, give "
            "a folder, or use the default model, which works offline."
        ) from error


def digest_of(folder: Path, cache: Path) -> str:
    """Hex SHA-256 over names and digests of all files in a model's folder that can change its vectors."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        relative = file.relative_to(folder)
        if file.suffix in _DECIDING and file.is_file() and not set(relative.parts) & set(_NOT_DECIDING):
            total.update(f"{relative.as_posix()}:{remembered_sha256(file, cache)}\n".encode())
    return total.hexdigest()


def dim_of(folder: Path) -> int | None:
    """The dimension that the folder's files promise, or None where they don't say."""
    modules = read_json(folder / "modules.json")
    for module in reversed(modules if isinstance(modules, list) else []):
        config = read_json(folder / module.get("path", "") / "config.json") or {}
        for key in ("out_features", "word_embedding_dimension", "embedding_dimension"):
            if isinstance(config.get(key), int):
                return int(config[key])
    return None


def _default_device() -> str:
    """`cuda`, `mps` or `cpu`; torch is asked only where the system shows a device that it could use."""
    if not (Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists() or Path("/System/Library").exists()):
        return "cpu"
    if importlib.util.find_spec("torch") is None:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def open_sentence_transformers(
    name: str, settings: EmbedSettings, cache: Path, *, device: str = "", precision: str = ""
) -> TorchEmbedder:
    """The embedder of a local folder or hub name; nothing is downloaded or loaded yet.

    Raises `BadSetting` on an unknown precision.
    """
    device = device or _default_device()
    precision = precision or ("fp16" if device.startswith("cuda") else "fp32")
    if precision not in _PRECISIONS:
        raise BadSetting(f"Model {name!r}: precision {precision!r} is none of {', '.join(_PRECISIONS)}.")
    return TorchEmbedder(name=name, settings=settings, cache=cache, device=device, precision=precision)
