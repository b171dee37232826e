"""How a process that is told to end does so."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

SWALLOWS = """
    import os, signal, sys, time, weakref
    from itae.base.place import ends_when_told

    class Thing:
        def __del__(self):
            if sys.argv[2] == "__del__":
                told()

    def told(*_):
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(0.001)  # the handler runs here, and what it raises is lost

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
    ends_when_told()
    thing = Thing()
    watch = weakref.ref(thing, told if sys.argv[2] == "weakref" else None)
    try:
        del thing
        print("went on", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        print("left word", flush=True)
"""


@pytest.mark.parametrize("where", ["__del__", "weakref"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_where_python_loses_what_it_raises_ends_the_process_all_the_same(where, number, code):
    command = [sys.executable, "-c", textwrap.dedent(SWALLOWS), str(int(number)), where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.split("\n") == ["went on", "left word", ""], "it was lost at first, and then it was not"


def test_what_else_is_lost_is_still_told():
    code = "from itae.base.place import ends_when_told as e; e(); T = type('T', (), {'__del__': lambda s: 1 / 0}); T()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ZeroDivisionError" in done.stderr
