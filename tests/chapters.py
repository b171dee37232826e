"""Chapters of the manual whose sessions are run, and have to print what they show."""

from __future__ import annotations

import re
import shlex
import shutil


def sessions(text):
    """Return each command of a chapter and what it shows."""
    lines = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def plain(lines, home):
    """Return lines without what differs from one time to the next: roots, hours, users, folders, sizes, spaces."""
    text = "\n".join(" ".join(line.split()) for line in lines if line.strip()).replace(str(home), "/data")
    text = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{16,64}\b", "ROOT", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", "WHEN WHO", text)
    return re.sub(r"\(\d+\.\d MB\)", "(SIZE)", text)


def run_sessions(text, itae_, home):
    """Run all commands of a chapter, one after the other, and hold what each prints against what is shown."""
    for command, shown in sessions(text):
        program, *words = shlex.split(command)
        if program == "itae":
            _, out, err = itae_(*words)
            assert plain((out + err).splitlines(), home) == plain(shown, home), command
        else:
            {"cp": shutil.copy, "mv": shutil.move}[program](*words)
