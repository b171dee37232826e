"""Print how many people a served base answers at once, and how long each waits.

    python experiments/bench/serve.py                       1,797 digits, 200 users, a minute
    python experiments/bench/serve.py KB --users 50 --seconds 20

Each user has a token of their own, asks for a row, looks at the first dozen pictures, thinks for 1 to 3 seconds, marks
two yes and two no, and asks again, four times; then for another row. Users and server share the machine, so what is
printed is at most as good as it is for users elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROUNDS, PICTURES, COUNT = 4, 12, 60
SHARES = (50, 95, 99)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("kb", nargs="?", help="the folder of a base")
    asked.add_argument("--users", type=int, default=200)
    asked.add_argument("--seconds", type=float, default=60)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kb = options.kb or digits(folder)
        with served(kb, options.users, Path(folder)) as (url, _, tokens, process):
            asyncio.run(crowd(url, tokens, process, options.seconds))


def digits(folder: str) -> str:
    """Make a base of the digits in the package."""
    for words in ("init kb backbone=digits_clip --images embed", "add kb dataset=digits"):
        subprocess.run(
            [sys.executable, "-m", "itae", "knowledge", *words.split(), f"paths.cache={folder}/cache"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return f"{folder}/kb"


@contextmanager
def served(kb: str, users: int, folder: Path) -> Iterator[tuple[str, list[str], list[str], psutil.Process]]:
    """Serve a base; yield its address, a link and a token for each user, and the process."""
    names = [word for n in range(users) for word in ("--user", f"u{n:03d}")]
    command = [sys.executable, "-m", "itae", "serve", kb, "--port", "0", "--state", str(folder / "state"), *names]
    server = subprocess.Popen([*command, f"paths.cache={folder}/cache"], stdout=subprocess.PIPE, encoding="utf-8")
    assert server.stdout is not None
    files, links, url = [], [], ""
    for line in server.stdout:
        files += [Path(line.split(maxsplit=2)[2].strip())] if line.startswith("token") else []
        if found := re.search(r"(http://\S+)/enter\S+", line):
            url, links = found[1], [*links, found[0]]
        if line.startswith("Ctrl-C"):
            break
    try:
        time.sleep(3)  # the model is built meanwhile
        yield url, links, [file.read_text(encoding="utf-8").strip() for file in files], psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


async def crowd(url: str, tokens: list[str], process: psutil.Process, seconds: float) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    wrong: list[str] = []
    until = time.monotonic() + seconds
    used = process.cpu_times()
    watch = asyncio.create_task(memory(process, until))
    await asyncio.gather(*(user(url, token, n, until, times, wrong) for n, token in enumerate(tokens)))
    now = process.cpu_times()
    print(f"{len(tokens)} users, {seconds:g} s; errors: {len(wrong)} {wrong[:3] or ''}")
    for kind, each in times.items():
        shares = statistics.quantiles(each, n=100)
        told = ", ".join(f"p{share} {1e3 * shares[share - 1]:.0f} ms" for share in SHARES)
        print(f"{kind:10} {len(each) / seconds:6.1f} a second   {told}, most {1e3 * max(each):.0f} ms")
    cores = (now.user + now.system - used.user - used.system) / seconds
    print(f"the server took {cores:.2f} cores; its memory, MB: {', '.join(str(size) for size in await watch)}")


async def memory(process: psutil.Process, until: float) -> list[int]:
    """Return how much memory the server has, ten times."""
    pause, found = (until - time.monotonic()) / 10, []
    while time.monotonic() < until:
        found.append(process.memory_info().rss >> 20)
        await asyncio.sleep(pause)
    return found


class Client:
    """One browser: six connections, over which requests go one after the other.

    A client of a library takes more of the machine than the server does.
    """

    def __init__(self, url: str, token: str, times: dict[str, list[float]], wrong: list[str]) -> None:
        self.host, _, self.port = url.removeprefix("http://").partition(":")
        self.token, self.times, self.wrong = token, times, wrong
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.six = asyncio.Semaphore(6)

    async def ask(self, kind: str, method: str, path: str, asked: object = None) -> Any:
        """Return an answer, JSON as values; None where it is an error, which is kept."""
        async with self.six:  # a browser doesn't ask before, and who waits for a picture sees the others come
            began = time.monotonic()
            try:
                status, body = await self._sent(method, path, b"" if asked is None else json.dumps(asked).encode())
            except OSError as error:
                self.wrong.append(repr(error))
                return None
            self.times[kind].append(time.monotonic() - began)
            if status >= 400:
                self.wrong.append(body.decode())
                return None
            return body if kind == "picture" else json.loads(body)

    async def _sent(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection(self.host, int(self.port))
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        told = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: (\d+)", told)
        assert length is not None
        found = await reader.readexactly(int(length[1]))
        if b"connection: close" in told:
            writer.close()
        else:
            self.free.append((reader, writer))
        return int(told.split()[1]), found


async def user(url: str, token: str, seed: int, until: float, times: dict[str, list[float]], wrong: list[str]) -> None:
    """Be one who searches."""
    chance, client = random.Random(seed), Client(url, token, times, wrong)
    await asyncio.sleep(chance.uniform(0, 2))
    rows = await client.ask("rows", "GET", "/api/rows?count=1000")
    ids = [row["id"] for row in rows["rows"]] if rows else []
    while ids and time.monotonic() < until:
        search = await client.ask("search", "POST", "/api/searches", {"id": chance.choice(ids)})
        yes: list[str] = []
        no: list[str] = []
        for _ in range(ROUNDS):
            if search is None or time.monotonic() > until:
                break
            path = f"/api/searches/{search['search']}/rounds"
            page = await client.ask("round", "POST", path, {"yes": yes, "no": no, "count": COUNT})
            if page is None:
                break
            results = page["results"]
            numbers = [row["number"] for row in results[:PICTURES]]
            await asyncio.gather(*(client.ask("picture", "GET", f"/api/pictures/{n}?side=160") for n in numbers))
            some = chance.sample(results, 4)
            yes, no = yes + [row["id"] for row in some[:2]], no + [row["id"] for row in some[2:]]
            await asyncio.sleep(chance.uniform(1, 3))


if __name__ == "__main__":
    main()
