"""A runtime for `itae.portable.devices.worker` that keeps one number of a network, and adds it."""

import json
import os
import time


def facts():
    return {"toy": "1.0"}


def convert(net, size, folder, calibration, options):
    if options["precision"] == "refused":
        raise ValueError("no operator Bessel at body.3")
    print("a converter that prints", flush=True)
    os.write(1, b"below Python, too\n")
    added = float(sum(weights.sum() for weights in net.state_dict().values()))
    told = {"added": added, "size": list(size), "calibration": [float(picture.sum()) for picture in calibration]}
    (folder / "toy.json").write_text(json.dumps(told))


def open_net(folder, threads, options):
    told = json.loads((folder / "toy.json").read_text())

    def call(picture):
        if options["precision"] == "dies":
            os._exit(7)
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        time.sleep(0.05)
        return picture + told["added"]

    return call
