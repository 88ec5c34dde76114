"""Uploaded tables are read as a person would read them, whatever saved them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from components.errors import BadUpload
from components.survey.table import Table, data_rows, read_table, safe_names, warnings_of

rows = [("0001", "Der Drucker hängt \u2013 „bitte“ prüfen, 70 €", "technik", "37,05")] + [
    (f"{n:04d}", f"Die Lieferung Nummer {n} kam zu spät, à la carte", "lieferung", f"{n},10") for n in range(2, 60)
]
header = ("id", "kommentar", "bereich", "betrag")


def spelled(delimiter: str = ",", rows: list[tuple[str, ...]] = rows, line_end: str = "\r\n") -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=line_end).writerows([header, *rows])
    return out.getvalue()


def table_of(folder: Path, content: bytes | str, text_column: str | None = None) -> tuple[Table, list[list[str]]]:
    file = folder / "t.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_table(file, text_column)
    return table, list(data_rows(file, table))


@pytest.mark.parametrize(
    "content",
    [
        spelled().encode("utf-8"),
        spelled().encode("utf-8-sig"),
        spelled("\t").encode("utf-16"),
        spelled("\t").encode("utf-16-le"),
        spelled("|").encode("utf-16-be"),
        spelled(";").encode("utf-32"),
        spelled(";").encode("cp1252"),
        ("sep=;\r\n" + spelled(";")).encode("cp1252"),
        spelled(";", line_end="\n").encode("utf-8"),
        spelled(",", line_end="\r").encode("utf-8"),
    ],
    ids=lambda content: str(content[:12]),
)
def test_a_table_is_the_same_however_a_spreadsheet_saved_it(content: bytes, tmp_path: Path) -> None:
    table, found = table_of(tmp_path, content)
    assert table.columns == header
    assert table.names[table.text_index] == "kommentar"
    assert table.rows == len(rows)
    assert found == [list(row) for row in rows]


def test_code_pages_of_other_languages_are_told_apart_from_the_western_one(tmp_path: Path) -> None:
    for codec, text in (("cp1251", "Посылка номер {} ещё не пришла"), ("cp1250", "Łódź, źle, część książki {} żółć")):
        body = "text\n" + "".join(f"{text.format(n)}\n" for n in range(60))
        _, found = table_of(tmp_path, body.encode(codec))
        assert found[7][0].split()[0] == text.split()[0], codec


def test_bytes_that_are_not_utf8_survive_in_a_file_that_is(tmp_path: Path) -> None:
    body = "text,n\n" + "".join(f"Größe der Straße über Köln hinaus {n},{n}\n" for n in range(60))
    table, found = table_of(tmp_path, body.encode() + b"caf\xe9,61\n")
    assert table.encoding.is_damaged
    assert found[-1][0].encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert found[0][0] == "Größe der Straße über Köln hinaus 0"


def test_line_breaks_in_cells_are_no_rows_and_blank_lines_neither(tmp_path: Path) -> None:
    cells = [f'"first {n}\nsecond, with ""quotes""\u2028\x0b\x85"' for n in range(50)]
    table, found = table_of(tmp_path, 'a,"the\ntext"\n' + "\n\n".join(f"{n},{cell}" for n, cell in enumerate(cells)))
    assert (table.rows, table.columns) == (50, ("a", "the\ntext"))
    assert found[3] == ["3", 'first 3\nsecond, with "quotes"\u2028\x0b\x85']


def test_ragged_rows_lose_nothing(tmp_path: Path) -> None:
    body = "a,text\n" + "".join(f"{n},some words here\n" for n in range(60)) + "7\n8,more words,extra,cells\n"
    table, found = table_of(tmp_path, body)
    assert found[-2] == ["7", "", "", ""]
    assert found[-1] == ["8", "more words", "extra", "cells"]
    assert table.names == ("a", "text", "column 3", "column 4")
    assert [warning.split()[0] for warning in warnings_of(table)][:3] == ["1", "1", "1"]


@pytest.mark.parametrize("cell", ["Hello, you; and a | bar {}", '"Hello, you {}"', "word{}"])
def test_a_file_of_one_column_is_a_table(cell: str, tmp_path: Path) -> None:
    table, found = table_of(tmp_path, "text\n" + "".join(f"{cell.format(n)}\n" for n in range(50)))
    assert table.columns == ("text",)
    assert found[9] == [cell.format(9).strip('"')]


def test_a_quotation_mark_that_is_never_closed_takes_no_rows_with_it(tmp_path: Path) -> None:
    body = "a,text\n" + "".join(f"{n},plain words\n" for n in range(60)) + '61,"open\n' + "62,more words\n" * 60
    table, _ = table_of(tmp_path, body)
    assert table.rows == 121
    assert any("never closed" in warning for warning in warnings_of(table))


def test_columns_that_are_hostile_or_the_same_get_names_that_a_page_can_show() -> None:
    names = safe_names(["<script>alert(1)</script>", "", "a", "a", "\u202etxt.exe\x00", " "])
    assert len(set(names)) == 6
    assert not any(c in name for name in names for c in "<>\u202e\x00")


def test_the_text_column_is_named_as_it_is_uploaded_or_as_it_is_shown(tmp_path: Path) -> None:
    body = "<b>x,long\n" + "".join(f"{n},these are many words {n}\n" for n in range(50))
    assert table_of(tmp_path, body)[0].text_index == 1
    assert table_of(tmp_path, body, "<b>x")[0].text_index == 0
    assert table_of(tmp_path, body, safe_names(["<b>x"])[0])[0].text_index == 0
    with pytest.raises(BadUpload, match="no column 'y'; it has") as raised:
        table_of(tmp_path, body, "y")
    assert raised.value.is_about_column


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf\n\n", "empty"),
        (b"PK\x03\x04" + b"x" * 100, "zip archive"),
        (b"PAR1" + b"x" * 100, "Parquet"),
        (bytes(range(256)) * 20, "binary"),
        (b'[{"text": "a"}]' * 60, "JSON"),
        (b"<html><body>" + b"<p>x</p>\n" * 60, "HTML"),
        (b"text\n" + b"words\n" * 49, "has 49 rows"),
        (b"text\n" + b'""\n' * 60, "has no text"),
        (b"text\n" + b"x" * 2_000_000 + b"\n" * 60, "longer than"),
        (b",".join([b"c"] * 1_200) + b"\n" + (b",".join([b"d"] * 1_200) + b"\n") * 60, "1,000 columns"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_table_is_refused_with_the_reason(content: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(BadUpload, match=says):
        table_of(tmp_path, content)


def test_fifty_rows_are_enough(tmp_path: Path) -> None:
    assert table_of(tmp_path, "text\n" + "some words\n" * 50)[0].rows == 50


def test_what_is_known_of_a_table_survives_the_database(tmp_path: Path) -> None:
    table, _ = table_of(tmp_path, spelled("\t").encode("utf-16"))
    assert Table.from_json(table.to_json()) == table


cell = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff") | st.sampled_from('\n\r\t,;"')
)


@settings(max_examples=40)
@given(st.lists(st.lists(cell, min_size=3, max_size=3), min_size=1, max_size=6))
def test_every_table_that_python_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, found: list[list[str]]
) -> None:
    file = tmp_path_factory.mktemp("t") / "t.csv"
    filled = [[f"n{number}", *found[number % len(found)]] for number in range(50)]
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([["n", "a", "b", "c"], *filled])
    table = read_table(file, "n")
    assert list(data_rows(file, table)) == filled
