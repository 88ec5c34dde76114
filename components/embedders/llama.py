"""GGUF models through llama.cpp's own `llama-server`, started as a child on a free port when first needed."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO
from urllib.parse import parse_qsl, unquote, urlsplit

from components.contracts import Embedded
from components.embedders.service import Endpoint, ServiceEmbedder
from components.embedders.weights import remembered_sha256
from components.errors import BadSetting, ServiceUnavailable
from components.http_client import answers
from components.settings import EmbedSettings

START_TIMEOUT_S = 120.0
_OPTIONS = {"server", "max_chars"}
_POLL_S = 0.1


@dataclass(slots=True, kw_only=True)
class LlamaEmbedder:
    """Vectors of a GGUF model. The server listens on loopback alone and ends with this process, or with `close()`."""

    model: Path
    server: Path
    settings: EmbedSettings
    cache: Path
    max_chars: int
    _child: subprocess.Popen[bytes] | None = None
    _service: ServiceEmbedder | None = None
    _starting: Lock = field(default_factory=Lock)

    @property
    def identity(self) -> str:
        return (
            f"{self.model.name} sha256={remembered_sha256(self.model, self.cache)} llama.cpp normalized "
            f"long_text={self.settings.long_text} v1"
        )

    @property
    def dim(self) -> int:
        return self._running().dim

    def embed(self, texts: Sequence[str]) -> Embedded:
        return self._running().embed(texts)

    def close(self) -> None:
        """Ends the server, if it runs; the next `embed` starts another."""
        child, self._child, self._service = self._child, None, None
        if child is not None:
            end(child)

    def _running(self) -> ServiceEmbedder:
        with self._starting:
            if self._service is None or self._child is None or self._child.poll() is not None:
                self._child, port = start(self.server, self.model, self.settings)
                atexit.register(end, self._child)
                endpoint = Endpoint(
                    model=self.model.name, base_url=f"http://127.0.0.1:{port}/v1", max_chars=self.max_chars
                )
                local = self.settings.model_copy(update={"api_keys": ()})
                self._service = ServiceEmbedder(endpoint=endpoint, settings=local)
            return self._service


def start(server: Path, model: Path, settings: EmbedSettings) -> tuple[subprocess.Popen[bytes], int]:
    """The child and its port, once it answers. Raises `ServiceUnavailable` if it ends first or is too slow."""
    port = _free_port()
    command = [str(server), "--model", str(model), "--embedding", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--threads", str(settings.threads)] if settings.threads else []
    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        except OSError as error:
            raise BadSetting(f"llama-server at {server} can't be started: {error}") from error
        _wait(child, port, said)
    return child, port


def _wait(child: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and child.poll() is None:
        if answers(f"http://127.0.0.1:{port}/health", timeout_s=2):
            return
        time.sleep(_POLL_S)
    end(child)
    said.seek(0)
    last = said.read().decode(errors="replace").strip().splitlines()[-3:]
    raise ServiceUnavailable(f"llama-server did not start: {' / '.join(last) or 'it said nothing'}")


def end(child: subprocess.Popen[bytes]) -> None:
    """Ends the child gently, then surely."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_llama(uri: str, settings: EmbedSettings, cache: Path) -> LlamaEmbedder:
    """The embedder of `gguf:///path/model.gguf?server=/path/llama-server`; nothing is started yet.

    Raises `BadSetting` where the model or the server is missing.
    """
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    model = Path(unquote(parts.netloc + parts.path))
    if options.keys() - _OPTIONS:
        raise BadSetting(f"Model {uri!r}: a gguf:// model takes the options {', '.join(sorted(_OPTIONS))}.")
    if not model.is_file():
        raise BadSetting(f"Model {uri!r}: there is no file {model}; write gguf:///absolute/path/model.gguf.")
    wanted = options.get("server") or "llama-server"
    found = shutil.which(wanted)
    if found is None:
        raise BadSetting(
            f"Model {uri!r} needs llama.cpp's server, and {wanted!r} is not here or not executable: install llama.cpp "
            "so that llama-server is on the PATH, or add ?server=/path/to/llama-server."
        )
    max_chars = options.get("max_chars", "1024")
    if not max_chars.isdigit() or not int(max_chars):
        raise BadSetting(f"Model {uri!r}: max_chars has to be a positive number, got {max_chars!r}.")
    return LlamaEmbedder(model=model, server=Path(found), settings=settings, cache=cache, max_chars=int(max_chars))
