"""Receives an uploaded file: counted and written while it streams, so a body that is too large ends at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from api.problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks, MultipartParser

MAX_FIELD_BYTES: Final = 4_096
MAX_HEADER_BYTES: Final = 16_384
MAX_PARTS: Final = 16
OVERHEAD_BYTES: Final = 65_536  # of a body beside the file: boundaries, headers, fields


@dataclass(slots=True)
class Received:
    """What came: the name of the file as the client calls it, its size, and the other fields."""

    file_name: str | None = None
    size_bytes: int = 0
    fields: dict[str, str] = field(default_factory=dict)


async def receive_upload(request: Request, target: Path, *, max_bytes: int) -> Received:
    """Write the part `file` of a multipart body to `target`.

    Raises `Problem` 413 for a file of more than `max_bytes`, 422 for a body without one, 400 for a broken one.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > max_bytes + OVERHEAD_BYTES):
        raise too_large(max_bytes)
    with target.open("wb") as file:
        parts = _Parts(file, max_bytes)
        parser = _parser(request.headers, parts)
        try:
            async for chunk in request.stream():
                await asyncio.to_thread(parser.write, chunk) if len(chunk) > OVERHEAD_BYTES else parser.write(chunk)
            parser.finalize()
        except ClientDisconnect as error:
            raise Problem(
                400, "upload-interrupted", "The upload ended before its end; nothing of it is kept."
            ) from error
        except ValueError as error:  # of the parser
            raise _malformed() from error
    if not parts.is_complete:
        raise _malformed()
    if parts.received.file_name is None:
        detail = "The body has no file: send it as multipart/form-data, the CSV in the field `file`."
        raise Problem(422, "invalid-request", detail, errors=[{"field": "file", "message": "is missing"}])
    return parts.received


def too_large(max_bytes: int) -> Problem:
    """413: the file is larger than an upload may be."""
    detail = (
        f"The file is larger than {max_bytes:,} bytes, the limit set by survey.max_upload_bytes (MAX_UPLOAD_SIZE). "
        "Upload a part of it, or raise the limit."
    )
    return Problem(413, "body-too-large", detail, headers={"Connection": "close"})


def _malformed() -> Problem:
    return Problem(400, "bad-request", "The multipart body is malformed or was cut short; nothing of it is kept.")


def _parser(headers: Headers, parts: _Parts) -> MultipartParser:
    from python_multipart.multipart import MultipartParser, parse_options_header

    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        detail = "Send the file as multipart/form-data, in the field `file`: curl -F file=@table.csv …/api/upload."
        raise Problem(422, "invalid-request", detail, errors=[{"field": "file", "message": "no multipart/form-data"}])
    return MultipartParser(options[b"boundary"], parts.callbacks())


class _Parts:
    """The parts of the body, as the parser finds them."""

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self.received = Received()
        self.is_complete = False
        self._file = file
        self._max_bytes = max_bytes
        self._n_parts = self._n_header_bytes = 0
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._disposition = b""
        self._name = ""  # of the present part; "" for one that is not wanted
        self._value = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": lambda data, start, end: self._header_bytes(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._header_bytes(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_end": self._all,
        }

    def _all(self) -> None:
        self.is_complete = True

    def _begin(self) -> None:
        self._n_parts += 1
        self._disposition, self._name, self._value = b"", "", bytearray()
        self._n_header_bytes = 0
        if self._n_parts > MAX_PARTS:
            raise ValueError("too many parts")

    def _header_bytes(self, at: int, data: bytes) -> None:
        self._n_header_bytes += len(data)
        if self._n_header_bytes > MAX_HEADER_BYTES:
            raise ValueError("too long headers")
        self._header[at].extend(data)

    def _header_end(self) -> None:
        if bytes(self._header[0]).lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def _headers_end(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self.received.file_name is not None:
                errors = [{"field": "file", "message": "is there twice"}]
                raise Problem(422, "invalid-request", "Upload one file at a time.", errors=errors)
            self.received.file_name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self.received.size_bytes += end - start
            if self.received.size_bytes > self._max_bytes:
                raise too_large(self._max_bytes)
            self._file.write(memoryview(data)[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            detail = f"The field {self._name[:100]!r} is longer than {MAX_FIELD_BYTES:,} bytes."
            raise Problem(422, "invalid-request", detail, errors=[{"field": self._name[:100], "message": "too long"}])

    def _end(self) -> None:
        if self._name and self._name != "file":
            self.received.fields[self._name] = self._value.decode("utf-8", "replace")
