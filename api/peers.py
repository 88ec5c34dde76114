"""Which user of this machine owns the other end of a connection, from Linux's tables of TCP sockets."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from components.http_client import is_loopback

_tables = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}


def is_of_another_user(client: tuple[str, int] | None, server_port: int | None) -> bool:
    """Does a user of this machine, other than ourselves and root, own the other end of the connection?

    On Linux, a loopback connection without a known owner (the client closed it already) counts as another user's. On
    other systems, and for connections from other machines, the answer is False: those need a token.
    """
    if client is None or server_port is None or not sys.platform.startswith("linux") or not is_loopback(client[0]):
        return False
    for version, address in _spellings(client[0]):
        if owners := set(_owners(_tables[version], address, client[1], server_port)):
            return not owners <= {0, os.getuid()}
    return True


def _spellings(host: str) -> Iterator[tuple[int, str]]:
    """The tables that a socket with this address may be in, and the address as it is written there.

    >>> list(_spellings("127.0.0.2"))[0]
    (4, '0200007F')
    """
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else address
    if mapped is not None:
        yield 4, _in_table(mapped.packed)
        address = IPv6Address(b"\0" * 10 + b"\xff\xff" + mapped.packed)
    yield 6, _in_table(address.packed)


def _in_table(packed: bytes) -> str:
    """An address as the kernel writes it: words of four bytes, each a number of this machine."""
    return "".join(f"{word:08X}" for (word,) in struct.iter_unpack("=I", packed))


def _owners(table: Path, address: str, port: int, peer_port: int) -> Iterator[int]:
    """The user ids of the sockets with this local end and this remote port; -1 for one that no process owns any more."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]  # costs some ms: the kernel walks over all sockets
    except OSError:
        return
    for line in lines:
        # sl, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
        fields = line.split()
        if fields[1] == f"{address}:{port:04X}" and fields[2].endswith(f":{peer_port:04X}"):
            yield int(fields[7]) if fields[9] != "0" else -1
