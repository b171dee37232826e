"""A W&B server on loopback: enough of one to be sent runs, workspaces and reports, or one that fails in a given way."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "local-" + 40 * "0"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self._body()
        mode = self.server.mode
        if mode == "hangs":
            time.sleep(120)
        if mode == "500":
            return self._reply({"error": "broken"}, 500)
        if not self.path.endswith("/graphql"):
            self.server.streams.append((self.path, body))
            return self._reply({})
        asked = json.loads(body)
        name = asked.get("operationName") or name_of(asked["query"])
        variables = asked.get("variables") or {}
        self.server.asked.append((name, variables))
        return self._reply({"data": answer(name.lower(), variables, self.server.address)})

    do_PUT = do_POST  # noqa: N815

    def do_GET(self):
        self._reply({})

    def _body(self):
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, what, status=200):
        data = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def name_of(query):
    """Return the name of an operation, or its first field: W&B 0.23 asks for the viewer in a query without a name."""
    found = re.search(r"(?:query|mutation)\s+(\w+)|{\s*(\w+)", query)
    return found[found.lastindex]


def answer(name, variables, address):
    viewer = {"id": "1", "entity": "me", "username": "me", "email": "", "admin": False, "flags": "{}",
              "teams": {"edges": []}, "apiKeys": {"edges": []}}  # fmt: skip
    project = {"id": "1", "name": variables.get("project"), "entity": {"id": "1", "name": "me"}}
    bucket = {"id": "1", "name": variables.get("name"), "displayName": variables.get("displayName"), "description": "",
              "config": "{}", "sweepName": None, "project": project, "historyLineCount": 0}  # fmt: skip
    artifact = {"id": "A", "state": "COMMITTED",
                "artifactSequence": {"id": "S", "latestArtifact": {"id": "A", "versionIndex": 0}}}  # fmt: skip
    files = [{"name": name, "uploadUrl": f"{address}/{name}"} for name in variables.get("files") or []]
    view = {"id": "Vmlldzox", "type": "runs", "name": "view", "displayName": "view", "description": "", "spec": "{}"}
    projects = {"models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}}
    known = {
        "viewer": {"viewer": viewer},
        "serverfeaturesquery": {"serverInfo": {"features": []}},
        "upsertbucket": {"upsertBucket": {"bucket": bucket, "inserted": True}},
        "createartifact": {"createArtifact": {"artifact": artifact}},
        "artifacttype": {"project": {"artifact": None}},
        "createrunfiles": {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}},
        "projects": projects,
        "getprojects": projects,
        "projectinternalid": {"project": {"internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}},
        "upsertview": {"upsertView": {"view": view | {"project": project}, "inserted": True}},
        "upsertview2": {"upsertView": {"view": view | {"project": project}, "inserted": True}},
    }
    return known.get(name, {})


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing of clients that have gone."""


@contextmanager
def wandb_server(mode="works"):
    """Start a server that ``works``, ``hangs`` or answers ``500``; ``refuses`` is a port where nobody listens."""
    server = Server(("127.0.0.1", 0), Handler)
    server.mode, server.asked, server.streams = mode, [], []
    server.address = f"http://127.0.0.1:{server.server_port}"
    if mode == "refuses":
        server.server_close()
        yield server
        return
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
