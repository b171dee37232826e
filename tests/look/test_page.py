"""The page of a run and of a sweep, opened from the disk in a real browser with the network off."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import itae
from itae.app.experiment import run
from itae.look.page import MOST, write_page
from itae.look.view import load_run
from itae.results.run import write_result

pytestmark = [pytest.mark.slow, pytest.mark.figures, pytest.mark.xdist_group("chromium")]
HOSTILE = "<img src=x onerror=document.title='owned'>"
SCRIPT = "</script><script>document.title='owned'</script>{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Return the folder of a run of the planted digits, with its page."""
    folder = tmp_path_factory.mktemp("one")
    words = ["experiment=demo", "dataset.limit=400", "clusterer.seeds=3", "clusterer.restarts=2", "tracker=none"]
    run(compose(*words, f"paths.cache={folder / 'cache'}"), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return the folder of a sweep of six jobs on the planted digits, with its page."""
    folder = tmp_path_factory.mktemp("many")
    for i, (layers, k) in enumerate((layers, k) for layers in ("last", "last4", "all") for k in (3, 5)):
        words = [f"layers={layers}", f"detector.k={k}", "detector.side=high", "detector.rule=mad", "attenuator=scale"]
        words += ["backbone=digits_vit_artifacts", "dataset.limit=300", "clusterer.seeds=3", "clusterer.restarts=1"]
        run(compose(*words, "tracker=none", f"paths.cache={folder / 'cache'}", "runtime.report=false"),
            folder / "sweep" / str(i))  # fmt: skip
    write_page([folder / "sweep"])
    return folder / "sweep"


def compose(*words):
    from hydra.core.global_hydra import GlobalHydra

    from itae.app.compose import compose as composed

    GlobalHydra.instance().clear()
    return composed(list(words))


def shown(page):
    return json.loads(page.text_content("#data"))


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_a_run_ends_with_its_page(one, look):
    result = load_run(one).result
    page = look(one / "report.html")
    assert page.title().startswith("digits (400 images, k=10)")
    row = page.locator("#run table.scores tbody tr").first.inner_text()
    assert f"{result['edited']['acc']['mean']:.4f}" in row
    assert f"{result['delta']['acc']['mean']:+.4f}" in row
    low, high = map(float, re.search(r"(\+\d\.\d+) to (\+\d\.\d+)", row).groups())
    assert low <= result["delta"]["acc"]["mean"] <= high
    names = page.eval_on_selector_all("figure", "all => all.map(one => one.className)")
    assert names == ["norms", "signal", "layers", "artifacts", "clusters"]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert "experiment=demo" not in page.text_content(".again"), "it was started from Python"
    assert "layers: all" in page.text_content("#settings")
    assert result["versions"]["torch"] in page.text_content("#settings")


def test_clusters_and_neighbours_by_keyboard_alone(one, look):
    page = look(one / "report.html")
    gallery = shown(page)["gallery"]
    page.focus("#cluster-list button >> nth=0")
    page.keyboard.press("ArrowDown")
    second = page.locator("#cluster-list button >> nth=1")
    assert second.get_attribute("aria-pressed") == "true"
    number = int(re.search(r"\d+", second.inner_text())[0])
    (cluster,) = [each for each in gallery["after"]["clusters"] if each["number"] == number]
    assert page.text_content("#cluster h3") == f"Cluster {number}"
    page.focus("#cluster .tile >> nth=0")
    page.keyboard.press("Enter")
    assert page.text_content("#image-title") == gallery["ids"][cluster["central"][0]]
    for part, side in enumerate(("before", "after")):
        near = page.locator("dialog .tiles").nth(part).locator("img")
        want = [gallery["ids"][i] for i in gallery[side]["near"][cluster["central"][0]]]
        assert near.evaluate_all("all => all.map(one => one.alt)") == want
    page.focus("dialog .tile >> nth=0")
    page.keyboard.press("Enter")
    assert page.text_content("#image-title") == gallery["ids"][gallery["before"]["near"][cluster["central"][0]][0]]
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_both_sides_and_all_images_of_a_cluster(one, look):
    page = look(one / "report.html")
    gallery = shown(page)["gallery"]
    page.check("input[value=before]")
    sizes = [int(text) for text in page.locator("#cluster-list button span").all_inner_texts()]
    assert sizes == sorted((each["size"] for each in gallery["before"]["clusters"]), reverse=True)
    assert sum(sizes) == 400
    page.click("#cluster details summary")
    page.wait_for_selector("#cluster details .tile")
    tiles = page.locator("#cluster .tile img").evaluate_all("all => all.map(one => one.alt)")
    assert len(set(tiles)) == sizes[0], "all images of a small set are there"


def test_a_point_opens_its_image(one, look):
    page = look(one / "report.html")
    page.locator("#points-plot").scroll_into_view_if_needed()
    page.wait_for_selector("#points-plot .points path")
    page.select_option("#points-form select", "cluster, edited")
    points = page.evaluate("document.getElementById('points-plot').data.flatMap(trace => trace.x).length")
    assert points == 2 * 400, "both sides"
    page.wait_for_timeout(300)
    page.locator("#points-plot .points path").first.dispatch_event("mousemove")
    box = page.locator("#points-plot .points path").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("dialog[open]")
    assert page.text_content("#image-title") in shown(page)["gallery"]["ids"]


def test_light_and_dark(one, look):
    light, dark = look(one / "report.html"), look(one / "report.html", "dark")
    assert background(light) == "rgb(255, 255, 255)"
    assert background(dark) != background(light)
    light.click("#theme")
    assert background(light) == background(dark)
    paper = "document.getElementById('points-plot')._fullLayout.paper_bgcolor"
    assert light.evaluate(paper) == dark.evaluate(paper) != "#ffffff"


def test_without_scripts_numbers_and_figures_are_there(one, many, look):
    page = look(one / "report.html", scripts=False)
    assert page.locator("#run table.scores tbody tr").count() == 5
    assert page.locator("figure img").count() == 5
    page = look(many / "report.html", scripts=False)
    assert page.locator("#runs-table_fallback tbody tr").count() == 6


def test_a_sweeps_table_sorts_and_filters(many, look):
    page = look(many / "report.html")
    rows = page.locator("#runs-table tbody tr")
    page.wait_for_selector("#runs-table tbody tr")
    assert rows.count() == 6
    heads = page.locator("#runs .dt-scroll-head thead th").all_inner_texts()
    column = heads.index("delta.acc")
    head = page.locator("#runs .dt-scroll-head thead th").nth(column)

    def values():
        return [float(row.locator("td").nth(column).inner_text()) for row in rows.all()]

    head.click()
    page.wait_for_selector("#runs th[aria-sort=ascending]")
    assert values() == sorted(values())
    head.locator("[tabindex]").press("Enter")
    page.wait_for_selector("#runs th[aria-sort=descending]")
    assert values() == sorted(values(), reverse=True)
    want = [load_run(many / str(i)).result["delta"]["acc"]["mean"] for i in range(6)]
    assert sorted(values()) == pytest.approx(sorted(want), abs=1e-4)

    def plotted():
        return page.evaluate("document.getElementById('explore-plot').data.flatMap(trace => trace.x).length")

    assert plotted() == 6
    page.fill("#runs .dt-search input", "last4")
    page.wait_for_function("document.querySelectorAll('#runs-table tbody tr').length === 2")
    assert plotted() == 2, "the plot shows what the filter leaves"


def test_a_run_whose_edit_reads_no_detector_is_in_the_plot_from_the_first(many, tmp_path, look, itae_):
    """Along layers, which it has none of, it would be nowhere."""
    sweep = shutil.copytree(many, tmp_path / "mixed")
    file = sweep / "5" / "result.json"
    told = json.loads(file.read_text())
    told["settings"]["edit"] = {"_target_": "itae.augment.Augment", "views": 2}
    file.write_text(json.dumps(told))
    assert itae_("report", str(sweep), "--out", "mixed.html")[0] == 0
    page = look(Path("mixed.html").absolute())
    page.wait_for_selector("#explore-plot .points path")
    chosen = [page.input_value(f"#explore-form select[name={name}]") for name in ("x", "colour")]
    assert chosen == ["edit", "detector"]
    assert page.evaluate("document.getElementById('explore-plot').data.flatMap(trace => trace.x)").count("augment") == 1


def test_a_sweep_can_be_explored_and_its_best_run_is_shown_whole(many, look):
    page = look(many / "report.html")
    page.wait_for_selector("#explore-plot .points path")
    assert page.locator("#explore-form select[name=x] option").all_inner_texts()[:2] == ["detector.k", "layers"]
    page.select_option("#explore-form select[name=x]", "artifact_rate")
    page.select_option("#explore-form select[name=y]", "edited.silhouette")
    plot = "document.getElementById('explore-plot')"
    assert page.evaluate(f"{plot}._fullLayout.xaxis.title.text") == "artifact_rate"
    results = [load_run(many / str(i)).result for i in range(6)]
    want = [result["edited"]["silhouette"]["mean"] for result in results]
    assert sorted(page.evaluate(f"{plot}.data.flatMap(trace => trace.y)")) == pytest.approx(sorted(want))
    best = want.index(max(want))
    assert page.locator("tr.winner td").last.inner_text() == str(best)
    assert f"/{best}" in page.text_content("#run dl.details")
    assert "needs no labels" in page.text_content("#summary")
    assert "proxy, the best of 6 by silhouette" in page.text_content("#run")
    chosen = results[best]["settings"]
    assert page.text_content("#run h2").endswith(f"k={chosen['detector']['k']}, layers={chosen['layers']}")
    names = page.eval_on_selector_all("#figures figure", "all => all.map(one => one.className)")
    assert names == ["norms", "signal", "layers", "artifacts", "clusters"], "a sweep's job had one only"
    assert page.locator("#sweep-figures figure").count() >= 2


def test_an_oracle_is_called_one(many, itae_):
    status, out, err = itae_("report", str(many), "--best", "acc", "--out", "acc.html")
    assert (status, err) == (0, "")
    assert "an oracle</b>: chosen with labels" in Path("acc.html").read_text()
    assert "<b>oracle</b>, the best of 6 by acc" in Path("acc.html").read_text()
    assert re.match(r"page       acc\.html \(\d+\.\d MB\)\n$", out)


def test_sweeps_and_searches_end_with_one_page_and_say_how_to_run_again(itae_, tmp_path):
    few = ["dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1"]
    for folder, words in {
        "sweep": ["--config-dir", ".", "-m", "layers=last,all", "hydra.sweep.dir=sweep", *few],
        "search": ["-m", "detector.k=interval(2,5)", "detector.rule=mad", "hydra/sweeper=optuna",
                   "hydra.sweeper.n_trials=3", "hydra.sweeper.batch=2", "hydra.sweep.dir=search", *few],
    }.items():  # fmt: skip
        status, out, err = itae_(*words)
        assert status == 0, err
        assert out.count("page       ") == 1, "not one for each batch"
        assert f"page       {tmp_path / folder / 'report.html'}" in out
        assert not list((tmp_path / folder).glob("*/report.html"))
        text = (tmp_path / folder / "report.html").read_text()
        configs = f"--config-dir {tmp_path} " if folder == "sweep" else ""
        assert f"cd {tmp_path}\nitae {configs}-m " in text
        assert "dataset.limit=60" in text
    status, out, err = itae_("-m", "layers=last,all", "hydra.sweep.dir=none", "runtime.report=false", *few)
    assert status == 0, err
    assert "page" not in out
    assert not (tmp_path / "none" / "report.html").exists()


@pytest.fixture
def hostile(tmp_path):
    """Return the folder of a run on pictures whose names and classes are markup."""
    draw = np.random.default_rng(0)
    for name in (HOSTILE, "<b>b & c</b>"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(8):
            pixels = draw.integers(0, 255, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i} {HOSTILE}.png")
    words = ["dataset=imagefolder", f"dataset.root='{tmp_path / 'pictures'}'", "clusterer.seeds=2", "tracker=none",
             "layers=all", "detector.rule=quantile"]  # fmt: skip
    run(compose(*words, f"paths.cache={tmp_path / 'cache'}"), tmp_path / "runs" / "0")
    return tmp_path / "runs"


def test_names_from_the_data_stay_text(hostile, look):
    page = look(hostile / "0" / "report.html")
    page.click("#cluster .tile >> nth=0")
    assert HOSTILE in page.text_content("#image-title") or "b & c" in page.text_content("#image-title")
    assert HOSTILE in page.text_content("#cluster-list")
    page.wait_for_selector("#points-plot .points path")
    assert page.locator("img[src=x]").count() == 0
    assert "owned" not in page.title()


def test_names_from_results_stay_text(hostile, look):
    """A sweep's results, with markup in the error, the words and the settings."""
    for i in range(1, 4):
        result = load_run(hostile / "0").result
        result["settings"]["layers"] = f"{SCRIPT}{i}"
        result["settings"]["detector"][HOSTILE] = HOSTILE
        result["notes"] = [SCRIPT]
        result["started"]["overrides"] = [SCRIPT]
        result |= {"embeddings": {side: f"../0/{path}" for side, path in result["embeddings"].items()}}
        if i == 3:
            result |= {"status": "failed", "error": SCRIPT}
        write_result(hostile / HOSTILE / str(i), result)
        shutil.copy(hostile / "0" / "assignments.csv", hostile / HOSTILE / str(i))
    page = look(write_page([hostile]))
    page.wait_for_selector("#runs-table tbody tr")
    page.wait_for_selector("#explore-plot .points path")
    assert SCRIPT in page.text_content("#summary")
    assert page.locator("img[src=x]").count() == 0
    assert "owned" not in page.title()
    assert "{{ 7 * 7 }}" in page.text_content("#summary"), "no template in a template"


def test_photos_without_labels_end_with_a_gallery_a_list_and_folders_of_links(itae_, tmp_path, look):
    draw = np.random.default_rng(0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(40):
        shade = np.full((60, 80, 3), 25 * (i % 8), np.uint8) + draw.integers(0, 25, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(shade).save(photos / f"IMG {i:02d}.jpg")
    status, out, err = itae_(
        "dataset=imagefolder", f"dataset.root={photos}", "clusterer.k=5", "runtime.links=true", "hydra.run.dir=run"
    )
    assert (status, err) == (0, "")
    assert out.endswith(f"page       {tmp_path / 'run' / 'report.html'}\n")
    listed = [line.split(",") for line in Path("run/assignments.csv").read_text().splitlines()]
    distances = ["baseline_distance", "edited_distance"]
    assert listed[0] == ["id", "baseline", "edited", "moved", *distances]
    links = {link.name: link for link in Path("run/clusters").glob("*/*")}
    assert {name: link.parent.name for name, link in links.items()} == {row[0]: row[2] for row in listed[1:]}
    assert all(link.resolve() == photos / name for name, link in links.items())
    page = look(tmp_path / "run" / "report.html")
    assert page.locator("#cluster-list button").count() == 5
    assert page.locator("#run table.scores tbody th").all_inner_texts() == ["inertia", "silhouette"]
    assert page.locator("#points-form option").first.inner_text() == "cluster, edited"
    assert page.locator("#cluster .tile img").first.evaluate("image => image.naturalWidth") == 80
    page.click("#cluster .tile >> nth=0")
    assert page.text_content("#image-title").startswith("IMG ")
    assert "class" not in page.locator("dialog dt").all_inner_texts()


def test_a_failed_run_has_a_page_that_says_why(tmp_path, look):
    with pytest.raises(itae.UserError):
        run(compose("dataset.limit=5", "clusterer.k=9", "tracker=none", f"paths.cache={tmp_path}"), tmp_path / "run")
    page = look(write_page([tmp_path / "run"]))
    assert "clusterer.k=9" in page.text_content("#run")
    assert "limit: 5" in page.text_content("#settings")
    assert page.locator("#clusters").count() == 0


@pytest.mark.parametrize(("count", "k"), [(1, 1), (2, 1), (2, 2), (5, 5)])
def test_tiny_sets_have_a_page(itae_, tmp_path, look, count, k):
    """One image, equal ones, one cluster, a cluster for each: no silhouette, no neighbours, no doubt."""
    (tmp_path / "few").mkdir()
    for i in range(count):
        Image.fromarray(np.full((9, 9, 3), 40 * (i // 2), np.uint8)).save(tmp_path / "few" / f"{i}.png")
    status, out, err = itae_("dataset=imagefolder", "dataset.root=few", f"clusterer.k={k}", "hydra.run.dir=run",
                             "clusterer.seeds=2")  # fmt: skip
    assert status == 0
    assert "report.html" in out, err
    page = look(tmp_path / "run" / "report.html")
    assert page.locator("#cluster-list button").count() >= 1
    if k == 1:
        assert "none" in page.locator("#run table.scores tbody tr").last.inner_text()


def test_of_several_backbones_each_best_run_is_named_and_counted_apart(tmp_path, look):
    shared = ["dataset.limit=60", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none", "runtime.report=false",
              f"paths.cache={tmp_path / 'cache'}", "detector.side=high"]  # fmt: skip
    first = tmp_path / "sweep" / "0"
    run(compose(*shared, "detector.k=3.0"), first)
    for i in range(1, 12):  # as if each had been run
        shutil.copytree(first, tmp_path / "sweep" / str(i))
        result = load_run(first).result
        result["settings"]["detector"]["k"] = 3 + i / 10
        result["edited"]["silhouette"]["mean"] -= i / 1000
        write_result(tmp_path / "sweep" / str(i), result)
    run(compose(*shared, "backbone=digits_vit_artifacts"), tmp_path / "sweep" / "12")
    page = look(write_page([tmp_path / "sweep"]))
    winners = page.locator("tr.winner").all_inner_texts()
    assert len(winners) == 2
    assert sum("digits_vit_artifacts" in text for text in winners) == 1
    assert "the best of 12 by silhouette" in page.text_content("#run")
    assert "13 different settings tried, in 2 combinations" in page.text_content("#summary")


def test_a_new_run_in_a_folder_takes_the_old_page_away(itae_, tmp_path):
    assert itae_("dataset.limit=60", "clusterer.seeds=2", "hydra.run.dir=run")[0] == 0
    assert (tmp_path / "run" / "report.html").exists()
    assert itae_("dataset.limit=5", "clusterer.k=9", "hydra.run.dir=run")[0] == 2
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_sweep_in_which_all_failed_is_a_table_of_errors(tmp_path, look):
    for i in range(2):
        write_result(tmp_path / "sweep" / str(i), {"status": "failed", "error": f"no {i}", "settings": {"seed": i}})
    page = look(write_page([tmp_path / "sweep"]))
    page.wait_for_selector("#runs-table tbody tr")
    assert page.locator("#runs-table tbody tr").count() == 2
    assert "none is called best" in page.text_content("#summary")
    assert "no 1" in page.text_content("#summary")
    assert page.locator("#explore").count() == page.locator("#run").count() == 0


def test_what_is_gone_is_said_and_the_rest_is_there(one, tmp_path, look):
    run_folder = tmp_path / "run"
    shutil.copytree(one, run_folder)
    result = load_run(one).result
    absolute = {side: str((one / path).resolve()) for side, path in result["embeddings"].items()}
    fewer = result["settings"]["dataset"] | {"limit": 399}
    write_result(run_folder, result | {"embeddings": absolute, "settings": result["settings"] | {"dataset": fewer}})
    page = look(write_page([run_folder]))
    assert "the images of digits are not the ones that the run saw" in page.text_content("#run")
    assert page.locator(".tile").first.inner_text().startswith("all/"), "names stand for pictures"
    write_result(run_folder, result)  # whose embeddings would lie elsewhere
    page = look(write_page([run_folder]))
    assert "There is no gallery" in page.text_content("#run")
    assert page.locator("figure img").count() >= 5
    assert page.locator("#run table.scores tbody tr").count() == 5


def test_a_full_gallery_of_noise_stays_below_15_megabytes(tmp_path, monkeypatch):
    """2,000 pictures that no codec makes small, of the 2,100 there are."""
    (tmp_path / "noise.py").write_text(
        "import numpy as np\n"
        "from dataclasses import dataclass\n"
        "from itae.images.datasets import Dataset\n"
        "from itae.images.formats import Listing, numbered\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Noise(Dataset):\n"
        "    name: str = 'noise'\n"
        "    split: str = 'all'\n"
        "    def _find(self):\n"
        "        pixels = np.random.default_rng(0).integers(0, 256, (2100, 100, 120, 3), dtype=np.uint8)\n"
        "        return Listing(numbered('all', 2100), list(pixels), np.arange(2100) % 7, [str(i) for i in range(7)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["dataset._target_=noise.Noise", "clusterer.seeds=2", "clusterer.restarts=1", "tracker=none"]
    run(compose(*words, f"paths.cache={tmp_path / 'cache'}"), tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    data = re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1]
    gallery = json.loads(data)["gallery"]
    assert 0.9 * MOST < len(gallery["thumbnails"]) == len(gallery["ids"]) <= MOST
    assert page.stat().st_size < 15e6
    for side in ("before", "after"):
        clusters = gallery[side]["clusters"]
        assert all(each["central"] and each["doubtful"] for each in clusters)
        assert sum(each["size"] for each in clusters) == 2100
    sys.modules.pop("noise", None)


def test_mistakes_are_one_sentence(one, tmp_path, itae_):
    (tmp_path / "empty").mkdir()
    write_result(tmp_path / "broken", load_run(one).result | {"baseline": {}})
    for words, said in (
        (["nowhere"], "nowhere: there is no such file or folder"),
        ([str(one), "--best", "acc"], "there is one run only"),
        ([str(one), "--images", "0"], "--images=0"),
        ([str(one), "--out", "/proc/x/page.html"], "can't be written"),
        ([str(tmp_path / "broken")], "is damaged, or of another version"),
        ([str(tmp_path / "empty")], "No result.json was found"),
    ):
        status, out, err = itae_("report", *words)
        assert (status, out) == (2, "")
        assert err.startswith("itae: ")
        assert err.count("\n") == 1
        assert said in err
