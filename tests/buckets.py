"""An object store on this machine: moto's imitation of S3."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def imitated_s3(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the URL of an empty bucket, and the environment by which it is found; its log lies in a folder."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("moto_server", path=places)
    if program is None:
        pytest.importorskip("moto.server")
    assert program is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen([program, "-p", str(port)], stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                request = urllib.request.Request(f"{endpoint}/shelf", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.1)
        settings = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        yield "s3://shelf", settings
    finally:
        server.terminate()
        server.wait()
