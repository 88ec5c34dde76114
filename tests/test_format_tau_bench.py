from __future__ import annotations

import orjson
import pytest
from reading import check_positions, corpus, defects, events, reads_file, rules

from components.sources.formats.tau_bench import ROWS, end


def test_the_end_mark_is_a_reward_in_every_run() -> None:
    assert end([{"traj": [], "reward": 0.0}]).mark
    assert not end([{"traj": [], "reward": 0.0}, {"traj": []}]).mark
    assert not end([]).mark


@pytest.mark.corpus
def test_every_message_of_a_real_file_is_accounted_for() -> None:
    for path in corpus("agent-logs/tau_bench"):
        found = reads_file(ROWS, path)
        runs = orjson.loads(path.read_bytes())
        expected = empty = 0
        for run in runs:
            for message in run["traj"]:
                pieces = bool(message["content"]) + len(message.get("tool_calls") or [])
                expected += pieces
                empty += not pieces
        assert (len(events(found)), rules(found)["empty message"], defects(found)) == (expected, empty, []), path.name
        assert len({event.run for event in events(found)}) == len(runs)
        said = [m["content"] for run in runs for m in run["traj"] if m["content"]]
        assert sorted(said) == sorted(e.text for e in events(found) if e.type != "tool_call")
        check_positions(found)
