"""A device in a process of its own: what stands at the other end of `itae.portable.devices.apart`'s pipes.

It is run by the Python of another environment, that doesn't have this package: it imports nothing of it, and of others
what it is told to. Requests and answers are a line of JSON, and after it as many bytes as its ``bytes`` says: pictures,
as raw float32. Whatever else is printed in this process goes to its stderr.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO


def load(path: str) -> Any:
    """Import a module by the path of its file."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(path: str) -> None:
    """Answer requests until there are no more.

    Parameters
    ----------
    path
        Of a file with ``facts()``, ``convert(net, size, folder, calibration, options)``, which is given a torch module,
        and ``open_net(folder, threads, options)``, which returns a call.
    """
    answers = open(os.dup(1), "wb")  # noqa: SIM115  (of the whole process)
    os.dup2(2, 1)  # what libraries print, in C++ too
    runtime, net = load(path), None
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        body = sys.stdin.buffer.read(asked.get("bytes", 0))
        try:
            if asked["do"] == "facts":
                _answer(answers, {"facts": runtime.facts()})
            elif asked["do"] == "convert":
                _convert(runtime, asked)
                _answer(answers, {})
            elif asked["do"] == "open":
                net = runtime.open_net(Path(asked["folder"]), asked["threads"], asked["options"])
                _answer(answers, {})
            else:
                _answer(answers, *_run(net, asked["shape"], body))
        except Exception as error:
            traceback.print_exception(error)
            _answer(answers, {"error": f"{type(error).__name__}: {error}"})


def _convert(runtime: Any, asked: dict[str, Any]) -> None:
    import numpy as np

    source = Path(asked["source"])
    net = load(str(Path(__file__).with_name("program.py"))).read_program(source)
    pictures = [np.load(path, allow_pickle=False) for path in sorted(source.glob("picture*.npy"))]
    runtime.convert(net, tuple(asked["size"]), Path(asked["folder"]), pictures, asked["options"])


def _run(net: Any, shape: list[int], body: bytes) -> tuple[dict[str, Any], bytes]:
    import numpy as np

    picture = np.frombuffer(body, "<f4").reshape(shape)
    wall, cpu = time.perf_counter(), time.process_time()
    output = net(picture)
    times = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    output = np.ascontiguousarray(output, "<f4")
    return times | {"shape": list(output.shape)}, output.tobytes()


def _answer(to: BinaryIO, words: dict[str, Any], body: bytes = b"") -> None:
    to.write(json.dumps(words | {"bytes": len(body)}).encode() + b"\n" + body)
    to.flush()


if __name__ == "__main__":
    main(sys.argv[1])
