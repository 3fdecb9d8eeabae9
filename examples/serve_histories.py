"""Histories served over HTTP: one process writes a store, several read it and answer on one port.

    python examples/serve_histories.py STORE --port 8123 --readers 2

    GET /last?user=7&user=8&n=200     newest behaviours of each, as JSON
    GET /metrics                      for Prometheus, of the process that answers

Each line of stdin, `{"user_id": [7], "time_s": [1700000000], "item_id": [5], ...}`, is appended, and its
number printed once it is durable. A reader sees what was acknowledged 0.1 s ago (`staleness_s`). All readers
listen on the same port (SO_REUSEPORT, Linux): the kernel gives each a share of the connections. Prints
`ready PORT` when all of them listen, and ends with its stdin.
"""

import argparse
import json
import multiprocessing
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.synchronize import Barrier
from urllib.parse import parse_qs, urlsplit

from seqvault import SchemaError, SeqVault


class Server(HTTPServer):
    """One reader's: a store, and a port shared with the others."""

    def __init__(self, port: int, store: SeqVault) -> None:
        self.store = store
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        """As HTTPServer, and others may bind the same port."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_GET(self) -> None:
        """See the module."""
        url, store = urlsplit(self.path), self.server.store
        if url.path == "/metrics":
            self._answer(200, "text/plain; version=0.0.4", store.metrics())
        elif url.path == "/last":
            asked = parse_qs(url.query)
            try:
                batch = store.read_last([int(user) for user in asked["user"]], int(asked["n"][0]))
            except (KeyError, ValueError, OverflowError, SchemaError) as error:
                self._answer(400, "text/plain", f"expected /last?user=ID&n=COUNT ({error!r})\n")
                return
            histories = [{name: values.tolist() for name, values in history.items()} for history in batch]
            self._answer(200, "application/json", json.dumps(histories))
        else:
            self._answer(404, "text/plain", "there are /last and /metrics\n")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def read(path: str, port: int, listening: Barrier) -> None:
    """A reader process: its own store, opened here, for a store is its process's own."""
    with SeqVault(path, read_only=True) as store, Server(port, store) as server:
        listening.wait()
        server.serve_forever()


def main() -> None:
    """Parse, write, and let others read."""
    parser = argparse.ArgumentParser(description="Serve the histories of a store.")
    parser.add_argument("store")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--readers", type=int, default=2)
    given = parser.parse_args()
    # "spawn": a fork would inherit the writer's store, which it must not use.
    context = multiprocessing.get_context("spawn")
    with socket.socket() as held, SeqVault(given.store) as store:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Bound and not listening: it keeps the port and takes no connection.
        held.bind(("127.0.0.1", given.port))
        port = held.getsockname()[1]
        listening = context.Barrier(given.readers + 1)
        readers = [
            context.Process(target=read, args=(given.store, port, listening), daemon=True)
            for _ in range(given.readers)
        ]
        for reader in readers:
            reader.start()
        listening.wait()
        print(f"ready {port}", flush=True)
        for line in sys.stdin:
            columns = json.loads(line)
            store.append(columns.pop("user_id"), columns)
            print(f"durable {store.durable_sequence}", flush=True)


if __name__ == "__main__":
    main()
