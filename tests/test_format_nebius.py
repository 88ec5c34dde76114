from __future__ import annotations

from reading import reads, row_of

from components.sources.formats.nebius import ROWS


def test_list_line_and_object_give_the_same_records() -> None:
    run = {"instance_id": "i", "trajectory": [{"role": "user", "text": "Fix."}, {"role": "ai", "text": "Done."}]}
    lines, document = row_of(ROWS, "lines"), row_of(ROWS, "document")
    assert reads(lines, [run]) == reads(document, [run]) == reads(document, run)
    assert reads(document, {"rows": [{"row_idx": 0, "row": run}]}) == reads(document, run)
