"""Log lines as text for people, or as JSON, one object a line, for what collects them."""

from __future__ import annotations

import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import Final, Literal

import orjson

LogFormat = Literal["text", "json"]

LOG_FORMAT_VARIABLE: Final = "RUNATLAS_LOG_FORMAT"  # how the setting is passed on to child processes
prefect_variable: Final = "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER"  # names an entry of Prefect's logging.yml


class JsonLines(logging.Formatter):
    """A line as a JSON object: `time` (RFC 3339, UTC), `level`, `logger`, `message`; `traceback` where there is one.

    >>> line = logging.LogRecord("api", logging.INFO, "", 0, "%s records", (3,), None)
    >>> line.created = 0.0
    >>> JsonLines().format(line)
    '{"time":"1970-01-01T00:00:00.000Z","level":"INFO","logger":"api","message":"3 records"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = json_line(record.name, record.levelname, record.getMessage(), created_s=record.created)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _spelled(line)


def json_line(logger: str, level: str, message: str, *, created_s: float) -> dict[str, str]:
    """The fields of a line; `created_s`: seconds since 1970."""
    moment = datetime.fromtimestamp(created_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"time": moment, "level": level, "logger": logger, "message": message}


def set_up_logging(format: LogFormat) -> None:
    """Warnings and above go to stderr; in JSON, child processes and Prefect follow."""
    handler = logging.StreamHandler(sys.stderr)
    if format == "json":
        handler.setFormatter(JsonLines())
        os.environ[LOG_FORMAT_VARIABLE] = "json"
        os.environ.setdefault(prefect_variable, "json")
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def is_json() -> bool:
    """Do the log lines of this process go out as JSON?"""
    return os.environ.get(LOG_FORMAT_VARIABLE) == "json"


def message_line(message: str, level: str = "INFO") -> str:
    """A message of a command as a line of stderr, in the format of the log."""
    return _spelled(json_line("runatlas", level, message, created_s=time.time())) if is_json() else message


def _spelled(line: dict[str, str]) -> str:
    try:
        return orjson.dumps(line).decode()
    except orjson.JSONEncodeError:  # half of a surrogate pair, as file names have
        return orjson.dumps({name: text.encode("utf-8", "replace").decode() for name, text in line.items()}).decode()
