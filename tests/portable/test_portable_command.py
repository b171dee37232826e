"""A device that a command of the user's own reaches: a toy of a phone, which runs the ONNX file by a script."""

import sys

import numpy as np
import pytest
from toy_nets import Toy, pictures, torch_of

from itae.base.errors import UserError
from itae.portable.devices.devices import Command
from itae.portable.parity import check

PHONE = """
import json, sys
import numpy as np
net, given, output, how = sys.argv[1:]
print("a line of something else")
picture = np.load(given)
assert picture.dtype == np.float32 and open(net, "rb").read(), picture.dtype
if how == "fails":
    sys.exit("no device is attached")
if how == "hangs":
    import time
    time.sleep(60)
if how == "session":
    import onnxruntime
    restored = onnxruntime.InferenceSession(net).run(None, {"picture": picture})[0]
else:
    restored = picture[:, ::-1]
if how == "raw":
    open(output, "wb").write(restored.astype("<f4").tobytes())
elif how != "writes nothing":
    np.save(output, restored)
print({"silent": "done", "zero": json.dumps({"ms": 0})}.get(how, json.dumps({"ms": 12.5})))
"""


def phone(tmp_path, how, **options):
    script = tmp_path / "phone.py"
    script.write_text(PHONE)
    line = [sys.executable, str(script), "{net}", "{input}", "{output}", how]
    return Command(command=line, name="phone", **options)


def opened(device, folder):
    (folder / "net.onnx").write_bytes(b"a network")
    return device.open(folder, 1)


@pytest.mark.slow
def test_it_gets_the_network_and_a_picture_and_tells_ms(tmp_path):
    device, net = phone(tmp_path, "session", budget_db=90.0), Toy()
    assert device.missing() is None
    folder = tmp_path / "net"
    folder.mkdir()
    device.convert(net.build(), (16, 16), folder, [])
    runner = device.open(folder, 1)
    assert check(device, net, runner, torch_of(net.build()), pictures(1, (16, 16))) > 90
    output, cpu_s, wall_s = runner.timed(pictures(1, (16, 16))[0])
    assert output.shape == (1, 3, 16, 16)
    assert np.isnan(cpu_s)
    assert wall_s == pytest.approx(0.0125)


@pytest.mark.parametrize("how", ["npy", "raw"])
def test_the_output_is_read_as_npy_or_as_raw_numbers(tmp_path, how):
    picture = pictures(1, (8, 8))[0]
    assert np.array_equal(opened(phone(tmp_path, how), tmp_path).timed(picture).output, picture[:, ::-1])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("fails", r"phone: \S+ ended with 1 \(no device is attached\)"),
        ("hangs", r"phone: \S+ still ran after \d+ s \(timeout_s=3\)"),
        ("silent", r'phone: \S+ printed no line as {"ms": 12.3}'),
        ("zero", r'phone: \S+ printed no line as {"ms": 12.3}, with a number above 0'),
        ("writes nothing", r"phone: \S+ wrote no \[1, 3, 8, 8\] of float32 numbers"),
    ],
)
def test_what_goes_wrong_is_told(tmp_path, how, said):
    runner = opened(phone(tmp_path, how, timeout_s=3), tmp_path)
    with pytest.raises(UserError, match=said):
        runner.timed(pictures(1, (8, 8))[0])


def test_no_shell_reads_it(tmp_path):
    """What a shell would make of an argument stays as it is."""
    script = tmp_path / "phone.py"
    script.write_text(PHONE.replace('how == "fails"', 'how != "$HOME; rm -r *"'))
    line = [sys.executable, str(script), "{net}", "{input}", "{output}", "$HOME; rm -r *"]
    assert opened(Command(command=line), tmp_path).timed(pictures(1, (8, 8))[0]).wall_s == pytest.approx(0.0125)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("adb shell", r"devices.command.command='adb shell' must be a list of words"),
        ([], "must be a list of words"),
        ([1], "must be a list of words"),
        (["adb", "{net}", "{input}"], r"lacks {output}; it needs {net}, {input}, {output}"),
    ],
)
def test_a_line_that_cannot_be_one_is_refused(command, said):
    with pytest.raises(UserError, match=said):
        Command(command=command)


def test_without_a_line_or_its_program_it_is_missing():
    assert Command().missing() == "command has no command line; set devices.command.command=[PROGRAM,...]"
    line = ["no-such-program", "{net}", "{input}", "{output}"]
    assert "needs the program no-such-program, which isn't here" in Command(command=line).missing()


def test_its_facts_say_that_it_runs_elsewhere(tmp_path):
    facts = phone(tmp_path, "npy").facts()
    assert facts["elsewhere"] is True
    assert facts["exports"] == "onnx"
    assert facts["precision"] == "fp32"
