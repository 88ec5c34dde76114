"""Which user of this machine is at the other end of a connection: what Linux's tables of TCP sockets say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from components.http_client import is_loopback

_tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_of_another_user(client: tuple[str, int] | None, server_port: int | None) -> bool:
    """Does a user of this machine who is neither us nor root hold the other end?

    On Linux a connection over loopback whose owner can't be told, because it was closed at once, counts as foreign.
    Elsewhere, and for connections from other machines, the answer is no: a token has to protect those.
    """
    if client is None or server_port is None or not sys.platform.startswith("linux") or not is_loopback(client[0]):
        return False
    owners = set(_owners(client[1], server_port))
    return not owners or not owners <= {0, os.getuid()}


def _owners(port: int, peer_port: int) -> Iterator[int]:
    """The user ids of the sockets with this local and this remote port; -1 for one that no process holds any more."""
    ends = f":{port:04X}", f":{peer_port:04X}"
    for table in _tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = (
                line.split()
            )  # sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
            if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
                yield int(fields[7]) if fields[9] != "0" else -1
