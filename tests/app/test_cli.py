"""The command line: every mistake in one sentence, nothing heavy imported to say it, nothing of Hydra's own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import itae.app.experiment
from itae import __version__
from itae.app.cli import main
from itae.app.compose import compose
from itae.base.errors import UserError
from itae.look.view import load_run

HEAVY = ("torch", "timm", "faiss", "sklearn", "wandb", "scipy", "PIL", "torchvision")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Folders and files that are wrong in one way each."""
    top = tmp_path_factory.mktemp("files")
    picture = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    for name in ("flat/a.png", "flat/b.png", "labelled/cat/a.png", "labelled/dog/b.png", "broken/good.png",
                 "wrapped/set/cat/a.png", "wrapped/set/dog/b.png", "linked/cat/a.png"):  # fmt: skip
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(top / name)
    (top / "broken/torn.png").write_bytes(b"no picture")
    (top / "linked/dog").symlink_to("cat")
    (top / "empty").mkdir()
    (top / "file").write_text("a file")
    (top / "one.csv").write_text("id,label\na.png,x\n")
    (top / "two.csv").write_text("id,label\na.png,x\na.png,y\nb.png,x\n")
    (top / "weights.pth").write_bytes(b"a pickle")
    (top / "noise.safetensors").write_bytes(b"noise")
    save_file({"another.weight": np.zeros((2, 2), np.float32)}, top / "other.safetensors")
    digits = load_file(Path(itae.__file__).parent / "vit" / "weights" / "digits_vit.safetensors")
    spoilt = digits["blocks.1.attn.qkv.weight"].copy()
    spoilt[0, 0] = np.nan
    save_file(digits | {"blocks.1.attn.qkv.weight": spoilt}, top / "spoilt.safetensors")
    save_file({name: array for name, array in digits.items() if "blocks.5" not in name}, top / "short.safetensors")
    return top


