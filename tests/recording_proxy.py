"""An HTTP proxy on loopback that forwards nothing and records what it was asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], Any]


@dataclass
class RecordingProxy:
    """`asked` keeps (method, URL or host, body) of each request; `answer` is what it says in the service's place."""

    url: str = ""
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    answer: Callable[[bytes], Answer] = lambda body: (503, {}, {})

    @property
    def environment(self) -> dict[str, str]:
        """What a machine behind this proxy has in its environment."""
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {name: self.url for upper in names for name in (upper, upper.lower())}


@contextmanager
def recording_proxy() -> Iterator[RecordingProxy]:
    proxy = RecordingProxy()

    class Handler(BaseHTTPRequestHandler):
        def take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            proxy.asked.append((self.command, self.path, body))
            status, headers, said = proxy.answer(body)
            raw = json.dumps(said).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_CONNECT = do_PATCH = do_PUT = do_DELETE = take  # noqa: N815 - http.server calls them so

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
