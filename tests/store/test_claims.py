"""Claims under many processes that are killed: nothing is held twice, and nothing for ever."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import time

import pytest

from itae.store.claims import Claims

WORKER = """
    import errno, fcntl, os, random, sys
    from pathlib import Path
    if sys.argv[2] == "without locks":
        def flock(*_):
            raise OSError(errno.ENOSYS, "Function not implemented")
        fcntl.flock = flock
    from itae.store.claims import Claims

    def lives(pid):
        try:
            return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # empty as soon as it dies; its number goes later
        except OSError:
            return False

    claims, here = Claims(Path(sys.argv[1]) / "claims"), Path(sys.argv[1])
    while True:
        names = random.sample("abcdefgh", random.randint(1, 5))
        with claims.hold(names, wait=random.random() < 0.5) as claim:
            for name in claim.names:
                there = here / name
                if there.exists() and (pid := there.read_text()) and lives(pid):
                    (here / "twice").write_text(f"{name} is held by {os.getpid()} and {pid}")
                there.write_text(str(os.getpid()))
            kept = set(random.sample(sorted(claim.names), len(claim.names) // 2))
            for some in (claim.names - kept, kept):
                for name in some:
                    (here / name).write_text("")
                    print(name, flush=True, file=open(here / "done", "a"))
                claim.keep(kept)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("disk", ["with locks", "without locks"])
@pytest.mark.parametrize("seconds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_crowd_that_is_killed_at_random_holds_nothing_twice(tmp_path, disk, seconds):
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path), disk]
    crowd = [subprocess.Popen(command) for _ in range(4)]
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # pytest shows it where this fails
    chance, until, kills, done = random.Random(seed), time.monotonic() + seconds, 0, tmp_path / "done"
    done.touch()
    try:
        # On a busy machine it takes longer until enough was done.
        while (now := time.monotonic()) < until or kills < 5 or (now < until + 60 and len(done.read_text()) <= 40):
            time.sleep(chance.uniform(0.1, 0.6))
            process = chance.choice(crowd)
            process.kill()
            process.wait()
            crowd[crowd.index(process)] = subprocess.Popen(command)
            kills += 1
    finally:
        for process in crowd:
            process.kill()
        for process in crowd:
            process.wait()
    assert not (tmp_path / "twice").exists(), (tmp_path / "twice").read_text()
    assert len(done.read_text().split()) > 20
    if disk == "with locks":  # else this process, which has them, would be another kind of machine
        with Claims(tmp_path / "claims").hold("abcdefgh", wait=False) as claim:
            assert claim.names == set("abcdefgh"), "the dead hold nothing"


DYING = """
    import os, sys
    from pathlib import Path
    from itae.store.claims import Claims

    with Claims(Path(sys.argv[1])).hold(sys.argv[2:], wait=True):
        os._exit(0)
"""


def test_what_the_dead_held_goes_though_nobody_wants_it(tmp_path):
    for names in ("a", "b"):
        subprocess.run([sys.executable, "-c", textwrap.dedent(DYING), str(tmp_path), names], check=True)
    with Claims(tmp_path).hold("c", wait=False):
        assert len(list(tmp_path.iterdir())) == 3, "the table, whose turn it is, and this claim"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["claims.json", "turn"]
    assert (tmp_path / "claims.json").read_text() == "{}"
