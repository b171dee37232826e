"""One extraction over the workers of a real Ray cluster on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tiny_models

import itae
from itae.base import waiting
from itae.base.errors import UserError
from itae.base.place import Place
from itae.base.runtime import OnRay, Runtime
from itae.edits.attenuate import Floor, Scale
from itae.edits.detect import Random, VectorNorm
from itae.edits.edit import Edit
from itae.edits.registers import RegisterEdit, TestTimeRegisters
from itae.embed.extract import extract
from itae.embed.source import Source
from itae.images.datasets import Digits
from itae.store.store import Store
from itae.vit.backbone import Backbone

FILES = ("vectors.npy", "labels.npy", "ids.txt", "diagnostics.npz")
LOCAL = Runtime("cpu", batch_size=8)
ON_RAY = Runtime("cpu", batch_size=8, engine="ray")
STUBBORN = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from itae.edits.detect import VectorNorm

@dataclass(frozen=True)
class Deadly(VectorNorm):
    '''Kills its worker when it comes to image 20: once, or each time.'''

    once: bool = True

    def signal(self, site):
        here = bytes.fromhex("{image}") in site.digests and os.getpid() != {parent}
        if here and not (self.once and Path("died").exists()):
            Path("died").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().signal(site)
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a worker finds itself, too
    monkeypatch.setattr("itae.embed.source.SHARD", 8)
    weights = tiny_models.save(tmp_path / "tiny.safetensors")
    backbone = Backbone("tiny_vit", checkpoint=str(weights), image_size=32, module="tiny_models")
    return Source.open(Digits(limit=44), backbone, Store(tmp_path / "cache"))


@pytest.fixture
def deadly(source, monkeypatch):
    """Return a detector from a module that only the folder of this test has."""
    image = source.images.digests[20].hex()
    Path("stubborn.py").write_text(STUBBORN.format(parent=os.getpid(), image=image))
    monkeypatch.syspath_prepend(str(Path.cwd()))
    spec = importlib.util.spec_from_file_location("stubborn", "stubborn.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "stubborn", module)
    spec.loader.exec_module(module)
    return module.Deadly


def elsewhere(source, name):
    return dataclasses.replace(source, store=Store(source.store.root.parent / name))


def assert_same(ours, others, exactly=False):
    for one, other in zip(ours, others, strict=True):
        assert one.meta["digest"] == other.meta["digest"]
        assert one.ids == other.ids
        if exactly:
            assert all((one.path / name).read_bytes() == (other.path / name).read_bytes() for name in FILES)
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)
        for name, array in one.diagnostics.items():
            np.testing.assert_allclose(array, other.diagnostics[name], rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_the_workers_of_a_cluster_make_what_one_process_makes(source, ray, monkeypatch):
    fitted = VectorNorm(rule="bimodal", side="high", calibration_images=16)
    edits = [
        None,
        Edit(VectorNorm(rule="quantile", quantile=0.2), Scale(), (0, 1)),
        Edit(Random(rate=0.3), Floor(), (1,)),
        Edit(fitted, Scale(), (0, 1)),
        RegisterEdit(TestTimeRegisters(rule="mad", k=1.0, highest_layer=1, outlier_layer=1, calibration_images=16)),
    ]
    advanced = []
    monkeypatch.setattr(
        "itae.embed.work.progress", lambda total, *_: contextlib.nullcontext(lambda n: advanced.append((n, total)))
    )
    ours = extract(source, edits, ON_RAY)
    assert sorted(advanced) == [(4, 44)] + 5 * [(8, 44)], "progress comes to the process that was started"
    assert all(entry.fresh for entry in ours)
    assert ours[-1].meta["search"]["neurons"], "none to move"
    assert_same(ours, extract(elsewhere(source, "local"), edits, LOCAL))
    assert not [item for item in source.store.survey() if item.kind != "entry"], "nothing is left of the work"


@pytest.mark.slow
def test_what_one_engine_began_the_other_ends(source, ray, monkeypatch, killed_at_shard_2):
    from itae.store.draft import Draft

    ours = []
    killed_at_shard_2(extract, source, [None], LOCAL)
    (draft,) = source.store.root.glob("*/*/.draft-*")
    before = {file.name: file.stat().st_mtime_ns for file in draft.glob("*.shard")}
    assert len(before) == 2
    publish = Draft.publish
    monkeypatch.setattr(
        Draft,
        "publish",
        lambda self, *args: (
            ours.append({file.name: file.stat().st_mtime_ns for file in self.path.glob("*.shard")})
            or publish(self, *args)
        ),
    )
    (entry,) = extract(source, [None], ON_RAY)
    assert before.items() <= ours[0].items(), "the shards that were there are not made again"
    assert_same([entry], extract(elsewhere(source, "local"), [None], LOCAL))


@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
def test_the_workers_take_rows_that_are_there_and_pass_the_others(source, ray, monkeypatch, gone):
    from itae.embed.on_ray import RayWorkers

    edits = [None, Edit(VectorNorm(rule="quantile", quantile=0.2), Scale(), (0, 1))]
    few = Source.open(Digits(limit=30), source.backbone, source.store)
    donors = extract(few, edits, LOCAL)
    common = len({*few.images.digests} & {*source.images.digests})
    fill, advanced = RayWorkers.fill, []

    def pruned(self, *args):
        for donor in donors if gone else ():
            shutil.rmtree(donor.path)
        return fill(self, *args)

    monkeypatch.setattr(RayWorkers, "fill", pruned)
    monkeypatch.setattr(
        "itae.embed.work.progress", lambda total, *_: contextlib.nullcontext(lambda n: advanced.append((n, total)))
    )
    entries = extract(source, edits, ON_RAY)
    assert sum(n for n, _ in advanced) == advanced[0][1] == 44 - common
    for entry, other in zip(entries, extract(elsewhere(source, "local"), edits, LOCAL), strict=True):
        np.testing.assert_allclose(entry.vectors, other.vectors, atol=1e-5)
        if gone:  # a worker can't read them any more
            assert "rows" not in entry.meta
            assert entry.meta["device"] == "ray"
        else:
            assert (entry.meta["rows"]["passed"], entry.meta["rows"]["taken"]) == (44 - common, common)
            assert entry.meta["device"] == "ray, cpu"


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_is_replaced_and_nothing_is_lost_or_doubled(source, ray, deadly):
    edits = [None, Edit(deadly(rule="quantile", quantile=0.2), Scale(), (0, 1))]
    killed = extract(source, edits, ON_RAY)
    assert Path("died").exists(), "no worker died, so nothing was tried"
    assert len(killed[1].ids) == len(set(killed[1].ids)) == 44
    undisturbed = extract(elsewhere(source, "undisturbed"), edits, ON_RAY)
    assert_same(killed, undisturbed, exactly=True)


def test_a_worker_that_is_lost_each_time_is_told_and_its_shard_alone_is_missing(source, ray, deadly):
    edits = [Edit(deadly(rule="quantile", quantile=0.2, once=False), Scale(), (0, 1))]
    few = dataclasses.replace(ON_RAY, ray=OnRay(max_retries=1))
    with pytest.raises(UserError, match=r"its Ray worker was lost.*same command goes on from there"):
        extract(source, edits, few)
    (draft,) = source.store.root.glob("*/*/.draft-*")
    assert "000002.shard" not in [file.name for file in draft.glob("*.shard")]
    assert_same(extract(source, edits, LOCAL), extract(elsewhere(source, "local"), edits, LOCAL))


@pytest.mark.slow
def test_what_is_wrong_in_a_worker_is_told_as_it_is_here(source, ray):
    source.key(None)
    changed = dataclasses.replace(source)
    changed.__dict__["stamps"] = [(1, 1)] * 44  # as if each picture had been another one when it was fingerprinted
    with pytest.raises(UserError, match=r"was changed while it was being embedded"):
        extract(changed, [None], ON_RAY)


@pytest.mark.parametrize("cpus", [1, 2])
@pytest.mark.slow
def test_each_worker_has_as_many_threads_as_cpus(source, ray, cpus):
    def threads(place, job):
        import torch

        from itae.embed.on_ray import _worker

        place.enter()
        _worker(job[0])
        return torch.get_num_threads()

    runtime = dataclasses.replace(ON_RAY, ray=OnRay(num_cpus=cpus))
    job = ray.put((source, source.images, runtime))
    assert ray.get(ray.remote(threads).options(num_cpus=cpus, num_gpus=0).remote(Place.here(), [job])) == cpus


def test_more_than_the_machine_has_is_refused(source, ray):
    with pytest.raises(
        UserError, match=r"runtime\.ray\.num_cpus=64: the Ray cluster has 2 CPUs at most on one machine"
    ):
        extract(source, [None], dataclasses.replace(ON_RAY, ray=OnRay(num_cpus=64)))


def test_what_no_single_machine_has_is_said_and_not_waited_for_in_silence(ray, monkeypatch, caplog):
    from itae.embed import ray_cluster

    two = [{"Alive": True, "Resources": {"CPU": 1.0}}] * 2 + [{"Alive": False, "Resources": {"CPU": 64.0}}]
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: two)
    with pytest.raises(UserError, match=r"num_cpus=2: the Ray cluster has 1 CPUs at most on one machine"):
        ray_cluster._check_resources(OnRay(num_cpus=2), "runtime.ray")
    growing = OnRay(num_cpus=2, address="auto")
    ray_cluster._check_resources(growing, "runtime.ray")
    answers = [([], ["a", "b"])] * 3 + [(["a"], ["b"])]
    monkeypatch.setattr(ray_cluster.ray, "wait", lambda tasks, timeout: time.sleep(0.05) or answers.pop(0))
    monkeypatch.setattr(waiting, "FIRST", 0.1)
    assert ray_cluster.wait(["a", "b"], growing, "runtime.ray", waiting.Waiting()) == ("a", ["b"])
    (record,) = caplog.records
    assert record.levelname == "WARNING", "or it would not be on the console"
    lacking = "runtime.ray.num_cpus=2: the Ray cluster has 1 CPUs at most on one machine"
    assert record.message == f"Waiting for the Ray cluster to grow ({lacking})."


@pytest.mark.slow
def test_a_cluster_of_its_own_is_started_and_ended(tmp_path):
    pytest.importorskip("ray")
    words = ["dataset.limit=40", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "runtime.engine=ray"]
    done = subprocess.run(
        [sys.executable, "-m", "itae", *words], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ACC" in done.stdout
    left = [process for process in psutil.process_iter(["environ"]) if str(tmp_path) in str(process.info["environ"])]
    assert not left


@pytest.mark.slow
def test_a_store_that_the_workers_do_not_share_is_told(source, ray, monkeypatch):
    from itae.embed import on_ray as spread

    monkeypatch.setattr(spread, "VISIBLE", 0.3)
    monkeypatch.setattr("itae.store.draft.Draft.written", lambda self: set())
    with pytest.raises(UserError, match=r"needs paths\.cache on a file system that all of them share"):
        extract(source, [None], ON_RAY)


@pytest.mark.slow
def test_a_run_on_ray_is_a_run(itae_, ray, monkeypatch):
    monkeypatch.setattr("itae.embed.source.SHARD", 64)
    words = ("dataset.limit=160", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "detector.rule=quantile")
    assert itae_(*words, "runtime.engine=ray", "hydra.run.dir=ray", "paths.cache=shared")[0] == 0
    assert itae_(*words, "hydra.run.dir=local", "paths.cache=own")[0] == 0
    ours, local = itae.load_run("ray"), itae.load_run("local")
    np.testing.assert_allclose(ours.edited.vectors, local.edited.vectors, atol=1e-5)
    for side in ("baseline", "edited"):
        assert ours.result[side]["acc"]["mean"] == pytest.approx(local.result[side]["acc"]["mean"])
    assert ours.result["cached"] is False
    assert ours.edited.meta["device"] == "ray"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("runtime.engine=rya",), "runtime.engine='rya' is not one of local, ray. Did you mean 'ray'?"),
        (("runtime.ray.num_cpus=-1",), "runtime.ray.num_cpus=-1 must be a number of at least 0"),
        (("runtime.ray.max_retries=1.5",), "runtime.ray.max_retries=1.5 must be a whole number of at least 0"),
        (("+runtime.ray.cpus=1",), "runtime.ray.cpus=1: OnRay has no option 'cpus'"),
    ],
)
def test_a_setting_that_can_not_be_meant_is_one_sentence(itae_, words, told):
    status, _, err = itae_("dataset.limit=40", "tracker=none", *words)
    assert status == 2
    assert told in err
    assert err.splitlines()[-1].startswith("itae: ")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_no_cluster_there_is_said_at_once(source, monkeypatch, address):
    module = pytest.importorskip("ray")
    monkeypatch.setattr(module, "is_initialized", lambda: False)
    monkeypatch.setattr(module, "init", lambda **_: pytest.fail("Ray tries for many minutes"))
    with pytest.raises(UserError, match=rf"runtime\.ray\.address={address}: no Ray cluster there \(.*refused"):
        extract(source, [None], dataclasses.replace(ON_RAY, ray=OnRay(address=address)))


def test_ray_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(UserError, match=r"runtime\.engine=ray needs ray, .*pip install 'itae\[ray\]'"):
        Runtime(engine="ray")
