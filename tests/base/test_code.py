from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tiny_models import save

import itae
from itae.base.code import code_of, sha256
from itae.base.errors import UserError
from itae.base.identity import identity
from itae.vit.backbone import Backbone

PLANTED = {  # what there is beside a package, in one folder
    "mymodel/__init__.py": "from mymodel import net\n",
    "mymodel/net.py": "import helpers\nimport plain.sub\nWIDTH = 16\n",
    "mymodel/table.json": "{}",
    "mymodel/inner/deep.py": "",
    "helpers.py": "from further import more\n",
    "further/more.py": "from . import sideways\n",  # a namespace package
    "further/sideways.py": "",
    "plain/__init__.py": "",
    "plain/sub.py": "",
    "plain/unnamed.py": "",
    "other.py": "",
    "further/unused.py": "",
    "data/image.bin": "",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder on the path that holds `PLANTED`."""
    for name, text in PLANTED.items():
        path = tmp_path / "place" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "place")
    return tmp_path / "place"


def forget(*names: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]


@pytest.mark.parametrize("module", ["mymodel", "mymodel.net"])
@pytest.mark.parametrize("name", list(PLANTED))
def test_what_a_package_holds_or_imports_from_beside_it_is_in_the_key(place, module, name):
    before = code_of([module])
    (place / name).write_text(PLANTED[name] + "\n# changed\n")
    is_part = name not in ("other.py", "further/unused.py", "data/image.bin")
    assert (code_of([module]) != before) is is_part


def test_the_key_of_a_model_changes_with_a_file_of_its_package(place, tmp_path):
    weights = save(tmp_path / "weights.safetensors")
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    facts = backbone.facts(tmp_path)
    mine = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="mymodel")
    before = mine.space(facts)
    (place / "mymodel" / "net.py").write_text("WIDTH = 17\n")
    assert mine.space(facts) != before
    assert "mymodel" not in sys.modules, "nothing is imported to know its code"


@pytest.mark.parametrize("change", ["new file", "renamed", "gone"])
def test_a_file_more_or_less_or_of_another_name_is_a_change(place, change):
    before, net = code_of(["mymodel"]), place / "mymodel" / "inner" / "deep.py"
    if change == "new file":
        net.with_name("more.py").write_text("")
    elif change == "renamed":
        net.rename(net.with_name("deeper.py"))
    else:
        net.unlink()
    assert code_of(["mymodel"]) != before


def test_what_is_compiled_hidden_or_elsewhere_is_none(place, tmp_path, monkeypatch):
    before = code_of(["mymodel"])
    compiled, log = "mymodel/__pycache__/net.cpython-311.pyc", "mymodel/outputs/runs/1/run.log"
    for name in (compiled, "mymodel/.git/config", "mymodel/.net.py.swp", log):
        (place / name).parent.mkdir(exist_ok=True, parents=True)
        (place / name).write_bytes(b"x")
    (place / "other.py").rename(place / "another.py")
    assert code_of(["mymodel"]) == before
    moved = place.rename(tmp_path / "moved")
    monkeypatch.syspath_prepend(moved)
    assert code_of(["mymodel"]) == before, "a folder is no property of code"


def test_a_module_by_itself_is_its_file_and_one_of_ours_too(place):
    assert code_of(["other"]) == sha256(place / "other.py")
    assert code_of(["itae.digits_vit"]) == sha256(Path(itae.__file__).parent / "vit" / "digits_vit.py"), (
        "as in entries of old"
    )


def test_a_compiled_module_counts(place):
    (place / "mymodel" / "fast.abi3.so").write_bytes(b"one")
    before = code_of(["mymodel"])
    (place / "mymodel" / "fast.abi3.so").write_bytes(b"two")
    assert code_of(["mymodel"]) != before


def test_a_linked_folder_of_a_package_is_a_part_of_it_and_entered_once(place, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "base.py").write_text("")
    (place / "mymodel" / "layers").symlink_to(shared)
    (place / "mymodel" / "again").symlink_to("inner")
    (place / "mymodel" / "loop").symlink_to(".")
    (tmp_path / "photos").mkdir()
    (place / "mymodel" / "photos").symlink_to(tmp_path / "photos")
    before = code_of(["mymodel"])
    (tmp_path / "photos" / "1.png").write_bytes(b"large")
    assert code_of(["mymodel"]) == before, "a link to data is not read through"
    (shared / "base.py").write_text("WIDTH = 17")
    assert code_of(["mymodel"]) != before


@pytest.mark.parametrize(
    "text",
    ["x = " + "+".join(["1"] * 100_000), "x = " + "-" * 100_000 + "1", "x = (", "\0"],
    ids=["deep sum", "deep signs", "broken", "no text"],
)
def test_what_cannot_be_parsed_imports_nothing(place, text):
    (place / "mymodel" / "odd.py").write_text(text)
    assert code_of(["mymodel"])


def test_a_module_of_a_namespace_package_is_a_module_by_itself(place):
    before = code_of(["further.more"])
    (place / "further" / "unused.py").write_text("# changed")
    assert code_of(["further.more"]) == before
    (place / "further" / "sideways.py").write_text("# changed")
    assert code_of(["further.more"]) != before


def test_a_package_in_a_zip_file_is_that_file(place, tmp_path, monkeypatch):
    packed = tmp_path / "packed.zip"
    for text in ("one", "two"):
        with zipfile.ZipFile(packed, "w") as file:
            file.writestr("zipped/__init__.py", "")
            file.writestr("zipped/net.py", f"'{text}'")
        monkeypatch.syspath_prepend(packed)
        assert code_of(["zipped.net"]) == sha256(packed)


def test_an_installed_package_is_known_by_what_its_installer_wrote_down(place):
    lines = ["mymodel/__init__.py,sha256=aa,1", "mymodel/net.py,sha256=bb,2", "mymodel/__pycache__/net.pyc,,"]
    record = place / "mymodel-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    (record.parent / "METADATA").write_text("Name: mymodel\nVersion: 1.0\n")
    record.write_text("\n".join([*lines, "other.py,sha256=cc,3"]))
    before = code_of(["mymodel"])
    (place / "mymodel" / "inner" / "deep.py").write_text("# not in the record")
    record.write_text("\n".join([*lines, "other.py,sha256=dd,3"]))
    assert code_of(["mymodel"]) == before
    record.write_text("\n".join(lines).replace("bb", "ee"))
    assert code_of(["mymodel"]) != before


def test_torch_is_not_read_through_nor_imported():
    code = (
        "import sys; from itae.base.code import code_of; code_of(['torch.nn', 'timm']); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"


def test_a_rule_of_a_package_is_known_by_all_of_the_package(place):
    (place / "mymodel" / "__init__.py").write_text("")
    (place / "mymodel" / "rules.py").write_text("from mymodel.net import WIDTH\nclass Rule: ...\n")
    (place / "child.py").write_text("import abc\nfrom mymodel.rules import Rule\nclass Child(Rule, abc.ABC): ...\n")
    found = []
    for width in (16, 17, 17):
        (place / "mymodel" / "net.py").write_text(f"WIDTH = {width}\n")
        forget("mymodel", "child")
        found.append(identity(importlib.import_module("child").Child()))
    forget("mymodel", "child")
    assert found[0]["class"] == "child.Child"
    assert found[0] != found[1] == found[2]


def test_a_class_without_a_file_is_told():
    cls = type("Rule", (), {"__module__": "nowhere"})
    with pytest.raises(UserError, match="Rule has no source file; put it in a module to import"):
        identity(cls())


def test_a_script_is_a_module_by_itself(place):
    script = place / "script.py"
    script.write_text(
        "from itae.base.identity import identity\nimport helpers\nclass Rule: ...\nprint(identity(Rule())['source'])\n"
    )
    said = []
    for text in ("from further import more\n", "X = 1\n"):
        (place / "helpers.py").write_text(text)
        said.append(subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout)
    assert said[0] != said[1]
