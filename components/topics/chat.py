"""A language model behind any service that speaks OpenAI's `/chat/completions`; Gemini's does, at an address of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from components.errors import BadSetting, ServiceUnavailable
from components.http_client import open_client
from components.settings import TopicSettings

OPENAI: Final = "https://api.openai.com/v1"
GEMINI: Final = "https://generativelanguage.googleapis.com/v1beta/openai"
TEMPERATURE: Final = 0.3
MAX_TOKENS: Final = 100
MAX_ANSWER_BYTES: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatModel:
    """A model of a service; `api_key` is never shown."""

    model: str
    base_url: str
    timeout_s: float
    api_key: str | None = field(default=None, repr=False)

    def complete(self, system: str, user: str) -> str:
        """The model's answer. Raises `ServiceUnavailable` for anything else than an answer in time."""
        import httpx

        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": TEMPERATURE,
            "max_tokens": MAX_TOKENS,
        }
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        try:
            with open_client(self.base_url, timeout_s=self.timeout_s) as client:
                answer = client.post(f"{self.base_url.rstrip('/')}/chat/completions", json=body, headers=headers)
            if answer.status_code != 200 or len(answer.content) > MAX_ANSWER_BYTES:
                raise self._failed(f"it answered with status {answer.status_code}")
            content = answer.json()["choices"][0]["message"]["content"]
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise self._failed(type(error).__name__) from error
        if not isinstance(content, str):
            raise self._failed("its answer holds no text")
        return content

    def _failed(self, reason: str) -> ServiceUnavailable:
        host = urlsplit(self.base_url).hostname
        return ServiceUnavailable(f"The language model {self.model} at {host} gave no name for a topic: {reason}.")


def open_chat(settings: TopicSettings) -> ChatModel | None:
    """The model of the settings, None if none is set. Raises `BadSetting` on a URI that names none.

    `openai://MODEL?base_url=http://host:8080/v1` for any compatible service, or `gemini://MODEL`.
    """
    if not settings.model:
        return None
    parts = urlsplit(settings.model)
    model = f"{parts.netloc}{parts.path}"
    options = dict(parse_qsl(parts.query))
    if parts.scheme not in {"openai", "gemini"} or not model or set(options) - {"base_url"}:
        raise BadSetting(
            f"topics.model {settings.model!r} names no language model: write openai://MODEL?base_url=http://host:8080/v1 or "
            "gemini://MODEL, or leave it empty for names without one."
        )
    base_url = options.get("base_url") or (GEMINI if parts.scheme == "gemini" else OPENAI)
    if urlsplit(base_url).scheme not in {"http", "https"}:
        raise BadSetting(f"The base_url {base_url!r} of topics.model is no http:// or https:// address.")
    key = settings.key_of(parts.scheme)
    return ChatModel(model=model, base_url=base_url, timeout_s=settings.timeout_s, api_key=key)
