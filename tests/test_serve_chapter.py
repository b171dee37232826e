"""The manual's chapter on the page: its sessions are run, its server is started, and its script asks it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import debian
import pytest
from chapters import run_sessions, sessions

pytest.importorskip("lance")

TEXT = (Path(__file__).parents[1] / "docs/serve.md").read_text(encoding="utf-8")


def test_there_are_sessions_and_a_script():
    assert len(sessions(TEXT)) == 2
    assert TEXT.count("curl ") == 4


@pytest.mark.slow
@pytest.mark.skipif(bool(debian.why_not(["curl"], ["curl"])), reason="needs curl")
def test_the_script_of_the_chapter_asks_the_server_of_the_chapter(itae_, tmp_path):
    run_sessions(TEXT, itae_, tmp_path)
    (tmp_path / "cat.png").write_bytes((Path(__file__).parents[1] / "docs/artifacts.png").read_bytes())
    command = [sys.executable, "-m", "itae", "serve", "numbers", "--port", "0", "--state", "state", "--user", "ada"]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        printed = [server.stdout.readline().rstrip("\n") for _ in range(4)]
        (shown,) = re.findall(r"```text\n(base .*?)\n```", TEXT, re.DOTALL)
        assert [line.split()[0] for line in printed] == [line.split()[0] for line in shown.split("\n")]
        assert printed[0] == shown.split("\n")[0].replace("numbers", str(tmp_path / "numbers"))
        token, url = printed[1].split(maxsplit=2)[2], re.search(r"http://[\d.:]+", printed[2])[0]
        (script,) = re.findall(r"```sh\n(TOKEN=.*?)```", TEXT, re.DOTALL)
        script = script.replace("TOKENFILE", shlex.quote(token)).replace("http://127.0.0.1:8000", url)
        answers = []
        for line in script.strip().split("\n")[1:]:
            first = script.split("\n")[0]
            line = line.partition("  #")[0].replace("SEARCH", answers[-1].get("search", "") if answers else "")
            done = subprocess.run(["bash", "-c", f"{first}\n{line} -sS --fail-with-body"], cwd=tmp_path,
                                  capture_output=True, text=True, check=True)  # fmt: skip
            answers.append(json.loads(done.stdout))
        assert answers[0]["rows"] == 640
        assert [answer.get("kind") for answer in answers[1:]] == ["text", None, "picture"]
        assert len(answers[2]["results"]) == 8
    finally:
        server.send_signal(signal.SIGTERM)
        rest, _ = server.communicate(timeout=30)
    assert (server.returncode, rest.strip().split("\n")[-1]) == (0, "stopped")