# The words of the command line ({} is the folder of `files`), and what the sentence has to hold: the value or the key
# that is wrong, and what is allowed or what to do.
MISTAKES = [
    # keys and groups
    ("foo=1", "'foo'", "layers, seed"),
    ("detectr=value_norm", "'detectr'", "Did you mean 'detector'?"),
    ("detector=valu_norm", "detector=valu_norm", "key_norm", "Did you mean 'value_norm'?"),
    ("detector=key_std", "detector=key_std", "--config-dir FOLDER, with detector/key_std.yaml in it"),
    ("backbone=digitsvit", "backbone=digitsvit", "Did you mean 'digits_vit'?"),
    ("dataset=cifar1", "dataset=cifar1", "imagefolder", "Did you mean 'cifar10'?"),
    ("attenuator=flor", "attenuator=flor", "Did you mean 'floor'?"),
    ("task=incremental task.protocol=domain", "task.protocol='domain'", "class, task, sample"),
    ("task=incremental task.tasks=11", "task.tasks=11", "at most 10", "10 classes"),
    ("task=incremental task.protocol=sample task.tasks=1798", "task.tasks=1798", "at most 1797", "rows"),
    ("task=incremental task.tasks=0", "task.tasks=0", "at least 1"),
    ("task=incremental task.orders=0", "task.orders=0", "at least 1"),
    ("task=incremental task.gallery=train", "task.gallery='train'", "{split: train}"),
    ("task=incremental 'task.gallery={resize: pad}'", "task.gallery is of another space", "leave out the word"),
    (
        "task=incremental 'task.gallery={split: train}' detector.rule=bimodal",
        "fits its thresholds",
        "detector.calibration=FILE",
    ),
    (
        "task=incremental 'task.gallery={split: train}' edit=test_time_registers",
        "searches its neurons",
        "leave out the gallery",
    ),
    ("task=incremental task.group=parent", "task.group=parent puts all 1797 images into one group", "null"),
    ("task=incremental 'task.gallery={split: no}'", "dataset.split='no'", "train"),
    ("task=incremental 'task.gallery={splt: train}'", "dataset.splt='train'", "Did you mean 'split'?"),
    ("task=incremental task.rivals=linear_probe", "task.rivals='linear_probe'", "must be a list"),
    ("task=incremental task.rivals=[linear_prob]", "'linear_prob'", "Did you mean 'linear_probe'?"),
    ("task=incremental task.labels=cat", "task.labels=cat", "CSV file"),
    ("task=incremental task.group=patient", "task.group=patient", "parent"),
    ("task=incremental dataset=imagefolder dataset.root={}/flat", "None of", "task.labels=FILE.csv"),
    ("task=incremental clusterer.k=3", "clusterer.k=3", "it reads voter"),
    ("task=clusterin", "task=clusterin", "Did you mean 'clustering'?"),
    ("clusterer=kmean", "clusterer=kmean", "Did you mean 'kmeans'?"),
    ("tracker=wandbb", "tracker=wandbb", "none", "Did you mean 'wandb'?"),
    ("voter=rank", "voter=rank", "it reads clusterer"),
    ("voter.k=3", "voter.k=3", "it reads clusterer"),
    ("experiment=knn_digits 'task.gallery={root: nowhere}'", "task.gallery has split", "+task.gallery.KEY=value"),
    ("corruption=pair", "corruption=pair", "it reads clusterer"),
    ("task=editing clusterer.k=3", "clusterer.k=3", "it reads voter, corruption, repair"),
    ("experiment=smokee", "experiment=smokee", "Did you mean 'smoke'?"),
    ("+experiment=smokee", "experiment=smokee", "Did you mean 'smoke'?"),
    ("experiment=[smoke,no]", "experiment=no", "smoke"),
    ("hydra/launcher=slum", "hydra/launcher=slum", "basic"),
    ("detector=null", "detector=null", "value_norm"),
    ("detector=3", "detector=3", "value_norm"),
    ("detector=[value_norm,key_norm]", "detector=[value_norm,key_norm]", "choose one", "--multirun"),
    ("+detector=key_norm", "+detector=key_norm", "leave out the +"),
    ("+seed=1", "'seed'", "remove + prefix"),
    # options of a group
    ("detector.kk=3", "'detector.kk'", "quantile", "Did you mean 'detector.k'?"),
    ("+detector.kk=3", "detector.kk=3", "VectorNorm", "quantile", "Did you mean 'k'?"),
    ("++runtime.devise=cpu", "runtime.devise='cpu'", "batch_size", "Did you mean 'device'?"),
    ("~detector.kk", "'detector.kk'", "quantile"),
    ("~detector", "detector is not set", "needs it"),
    ("+foo=1", "foo=1", "layers, seed"),
    ("++paths.data_dir=x", "paths.data_dir='x'", "cache, data"),
    ("seed.x=1", "'seed.x'", "Did you mean 'seed'?"),
    ("runtime=3", "runtime=3", "runtime.key=value"),
    ("hydra.foo=1", "'hydra.foo'", "--cfg hydra"),
    # the edit
    ("layers=[40]", "40", "-6 to 5"),
    ("layers=last40", "layers=last40", "last6"),
    ("layers=lst", "layers='lst'", "last4", "[8,9,-1]"),
    ("layers=1.5", "layers=1.5", "[8,9,-1]"),
    ("attenuator.strength=2", "attenuator.strength=2", "[0, 1]"),
    ("attenuator.strength=nan", "attenuator.strength=nan", "finite"),
    ("detector.k=1e400", "detector.k=inf", "finite"),
    ("backbone=siglip_b16 detector=cls_attention", "cls_attention", "CLS token"),
    (
        "backbone.model_name=vit_base_patch16_rpn_224 backbone=timm detector=singular_defect backbone.pool=mean",
        "detector=singular_defect",
        "vit_base_patch16_rpn_224",
        "block 0, a ResPostBlock",
        "choose another detector",
    ),
    ("detector=singular_defect detector.layer=0", "detector.layer=0", "later block"),
    ("detector=singular_defect detector.stds=-1", "detector.stds=-1", "at least 0"),
    ("detector=singular_defect detector.rule=stdd", "detector.rule='stdd'", "bimodal, std", "Did you mean 'std'?"),
    ("detector=singular_defect detector.scope=head", "detector.scope='head'", "token"),
    ("detector.rule=std", "detector.rule='std'", "absolute, quantile, mad, ratio, bimodal."),
    ("attenuator.strength=much", "attenuator.strength='much'", "[0, 1]"),
    ("attenuator.queries=clss", "attenuator.queries='clss'", "all, cls"),
    ("detector.rule=madd", "detector.rule='madd'", "bimodal", "Did you mean 'mad'?"),
    ("detector.side=left", "detector.side='left'", "low, high"),
    ("detector.scope=heads", "detector.scope='heads'", "token, head"),
    ("detector.vector=values", "detector.vector='values'", "query, key, value"),
    ("detector=combined detector.signals=[key]", "detector.signals=['key']", "two or more of query, key", "key_norm"),
    ("detector=combined detector.signals=value", "detector.signals=value", "two or more of query, key"),
    ("detector=combined 'detector.signals=[key,keys]'", "['key', 'keys']", "two or more of query, key"),
    ("detector=combined 'detector.signals=[key,key]'", "['key', 'key']", "each once"),
    ("detector=combined detector.scope=head", "detector.scope='head'", "token"),
    ("detector.rule=absolute", "rule=absolute", "set detector.threshold"),
    ("detector.quantile=2", "detector.quantile=2", "[0, 1]"),
    ("detector.k=-1", "detector.k=-1", "at least 0"),
    ("detector.ratio=0.5", "detector.ratio=0.5", "at least 1"),
    ("detector=random detector.rate=1.5", "detector.rate=1.5", "[0, 1]"),
    # clustering
    ("clusterer.k=5000", "clusterer.k=5000", "at most 1797"),
    ("clusterer.k=0", "clusterer.k=0", "at least 1"),
    ("clusterer.k=ten", "clusterer.k='ten'", "whole number", "auto"),
    ("clusterer.k=atuo", "clusterer.k='atuo'", "Did you mean 'auto'?"),
    ("clusterer.k=auto clusterer.candidates=[]", "clusterer.candidates=[]", "[5,10,20]"),
    ("clusterer.k=auto clusterer.candidates=10", "clusterer.candidates=10", "[5,10,20]"),
    ("clusterer.k=auto clusterer.candidates=[5,5]", "clusterer.candidates=[5,5]", "each once"),
    ("clusterer.k=auto clusterer.candidates=[5,0]", "in clusterer.candidates=0", "at least 1"),
    ("clusterer.k=auto clusterer.candidates=[5,ten]", "clusterer.candidates='ten'", "whole number"),
    ("clusterer.k=auto clusterer.candidates=[5,2000]", "[5,2000] has 2000", "there are images (1797)"),
    ("clusterer.k=10 clusterer.candidates=[5,10]", "clusterer.candidates=[5,10]", "set clusterer.k=auto"),
    ("clusterer.candidates=[5,10]", "clusterer.candidates=[5,10]", "10 classes", "set clusterer.k=auto"),
    ("clusterer.seeds=0", "clusterer.seeds=0", "at least 1"),
    ("clusterer.init=kmeans", "clusterer.init='kmeans'", "k-means++"),
    ("clusterer.spherical=yess", "clusterer.spherical='yess'", "true or false"),
    ("clusterer=agglomerative clusterer.linkage=wards", "clusterer.linkage='wards'", "Did you mean 'ward'?"),
    ("clusterer=agglomerative clusterer.k=5 clusterer.distance=1", "clusterer.distance=1", "set one of them"),
    ("clusterer=agglomerative clusterer.neighbours=1797", "clusterer.neighbours=1797", "at most 1796"),
    ("clusterer=hdbscan clusterer.min_cluster_size=2000", "clusterer.min_cluster_size=2000", "at most 898"),
    ("clusterer=hdbscan clusterer.k=5", "'clusterer.k'", "clusterer=kmeans"),
    ("clusterer=spectral clusterer.neighbours=0", "clusterer.neighbours=0", "at least 1"),
    ("clusterer=gmm clusterer.covariance=diagonal", "clusterer.covariance='diagonal'", "Did you mean 'diag'?"),
    ("seed=-1", "seed=-1", "at least 0"),
    ("seed=x", "seed='x'", "whole number"),
    ("selection=fix", "selection='fix'", "fixed, proxy, dev_labels, oracle"),
    # neighbours
    (
        "task.words=[cat,dog]",
        "task.words",
        "no text tower for digits_vit with backbone.pool=cls",
        "backbone=digits_clip",
    ),
    ("backbone=dinov2_s14 task.words=[cat,dog]", "task.words", "no text tower"),
    ("backbone=digits_clip backbone.pool=cls task.words=[one,two]", "task.words", "backbone.pool=cls"),
    ("backbone=digits_clip task.words=[one,cat]", "knows no word of 'cat'"),
    ("backbone=digits_clip task.words=no.txt", "task.words=no.txt", "is no file"),
    ("task.words=''", "task.words=''", "must list words"),
    ("task.words=[one,one]", "task.words", "has a single word"),
    ("backbone=digits_clip task.words=[11,12]", "knows no word of '11'"),  # numbers are words here
    ("backbone=digits_clip task.words=3", "task.words=3", "is no file"),
    ("task=knn clusterer.k=3", "clusterer.k=3", "it reads voter"),
    ("task=knn task.gallery=nowhere", "nowhere is no knowledge base", "itae knowledge init"),
    ("task=knn task.gallery=3", "task.gallery=3", "{split: train}"),
    ("task=knn 'task.gallery={baseline: kb}'", "must name a base for each side", "edited: KB2"),
    ("task=knn 'task.gallery={splt: train}'", "'splt'", "Did you mean 'split'?"),
    ("task=knn 'task.gallery={resize: pad}'", "task.gallery is of another space", "leave out the word"),
    (
        "task=knn 'task.gallery={split: train}' detector.rule=bimodal",
        "fits its thresholds",
        "detector.calibration=FILE",
    ),
    (
        "task=knn 'task.gallery={split: train}' edit=test_time_registers",
        "searches its neurons",
        "leave out the gallery",
    ),
    ("task=knn task.at=3", "task.at=3", "task.gallery=KB"),
    ("task=knn task.labels={}/no.csv", "/no.csv can't be read"),
    ("task=knn task.group=parent", "task.group=parent puts all 1797 images into one group", "null"),
    ("task=knn 'task.gallery={split: train}' task.group=parent", "all 2954 images into one group", "null"),
    ("task=knn task.group=patient", "task.group=patient", "give parent"),
    ("task=knn task.truth=real", "task.truth=real", "columns id and label"),
    ("task=knn task.truth={}/file", "/file has no column 'id'"),
    ("task=knn task.ks=[]", "task.ks=[] must be a list", "[1, 10, 100]"),
    ("task=knn task.ks=[1,0]", "task.ks=0", "at least 1"),
    ("task=knn task.ks=5", "task.ks=5 must be a list"),
    ("task=knn task.voters=[rank,rnk]", "task.voters='rnk'", "Did you mean 'rank'?"),
    ("task=knn task.temperature=0", "task.temperature=0", "above 0"),
    ("task=knn task.unknown=-1", "task.unknown=-1", "at least 0"),
    ("task=knn task.unknown=9", "task.unknown=9 leaves 1 of the 10 classes", "8 at most"),
    ("task=knn task.unknown=[ten]", "'ten'", "they are of"),
    ("task=knn dataset=imagefolder dataset.root={}/flat", "without labels", "task.labels=FILE.csv"),
    ("task=knn voter.k=0", "voter.k=0", "at least 1"),
    # editing
    ("task=editing corruption=clustr", "corruption=clustr", "Did you mean 'cluster'?"),
    ("task=editing repair=suspicious", "repair=suspicious", "suspicion"),
    ("task=editing corruption.rate=0", "corruption.rate=0", "between 0 and 1"),
    ("task=editing corruption.rate=0.01 dataset.limit=40", "corruption.rate=0.01", "40 images", "at least 0.025"),
    ("task=editing corruption.size=1", "corruption.size=1", "at least 2"),
    ("task=editing corruption=pair corruption.size=3", "corruption.size", "belongs to corruption=cluster"),
    ("task=editing task.draws=0", "task.draws=0", "at least 1"),
    ("task=editing task.budget=0", "task.budget=0", "above 0"),
    ("task=editing task.budget=2", "task.budget=2", "[0, 1]"),
    ("task=editing task.sources=0", "task.sources=0", "at least 1"),
    ("task=editing task.gallery=train", "task.gallery='train'", "{split: train}"),
    ("task=editing 'task.gallery={splt: train}'", "splt", "Did you mean 'split'?"),
    ("task=editing 'task.gallery={resize: pad}'", "task.gallery is of another space", "leave out the word"),
    (
        "task=editing 'task.gallery={split: train}' detector.rule=bimodal",
        "fits its thresholds",
        "detector.calibration=FILE",
    ),
    (
        "task=editing 'task.gallery={split: train}' edit=test_time_registers",
        "searches its neurons",
        "leave out the gallery",
    ),
    ("task=editing task.group=parent", "task.group=parent puts all 1797 images into one group", "null"),
    ("task=editing task.labels=no.csv", "task.labels=no.csv", "can't be read"),
    ("task=editing task.group=patient", "task.group=patient", "parent"),
    ("task=editing voter.k=0", "voter.k=0", "at least 1"),
    ("task=editing dataset=imagefolder dataset.root={}/flat", "2 images", "a folder for each class", "task.labels="),
    ("task=editing dataset=imagefolder dataset.root={}/wrapped/set/cat task.labels={}/one.csv", "'x'", "two classes"),
    ("task=editing dataset=imagefolder dataset.root={}/flat task.labels={}/two.csv", "x, y", "one line for each"),
    # the backbone
    ("backbone.pool=clss", "backbone.pool='clss'", "cls, mean, head, projection"),
    ("backbone=siglip_b16 backbone.pool=cls", "backbone.pool=cls", "no CLS token", "mean or head"),
    (
        "backbone.pool=cls_registers",
        "backbone.pool=cls_registers: digits_vit has no register tokens",
        "dinov2_s14_reg4",
    ),
    ("backbone.pool=projection", "backbone.pool=projection: digits_vit has no projection", "backbone=clip_b16"),
    ("backbone.precision=fp8", "backbone.precision='fp8'", "fp32, bf16, fp16"),
    ("backbone.image_size=33", "image_size=33", "patch size 4", "use 32"),
    ("backbone=timm", "backbone.model_name", "set backbone.model_name="),
    ("backbone=timm backbone.model_name=vit_smal_patch16_224", "vit_smal_patch16_224", "'vit_small_patch16_224'"),
    ("backbone=timm backbone.model_name=resnet50", "resnet50", "vision transformers"),
    ("backbone=timm backbone.model_name=vit_base_patch16_xp_224", "a ParallelScalingBlock", "choose another backbone"),
    ("backbone.checkpoint={}/no.safetensors", "/no.safetensors", "give a .safetensors file"),
    ("backbone.checkpoint={}/weights.pth", "/weights.pth", "convert it first"),
    ("backbone.checkpoint={}/other.safetensors", "/other.safetensors", "digits_vit", "Give the architecture"),
    ("backbone.checkpoint={}/short.safetensors tracker=none", "/short.safetensors", "5 blocks and the model 6"),
    ("backbone.checkpoint={}/spoilt.safetensors tracker=none", "blocks.1.attn.qkv.weight holds NaN", "give another"),
    ("backbone.checkpoint={}/noise.safetensors", "/noise.safetensors", "is it whole"),
    ("dataset=photos/holidays", "dataset=photos/holidays", "dataset=imagefolder dataset.root=photos/holidays"),
    ("dataset.root={}/flat", "'dataset.root'", "dataset=imagefolder"),
    ("detector=none detector.k=3", "'detector.k'", "detector=value_norm"),
    ("backbone=dinov2_s14", "timm/vit_small_patch14_dinov2", "itae prepare backbone="),
    ("hydra/launcher=slum", "hydra/launcher=slum", "basic"),
    ("cache verify --cache={}/nowhere", "/nowhere", "no such folder"),
    ("hydra.run.dir=/proc/nowhere", "/proc/nowhere", "hydra.run.dir"),
    ("backbone.checkpoint=3", "backbone.checkpoint=3", "null"),
    ("backbone.module=no.such", "backbone.module=no.such", "PYTHONPATH"),
    # the images
    ("dataset=cifar10", "cifar-10-batches-py", "itae prepare dataset=cifar10"),
    ("dataset.split=val", "dataset.split='val'", "all, train, test"),
    ("dataset=cifar10 dataset.split=val", "dataset.split='val'", "train, test"),
    ("dataset=digit_pairs dataset.count=5", "dataset.count=5", "at least 10 and at most 100,000"),
    ("dataset=digits_conditions dataset.condition=color", "dataset.condition='color'", "Did you mean 'colour'?"),
    ("dataset=cub200", "CUB_200_2011", "told by: itae prepare dataset=cub200"),
    ("dataset=cars196", "'car_ims' or 'cars_train'", "itae prepare dataset=cars196"),
    ("dataset=sop", "Stanford_Online_Products", "itae prepare dataset=sop"),
    ("dataset=inshop", "list_eval_partition.txt", "itae prepare dataset=inshop"),
    ("dataset=inshop dataset.split=val", "dataset.split='val'", "query, gallery"),
    ("dataset.limit=0", "dataset.limit=0", "at least 1"),
    ("dataset.resize=squish", "dataset.resize='squish'", "squash, crop, pad"),
    ("dataset.bad_image=ignore", "dataset.bad_image='ignore'", "error, skip"),
    ("dataset=imagefolder", "dataset.root", "set dataset.root="),
    ("dataset=imagefolder dataset.root={}/no", "/no'", "does not exist", "set dataset.root"),
    ("dataset=imagefolder dataset.root={}/file", "/file'", "not a folder"),
    ("dataset=imagefolder dataset.root={}/empty", "/empty'", "holds no images", ".png"),
    ("dataset=imagefolder dataset.root={}/flat clusterer.candidates=[2,500]", "has 500", "dataset.limit"),
    ("dataset=imagefolder dataset.root={}/wrapped", "/wrapped'", "one class, 'set'", "/wrapped/set'"),
    ("dataset=imagefolder dataset.root={}/linked", "'cat' and 'dog'", "two classes", "remove one"),
    ("dataset=imagefolder dataset.root={}/labelled clusterer.k=3", "clusterer.k=3", "at most 2"),
    ("dataset=imagefolder dataset.root={}/broken clusterer.k=2", "torn.png", "dataset.bad_image=skip"),
    # how and where it runs
    ("runtime.device=gpu", "runtime.device='gpu'", "auto, cpu, cuda"),
    ("runtime.device=cuda:99", "cuda:99", "runtime.device="),
    ("-m runtime.device=cuda:99 seed=1,2", "cuda:99", "2 of 2 jobs", "runtime.device=auto"),
    ("runtime.batch_size=0", "runtime.batch_size=0", "at least 1"),
    ("runtime.num_workers=-1", "runtime.num_workers=-1", "at least 0, or auto"),
    ("runtime.num_workers=max", "runtime.num_workers='max'", "at least 0, or auto"),
    ("dataset.decode=half", "dataset.decode='half'", "full, reduced"),
    ("paths.cache={}/file", "/file'", "needs a folder"),
    ("paths.cache=null", "paths.cache=None", "set paths.cache="),
    ("tracker.mode=onlin", "tracker.mode='onlin'", "offline, online"),
    ("tracker.project=a/b", "tracker.project='a/b'", "can't hold '/'"),
    ("tracker.entity=a:b", "tracker.entity='a:b'", "can't hold ':'"),
    ("tracker.tags=paper", "tracker.tags='paper'", "tracker.tags=[paper]"),
    ("'tracker.tags=[\"\"]'", "A tag of tracker.tags=''", "null for none"),
    (f"tracker.group={'g' * 129}", "tracker.group=ggg", "129 letters", "128"),
    ("tracker.notes=''", "tracker.notes=''", "null for none"),
    ("sync --project=a/b", "--project='a/b'", "can't hold '/'"),
    ("dashboard me/a#b", "PROJECT='a#b'", "can't hold '#'"),
    ("hydra.run.dir={}/file/x", "/file/x", "hydra.run.dir"),
    # classes of one's own
    ("detector._target_=itae.detect.No", "itae.detect.No", "package.module.Class"),
    ("detector._target_=no.such.Detector", "no.such.Detector", "PYTHONPATH"),
    ("detector._target_=itae.attenuate.Floor", "itae.attenuate.Floor", "can't be a detector", "__call__"),
    ("detector._target_=os.path.join", "os.path.join", "no class"),
    ("task._target_=itae.tracking.NoTracker", "itae.tracking.NoTracker", "can't be a task", "measure"),
    ("detector._target_=null", "detector._target_", "choose an option"),
    # the grammar
    ("layers", "'layers'", "key=value"),
    (
        "chache ls",
        "'chache'",
        "cache, calibrate, collect, dashboard, knowledge, portable, prepare, protocol, report, search, serve, sync",
    ),
    ("layers=[1", "'layers=[1'", "quote"),
    ("a=b=c", "'a=b=c'", "quote"),
    ("seed==3", "'seed==3'", "quote"),
    ("seed=1,2", "'seed=1,2'", "--multirun"),
    ("seed=${no}", "'no'", "seed"),
    ("hydra.run.dir=${no}", "hydra.run.dir", "'no'"),
    ("hydra.verbose=3", "hydra-help"),
    # names with a meaning to Hydra
    ("dataset=imagefolder 'dataset.root=odd/p (1)'", "quote", """: as a text it is 'dataset.root="odd/p (1)"'."""),
    ("dataset=imagefolder dataset.root=Käfer", """: as a text it is 'dataset.root="Käfer"'."""),
    ("dataset=imagefolder dataset.root=a=b", """: as a text it is 'dataset.root="a=b"'."""),
    ("dataset=imagefolder 'dataset.root=~me'", """: as a text it is 'dataset.root="~me"'."""),
    ("hydra.run.dir=a#b", """: as a text it is 'hydra.run.dir="a#b"'."""),
    ("dataset=imagefolder 'dataset.root=a (1),b'", "for one text", """'dataset.root="a (1)","b"' for 2."""),
    ("dataset=imagefolder dataset.root=a,b", "--multirun", """one text 'dataset.root="a,b"'."""),
    ("dataset=imagefolder dataset.root=[x]", "a list", """as a text it is 'dataset.root="[x]"'."""),
    ("dataset=imagefolder dataset.root={a:1}", "options", """as a text it is 'dataset.root="{a:1}"'."""),
    ("dataset=imagefolder 'dataset.root=a${no}b'", "'no'", """as a text, 'dataset.root="a\\${no}b"'."""),
    # numbers as names
    ("dataset=imagefolder dataset.root=2024", "dataset.root='2024' does not exist"),
    ("dataset=imagefolder dataset.root=2024_05", "dataset.root='2024_05' does not exist"),
    ("dataset=imagefolder dataset.root=true", "dataset.root='true' does not exist"),
    ("dataset=imagefolder dataset.root={}/labelled dataset.split=2019", "dataset.split='2019'", "'cat', 'dog'"),
    ("dataset=imagefolder dataset.root=null", "dataset.root=None", "set dataset.root="),
    ("-m dataset=imagefolder dataset.root=2_3,2_4", 'job 1 (dataset.root="2_4")', "dataset.root='2_4' does not exist"),
    ("prepare dataset=imagefolder dataset.root=1e3", "dataset.root='1e3' does not exist"),
    ("calibrate {}/2.json detector.rule=bimodal dataset=imagefolder dataset.root=1e3", "dataset.root='1e3' does not"),
    ("protocol dataset=imagefolder dataset.root=1_0 clusterer.k=2 --held-out dataset.root=2_0", "'1_0' does not exist"),
    ("backbone=timm backbone.model_name=2024_05", "model_name=2024_05", "no such model"),
    ("hydra.run.dir=/proc/2024_05", "/proc/2024_05", "hydra.run.dir"),
    ("tracker.tags=2024", "tracker.tags='2024'", "tracker.tags=[paper]"),
    ("--config-name=conf", "'conf'", "--config-name", "--config-dir"),
    ("--config-dir={}/no", "/no'", "not found"),
    ("--foo", "--foo", "itae --help"),
    ("seed=1,2 -m layers=last", "layers=last", "before or after all"),
    ("--cfg jobb", "'jobb'", "'job'"),
    ("--multirun seed=1,2 foo=1", "'foo'", "layers, seed"),
    ("-m detector=value_norm,valu_norm", "detector=valu_norm", "Did you mean 'value_norm'?"),
    ("-m seed=-1,-2", "job 0 (seed=-1)", "at least 0"),
    # the other commands
    ("cache list", "'list'", "'ls'", "itae cache --help"),
    ("cache", "command", "itae cache --help"),
    ("cache prune --max-gb=x", "'x'", "from 0 up"),
    ("cache ls --cache={}/file", "/file'", "needs a folder"),
    ("prepare dataset=cifar1", "dataset=cifar1", "Did you mean 'cifar10'?"),
    ("prepare datset=cifar10", "'datset'", "Did you mean 'dataset'?"),
    ("prepare --foo", "--foo", "itae prepare --help"),
    ("calibrate", "FILE", "itae calibrate --help"),
    ("calibrate {}/file detector.rule=bimodal", "/file is there already"),
    ("calibrate {}/new.json", "detector.rule=bimodal"),
    ("calibrate {}/new.json detector.rule=bimodal voter=rank", "voter=rank", "it reads clusterer"),
    ("prepare corruption.rate=0.3", "corruption.rate=0.3", "it reads clusterer"),
    ("calibrate {}/new.json detector.rule=bimodal layers=none", "leave something to edit"),
    ("calibrate {}/no/new.json detector.rule=bimodal", "/no/new.json can't be written", "choose another place"),
    ("detector.rule=bimodal detector.calibration={}/no.json", "/no.json can't be read", "itae calibrate"),
    ("detector.rule=bimodal detector.calibration={}/file", "/file is no calibration", "itae calibrate FILE"),
    ("detector.calibration={}/file", "detector.calibration=", "detector.rule=bimodal"),
    ("detector.layer=6", "detector.layer=6", "-6 to 5"),
    ("detector.layer=0 detector.scope=head", "detector.scope=head", "detector.scope=token"),
    ("control=randm", "control=randm", "Did you mean 'random'?"),
    ("control=random control.seed=-1", "control.seed=-1", "at least 0"),
    ("control=shuffle control.seed=-1", "control.seed=-1", "at least 0"),
    ("control=register_mean", "control=register_mean: digits_vit has no register tokens", "another control"),
    ("control=register_mean control.calibration_images=1", "control.calibration_images=1", "at least 2"),
    ("control=other_side detector=random", "control=other_side", "Random has no side"),
    ("prepare dataset=imagefolder dataset.root={}/no", "/no'", "does not exist"),
]


