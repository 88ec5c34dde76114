"""Model URI to embedder; nothing is loaded yet."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from components.contracts import Embedder
from components.embedders.bert import open_default, open_folder
from components.embedders.given import SCHEME, open_given
from components.embedders.hashing import open_hashing
from components.errors import BadSetting
from components.locations import is_url, without_credentials
from components.settings import EmbedSettings

default_model = "all-MiniLM-L6-v2"


def open_embedder(uri: str, settings: EmbedSettings, cache: Path) -> Embedder:
    """The embedder that a model URI names; its model is loaded at the first `embed`.

    `hf://NAME` (a name of the Hugging Face hub) ·
    `all-MiniLM-L6-v2` (offline, exact fp32 on ONNX Runtime) · `hash://384` (deterministic, no model) · a folder or hub
    name of sentence-transformers, with `?device=cuda&precision=bf16` if wanted · `openai://MODEL?base_url=…&dimensions=…` · `gguf:///path?server=…` ·
    `preview+all-MiniLM-L6-v2` (int8, faster and less true) · `given://NAME?dim=384` (vectors that come with documents). `cache` is a folder for what can be made again.
    Raises `BadSetting` on a URI that names none of these.
    """
    scheme = urlsplit(uri).scheme if is_url(uri) else ""
    if not uri.strip():
        raise BadSetting(f"The model setting is empty; the default is {default_model!r}.")
    if scheme == "hf":  # the name says it all
        return open_embedder(_hub_name(uri), settings, cache)
    if scheme == "hash":
        return open_hashing(uri)
    if scheme == SCHEME:
        return open_given(uri)
    if scheme in {"openai", "gguf"}:
        from components.embedders import llama, service  # imports httpx

        return service.open_service(uri, settings) if scheme == "openai" else llama.open_llama(uri, settings, cache)
    if scheme:
        raise BadSetting(
            f"Model {without_credentials(uri)!r}: the scheme {scheme!r} is unknown; use a model name, a folder, hf://NAME, hash://DIM, "
            "openai://MODEL?base_url=…, gguf:///PATH or given://NAME?dim=DIM."
        )
    return _open_local(uri, settings, cache)


def _hub_name(uri: str) -> str:
    name = uri.partition("://")[2].strip("/")
    if not name or len(name.partition("?")[0].split("/")) > 2:
        raise BadSetting(f"Model {uri!r} names no model of the hub: write hf://OWNER/NAME.")
    return name


def _open_local(uri: str, settings: EmbedSettings, cache: Path) -> Embedder:
    name, _, query = uri.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := options.keys() - {"device", "precision"}:
        raise BadSetting(f"Model {uri!r}: unknown option {min(unknown)!r}; a local model takes device and precision.")
    is_default = name in (default_model, f"sentence-transformers/{default_model}")
    if not options:
        if name == f"preview+{default_model}":
            return open_default(settings, cache, precision="int8")
        if is_default:
            return open_default(settings, cache)
        if Path(name).is_dir() and (bert := open_folder(Path(name), settings, cache)):
            return bert
    from components.embedders.torch_models import open_sentence_transformers

    return open_sentence_transformers(default_model if is_default else name, settings, cache, **options)
