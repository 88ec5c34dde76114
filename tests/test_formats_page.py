"""The page on formats says what the table of formats holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from components.sources.formats import FORMATS
from components.sources.formats.contract import Head, Options

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text("utf-8")


def test_every_format_has_a_row_in_the_order_of_recognition() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(dict.fromkeys(row.name for row in FORMATS))


def test_every_row_names_the_shapes_of_its_format() -> None:
    for name, shapes in re.findall(r"^\| `(\w+)` \| ([^|]*) \|", PAGE, re.MULTILINE):
        assert {row.shape for row in FORMATS if row.name == name} <= set(shapes.split(", ")), name


def test_the_example_of_a_format_works() -> None:
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(re.sub(r"^   ", "", example[1], flags=re.MULTILINE), names)
    (row,) = names["ROWS"]
    document = {"dialogue": [{"who": "person", "said": "hi"}, {"who": "model", "said": "ho"}, 1, {"said": ""}]}
    assert row.recognises(Head(name="x", shape="document", document=document)).accepted
    assert len(list(row.read(document, Options()))) == 4
