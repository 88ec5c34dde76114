"""Which user of this machine owns the other end of a connection, from Linux's tables of TCP sockets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from components.http_client import is_loopback

_tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_of_another_user(client: tuple[str, int] | None, server_port: int | None) -> bool:
    """Does a user of this machine, other than ourselves and root, own the other end of the connection?

    On Linux, a loopback connection without a known owner (the client closed it already) counts as another user's. On
    other systems, and for connections from other machines, the answer is False: those need a token.
    """
    if client is None or server_port is None or not sys.platform.startswith("linux") or not is_loopback(client[0]):
        return False
    owners = set(_owners(client[1], server_port))
    return not owners or not owners <= {0, os.getuid()}


def _owners(port: int, peer_port: int) -> Iterator[int]:
    """The user ids of the sockets with this local and this remote port; -1 for one that no process owns any more."""
    ends = f":{port:04X}", f":{peer_port:04X}"
    for table in _tables:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            # sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
            fields = line.split()
            if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
                yield int(fields[7]) if fields[9] != "0" else -1
