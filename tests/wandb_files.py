"""Read what an offline run of W&B really wrote."""

from __future__ import annotations

import json
import time


def records(path):
    """Return the records of a run that has ended; W&B may write the end of the file after its `finish` returned."""
    deadline = time.monotonic() + 20
    while True:
        found = list(_written(path))
        if any(record.HasField("exit") for record in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _written(path):
    """Yield the records of a .wandb file as it is: a LevelDB log of protobuf messages."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if at + 7 + length > len(data):
            return
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def items(pairs):
    return {pair.key or "/".join(pair.nested_key): json.loads(pair.value_json) for pair in pairs}