@pytest.mark.parametrize(("line", "words"), [(line, words) for line, *words in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_told_in_one_sentence(itae_, files, line, words):
    status, out, err = itae_(*shlex.split(line.replace("{}", str(files))))
    assert (status, out) == (2, ""), err
    assert err.startswith("itae: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    for preamble in ("Traceback", "Error executing job", "Set the environment variable"):
        assert preamble not in err


@pytest.mark.parametrize(("said", "timeout"), [(None, "4"), ("20", "20")])
def test_idle_threads_of_openblas_don_t_spin(tmp_path, said, timeout):
    """The variable is read when numpy is imported, so it has to stand before that."""
    code = """
import os, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_THREAD_TIMEOUT"))
sys.meta_path.insert(0, Finder())
from itae.app.cli import main
main()
"""
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    env |= {"OPENBLAS_THREAD_TIMEOUT": said} if said else {}
    words = ["detector.rule=madd"]  # which is found out with numpy at hand
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.stdout.splitlines() == [timeout], done.stderr[-2000:]


@pytest.mark.slow
def test_no_mistake_waits_for_torch(tmp_path):
    """In one fresh process, in this order: whichever imports a heavy package is named."""
    lines = [
        "--version", "--help", "--cfg job", "-sc query=bash", "foo=1", "+detector.foo=1", "++foo=1", "detector=no",
        "attenuator.strength=2", "layers=lst", "detector.rule=madd", "detector._target_=itae.detect.No",
        "backbone.checkpoint=no.safetensors", "dataset=imagefolder", "tracker.mode=onlin", "clusterer.k=0",
        "prepare dataset=no", "cache list",
    ]  # fmt: skip
    code = f"""
import sys
from itae.app.cli import main
for line in {lines!r}:
    sys.argv = ["itae", *line.split()]
    try:
        main()
    except SystemExit:
        pass
    heavy = sorted(set(sys.modules) & set({HEAVY!r}))
    assert not heavy, (line, heavy)
"""
    completing = os.environ | {"COMP_LINE": "itae detector=va", "COMP_POINT": "16"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=completing, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("itae: ") == len(lines) - 4


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("itae detector=va", {"detector=value_norm"}),
        ("itae layers=last att", {"attenuator=", "attenuator."}),
        ("itae attenuator=fade attenuator.s", {"attenuator.strength="}),
        ("itae experiment=sm", {"experiment=smoke"}),
    ],
)
def test_tab_completes(itae_, monkeypatch, line, completions):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    status, out, err = itae_("-sc", "query=bash")
    assert (status, err) == (0, "")
    assert completions <= set(out.split())
    assert not {word for word in out.split() if not word.startswith(line.split()[-1])}


def test_help_and_version_say_what_is_there(itae_):
    status, out, _ = itae_("--help")
    assert status == 0
    for word in ("itae prepare", "itae cache", "spherical_kmeans", "experiment: ", "strength: 1.0"):
        assert word in out
    assert itae_("--version") == (0, f"itae {__version__}\n", "")
    assert itae_("prepare", "--help")[1].startswith("usage: itae prepare")


def test_python_dash_m_is_the_same():
    done = subprocess.run([sys.executable, "-m", "itae", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"itae {__version__}\n"


def test_an_experiment_may_be_written_with_a_plus(itae_):
    plain = itae_("experiment=smoke", "--cfg", "job")
    assert plain[0] == 0
    assert plain == itae_("+experiment=smoke", "--cfg", "job")
    assert plain[1] != itae_("--cfg", "job")[1]


OWN = """
from dataclasses import dataclass
from itae.edits.detect import Detector

@dataclass(frozen=True)
class Centre(Detector):
    width: int = 2

    def signal(self, site):
        return site.x[:, site.prefix:].float().abs().amax(dim=-1).unsqueeze(1) * self.width
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """A folder with a config for a detector of a user's own, whose module is on the path."""
    (tmp_path / "own_detector.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine/detector").mkdir(parents=True)
    (tmp_path / "mine/detector/centre.yaml").write_text("_target_: own_detector.Centre\nwidth: 3\n")
    return str(tmp_path / "mine")


def test_a_rule_of_ones_own_is_one_class_and_one_yaml(itae_, own):
    chosen = ("--config-dir", own, "detector=centre")
    assert "own_detector.Centre" in itae_(*chosen, "--cfg", "job")[1]
    small = ("tracker=none", "dataset.limit=40", "clusterer.seeds=1", "clusterer.restarts=1")
    status, _, err = itae_(*chosen, *small, "hydra.run.dir=mine_run")
    assert (status, err) == (0, "")
    assert load_run("mine_run").result["edit"]["detector"]["width"] == 3
    assert load_run("mine_run").result["started"]["config_dir"] == own
    assert itae_("report", "mine_run", "--out", "own.html")[0] == 0
    assert f"itae --config-dir {own} detector=centre" in Path("own.html").read_text()
    # Whatever is wrong with it is told like the rest.
    assert "detector has _target_, width." in itae_(*chosen, "detector.widht=1")[2]
    assert "Centre has no option 'widht'" in itae_(*chosen, "+detector.widht=1")[2]
    unknown = itae_("--config-dir", own, "detector=center")[2]
    assert "Did you mean 'centre'?" in unknown
    assert "FOLDER" not in unknown, "it was given"
    assert itae_("prepare", *chosen)[0] == 0


def test_prepare_says_what_it_did(itae_):
    status, out, err = itae_("prepare", "+experiment=smoke")
    assert (status, out) == (0, "")
    assert "dataset=digits needs no download" in err


def fail_with(error: BaseException):
    def extract(*args: object) -> None:
        raise error

    return extract


def test_ctrl_c_ends_with_130_and_a_sentence(itae_, monkeypatch):
    monkeypatch.setattr("itae.app.job.extract", fail_with(KeyboardInterrupt()))
    status, out, err = itae_("tracker=none", "hydra.run.dir=stopped")
    assert (status, out) == (130, "")
    assert err.startswith("itae: Interrupted")
    assert err.count("\n") == 1
    assert json.loads(Path("stopped/result.json").read_text())["status"] == "failed"


@pytest.mark.parametrize("full", [None, "0", "1"])
def test_a_bug_keeps_its_traceback_and_a_mistake_never_has_one(itae_, monkeypatch, full):
    if full is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", full)
    assert itae_("seed=-1") == (2, "", "itae: seed=-1 must be a whole number of at least 0.\n")
    assert os.environ.get("HYDRA_FULL_ERROR") == full
    monkeypatch.setattr("itae.app.job.extract", fail_with(RuntimeError("a bug")))
    for words in (["tracker=none"], ["tracker=none", "seed=1,2", "hydra/launcher=basic", "-m"]):
        with pytest.raises(RuntimeError, match="a bug") as told:
            itae_(*words)
        assert "extract" in [entry.name for entry in told.traceback]


def test_what_hydra_itself_fails_on_shows_its_traceback_on_demand(itae_, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(AssertionError):
        itae_("hydra.verbose=3")


def test_one_bad_job_of_a_sweep_is_named_and_the_others_run(itae_, monkeypatch):
    ran = []

    def run(cfg, folder: Path) -> None:
        ran.append((cfg.seed, str(folder)))
        if cfg.seed < 0:
            raise UserError("seed is bad.")

    monkeypatch.setattr(itae.app.experiment, "run", run)
    told = itae_("seed=1,-2,3", "layers=all", "hydra.sweep.dir=sweep", "hydra/launcher=basic", "--multirun")
    assert told == (2, "", "itae: job 1 (seed=-2 layers=all): seed is bad.\n")
    assert [(seed, Path(folder).parts[-2:]) for seed, folder in ran] == [
        (1, ("sweep", "0")), (-2, ("sweep", "1")), (3, ("sweep", "2")),
    ]  # fmt: skip


def test_compose_is_the_command_line_without_a_run():
    assert compose(["backbone=dinov2_s14", "layers=last4"]).layers == "last4"


@pytest.mark.slow
def test_a_run_that_a_cluster_ends_says_so(tmp_path):
    command = [sys.executable, "-m", "itae", "tracker=none", "hydra.run.dir=run", "clusterer.restarts=100000"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "outputs").glob("cache/*/*/[0-9a-f]*")) and time.monotonic() < deadline:
            time.sleep(0.2)
        process.terminate()
        assert process.wait(timeout=60) == 143
    finally:
        process.kill()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "failed"
    assert "143" in result["error"]


def test_a_home_folder_may_be_written_as_everywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["itae", "tracker=none", "dataset=imagefolder", "dataset.root=~/gone"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"{tmp_path}/gone" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["prepare", "calibrate fits.json", "protocol --held-out dataset=digits"])
def test_a_home_folder_may_be_written_so_for_commands_too(itae_, tmp_path, monkeypatch, command):
    monkeypatch.setenv("HOME", str(tmp_path))
    status, _, err = itae_(*command.split(), "dataset=imagefolder", "dataset.root=~/gone")
    assert (status, f"dataset.root='{tmp_path}/gone' does not exist" in err) == (2, True), err
