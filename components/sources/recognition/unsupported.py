"""File types that hold no logs, recognised by their first bytes, so that they are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from components.errors import UnknownFormat
from components.sources import zips
from components.sources.opener import Opened

SQLITE: Final = "a SQLite database; name one of its tables, as sqlite:///PATH?table=NAME"
OFFICE: Final = "an old Microsoft Office document (.doc, .xls, .ppt)"
UNPACK: Final = "unpack it first, or pack it with gzip, zstd or zip"
STARTS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OFFICE),
    (b"%!PS", "a PostScript document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"RIFF", "a media file (WebP, WAV, AVI)"),
    (b"OggS", "an Ogg media file"),
    (b"ID3", "an MP3 file"),
    (b"fLaC", "a FLAC file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"SQLite format 3\x00", SQLITE),
    (b"\x7fELF", "a program or library (ELF)"),
    (b"MZ\x90\x00", "a Windows program"),
    (b"\xca\xfe\xba\xbe", "a Java class or a macOS program"),
    (b"\x00asm", "a WebAssembly module"),
    (b"BZh", f"a bzip2 archive; {UNPACK}"),
    (b"\xfd7zXZ\x00", f"an xz archive; {UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {UNPACK}"),
    (b"Rar!\x1a\x07", f"a RAR archive; {UNPACK}"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"ARROW1\x00\x00", "an Arrow (Feather) file; save it as Parquet"),
    (b"ORC\x0a", "an ORC file; save it as Parquet"),
    (b"Obj\x01", "an Avro file; save it as Parquet or JSON lines"),
)
TAR_AT: Final = 257
MARKUP: Final[tuple[tuple[bytes, str], ...]] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
)
MEMBERS: Final[tuple[tuple[str, str], ...]] = (
    ("word/document.xml", "a Microsoft Word document"),
    ("xl/workbook.xml", "a Microsoft Excel workbook; save its sheet as CSV"),
    ("ppt/presentation.xml", "a Microsoft PowerPoint presentation"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
    ("META-INF/container.xml", "an EPUB book"),
    ("AndroidManifest.xml", "an Android package"),
    ("content.xml", "an OpenDocument file; save a table as CSV"),
)


def refuse_unsupported(opened: Opened) -> None:
    """Raises `UnknownFormat` where the first bytes show that the file is no log: a PDF document, an image, …."""
    if opened.packing == "zip":
        found = _type_of_archive([member.name for member in zips.listing(opened).members])
    else:
        found = type_of(opened.start(1_024))
    if found:
        raise UnknownFormat(f"It is {found}." if "; " in found else f"It is {found}, not a log.")


def type_of(start: bytes) -> str:
    """The type of a file that begins with `start`, in words; "" where it may be a log.

    >>> type_of(b"%PDF-1.7"), type_of(b'{"a": 1}')
    ('a PDF document', '')
    """
    if start[TAR_AT : TAR_AT + 5] == b"ustar":
        return f"a tar archive; {UNPACK}"
    found = next((name for magic, name in STARTS if start.startswith(magic)), "")
    if found:
        return found
    beginning = start[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((name for magic, name in MARKUP if beginning.startswith(magic)), "")


def _type_of_archive(members: Sequence[str]) -> str:
    """The type of a zip archive that holds these members; "" where it may hold logs."""
    return next((name for member, name in MEMBERS if member in members), "")
