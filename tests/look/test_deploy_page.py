"""The page of one network on devices: what it says, and how it looks from the disk with the network off."""

from __future__ import annotations

import copy
import re
import struct
import zlib

import pytest
from deploy_results import GAINS, drawn, result_of

from itae.base.errors import UserError
from itae.look.figures import save
from itae.look.page import write_page
from itae.look.page.compared_part import compared_part
from itae.look.page.deploy_part import deploy_part
from itae.look.page.portable_part import facts_told, linked, stages
from itae.portable.deploy.figures import FIGURES
from itae.portable.written import write
from itae.results.run import Run

HOSTILE = "<img src=x onerror=document.title='owned'>"
browser = [pytest.mark.slow, pytest.mark.xdist_group("chromium")]


def page_of(folder, result):
    write(folder, result)
    return write_page([folder]).read_text()


def rows(html):
    """Return the words of each row of the first table."""
    table = html[html.index("<tbody>") : html.index("</tbody>")]
    return [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in re.findall("<tr.*?</tr>", table)]


def test_the_table_has_floor_ceiling_and_every_device(tmp_path):
    html = page_of(tmp_path, result_of(tmp_path))
    assert "What does a network restore? unet on 5 devices" in html
    told = rows(html)
    assert [row.split()[0] for row in told] == ["blurred", "Wiener,", "torch,", *GAINS]
    assert "27.70 27.45 to 27.95" in told[0]
    assert "29.90 29.65 to 30.15 +2.20 +1.95 to +2.45" in told[1]
    assert told[3].startswith("torch kept 29.31 29.06 to 29.56 +1.61 +1.36 to +1.86 0.800")
    assert told[3].endswith("132 of 100 10.5 0.09")
    assert "~ 11.5" in told[4]
    assert told[6].replace("\u2013", "-") == "ncnn refused" + 7 * " -"
    for sentence in ("a parity of 44.1 dB, and at least 50 are needed.", "no operator Erf", "below the blurred input"):
        assert re.search(f"<dd>[^<]*{sentence}", html)
    assert "2 of 5 devices are kept. These restore +1.61 dB above the blurred input" in html
    assert "on photographs of the test, in 10.5 ms." in html, "an unsteady time has no say"
    assert "0.0215 GMAC, 23,276 parameters" in html


def test_it_says_whose_photographs_they_are_and_what_blurred_them(tmp_path):
    html = page_of(tmp_path, result_of(tmp_path))
    assert "Shake with length: 2 12" in html
    assert '<a href="https://creativecommons.org/publicdomain/zero/1.0/" rel="noopener noreferrer">' in html
    assert "Processors' runtimes on this machine stand in for phones" in html.replace("&#39;", "'")
    assert "The blur is made, not found" in html
    read = page_of(tmp_path, result_of(tmp_path) | {"data": {"blur": None, "photographs": {"test": [{"name": "a"}]}}})
    assert "not made here: the pairs were read as they are" in read
    assert "nobody told whose it is" in read


def test_it_says_what_the_network_is_and_who_taught_it(tmp_path):
    result = result_of(tmp_path)
    html = page_of(tmp_path, result)
    assert "<dd>class: UNet, channels: 8</dd>" in html
    assert "<dt>then swap</dt><dd>up: nearest</dd>" in html
    assert f"<dd>net.safetensors {'cd' * 32}</dd>" in html
    assert "its teacher" not in html
    taught = result | {"training": result["training"] | {"taught": True}}
    assert "<dt>its teacher</dt><dd>a network that this result doesn&#39;t name</dd>" in page_of(tmp_path, taught)
    html = page_of(tmp_path, taught | {"teacher": {"name": "large", "class": "UNet", "channels": 32}})
    assert "<dt>its teacher</dt><dd>name: large, class: UNet, channels: 32</dd>" in html


def test_each_picture_has_words_and_each_slider_a_label(tmp_path):
    html = page_of(tmp_path, drawn(result_of(tmp_path), FIGURES, tmp_path, save))
    assert len(re.findall("<img", html)) == len(re.findall('<img[^>]* alt="[^"]+"', html)) == 2 * 4 + 3
    labelled = re.findall(r"<label>([^<]+)<span[^>]*>([^<]+)</span><input type=\"range\"", html)
    assert labelled == [("blurred left, restored right", f" of {name}") for name in ("fig", "wine")]
    assert len(re.findall('type="checkbox"', html)) == 2


def test_nothing_of_a_stranger_s_result_is_markup_or_a_link(tmp_path):
    result = result_of(tmp_path, notes=[HOSTILE], statistic=HOSTILE, not_run={HOSTILE: HOSTILE})
    result["devices"] = {HOSTILE: result["devices"]["torch"] | {HOSTILE: HOSTILE}}
    result["pictures"][0] |= {"photograph": HOSTILE, "device": HOSTILE}
    bad = {"name": HOSTILE, "sha256": HOSTILE, "credit": f"javascript://x.org/%0aalert(1) data:text/html,x {HOSTILE}"}
    result["data"]["photographs"][HOSTILE] = [bad]
    result["data"]["source"] = {"class": HOSTILE}
    result["net"] |= {"name": HOSTILE, "lineage": [{"step": HOSTILE}]}
    html = page_of(tmp_path, result)
    assert HOSTILE not in html
    assert "<img src=x" not in html
    assert "onerror=document" in html, "it is told, as text"
    assert set(re.findall(r'href="([^"#]*):', html)) == {"https"}


def test_what_is_missing_is_left_out(tmp_path):
    whole = result_of(tmp_path)
    bare = copy.deepcopy(whole)
    for one in (*bare["devices"].values(), *bare["rows"], *bare["pictures"]):
        one.clear()
    assert "on 5 devices" in page_of(tmp_path, bare)
    assert "on 0 devices" in page_of(tmp_path, {name: whole[name] for name in ("status", "kind")})
    for name in ("net", "data", "quality", "pictures", "rows", "devices", "timing"):
        page_of(tmp_path, {key: value for key, value in whole.items() if key != name})


def test_what_is_missing_in_a_part_is_left_out_too(tmp_path):
    whole = result_of(tmp_path)
    for name in ("net", "data", "training", "quality", "clock", "timing"):
        for inside in whole[name]:
            deploy_part(Run(tmp_path, whole | {name: {key: one for key, one in whole[name].items() if key != inside}}))
            deploy_part(Run(tmp_path, whole | {name: whole[name] | {inside: None}}))


def test_of_a_run_that_failed_it_says_why(tmp_path):
    failed = {"status": "failed", "kind": "deploy", "error": f"No device: {HOSTILE}", "settings": {}, "versions": {}}
    html = page_of(tmp_path, failed)
    assert "A run that ended with status failed" in html
    assert "No device: &lt;img" in html


def test_what_is_no_such_result_is_told_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match="is damaged, or of another version of itae"):
        page_of(tmp_path, result_of(tmp_path) | {"devices": ["torch"]})


def bomb(file, side):
    """Write a PNG of a great many pixels in a few bytes."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(b""), b"IEND": b""}
    packed = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
              for name, data in chunks.items()]  # fmt: skip
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


def test_only_pictures_in_the_run_s_own_folder_are_shown(tmp_path):
    run, other = tmp_path / "run", tmp_path / "pictures"
    told = result_of(run)["pictures"]
    result_of(tmp_path)  # the same names, one folder above
    found = compared_part(told, run)
    assert [one["name"] for one in found["compared"]] == ["fig", "wine"]
    assert [layer["what"] for layer in found["compared"][0]["layers"]] == ["blurred", "restored", "sharp"]
    assert len(found["psfs"]) == 2
    assert found["left_out"] == 0
    (run / "pictures" / "0_sharp.png").unlink()
    (run / "pictures" / "0_sharp.png").symlink_to(other / "0_sharp.png")
    bomb(run / "pictures" / "0_restored.png", 50_000)
    bomb(run / "pictures" / "0_psf.png", 5_000)
    (run / "pictures" / "1_blurred.png").write_text("<svg onload=alert(1)>")
    told[1]["files"] |= {"sharp": "../pictures/1_sharp.png", "psf": ["pictures/1_psf.png"]}
    found = compared_part(told, run)
    assert found == {"compared": [], "psfs": [], "left_out": 2}


def test_pictures_beyond_the_budget_are_counted_and_not_shown(tmp_path):
    told = result_of(tmp_path)["pictures"]
    one = sum((tmp_path / file).stat().st_size for file in told[0]["files"].values())
    found = compared_part(told, tmp_path, budget=one + 10)
    assert len(found["compared"]) == 1
    assert found["left_out"] == 1


def test_words_of_values():
    assert facts_told({"a": 0, "b": None, "c": True, "d": False, "e": [1, 0.25], "f": ""}) == "a: 0, c, e: 1 0.25"
    assert linked("see https://x.org/a). no ftp://y.org") == [
        ("see ", None), ("https://x.org/a", "https://x.org/a"), ("). no ftp://y.org", None)
    ]  # fmt: skip
    assert linked("") == []
    assert stages({"total_s": 3.0, "odd_s": 1.0, "train_s": 2.0, "peak_rss_mb": 1226.4}) == [
        ("training", "2.0 s"), ("odd", "1.0 s"), ("all", "3.0 s"), ("most memory", "1,226 MB")
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    result = drawn(result_of(folder), FIGURES, folder, save)
    write(folder, result | {"notes": [HOSTILE]})
    write_page([folder])
    return folder


class TestInABrowser:
    pytestmark = browser

    def test_the_slider_says_how_much_is_blurred(self, run, look):
        page = look(run / "report.html")
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        first = page.locator("figure.compare").first
        slider = first.get_by_role("slider", name="blurred left, restored right of fig")
        slider.focus()
        page.keyboard.press("End")
        assert slider.get_attribute("aria-valuetext") == "100 % of the width blurred"
        clip = "one => getComputedStyle(one).clipPath"
        assert first.locator(".restored").evaluate(clip) == "inset(0px 0px 0px 100%)"
        page.keyboard.press("Home")
        assert first.locator(".restored").evaluate(clip) == "inset(0px 0px 0px 0%)"
        assert not first.locator(".sharp").is_visible()
        first.get_by_role("checkbox").check()
        assert first.locator(".sharp").is_visible()
        assert not first.locator(".restored").is_visible()

    def test_a_pointer_moves_it_too(self, run, look):
        page = look(run / "report.html")
        stack = page.locator("figure.compare .stack").first
        box = stack.bounding_box()
        stack.click(position={"x": box["width"] / 4, "y": 5})
        assert page.locator("figure.compare input[type=range]").first.input_value() == "25"

    def test_without_scripts_all_three_lie_side_by_side(self, run, look):
        page = look(run / "report.html", scripts=False)
        first = page.locator("figure.compare").first
        boxes = [first.locator(f".{what}").bounding_box() for what in ("blurred", "restored", "sharp")]
        assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
        assert boxes[1]["x"] + boxes[1]["width"] <= boxes[2]["x"]
        assert not first.get_by_role("slider").is_visible()

    @pytest.mark.parametrize("width", [1280, 400])
    def test_the_page_itself_does_not_scroll_sideways(self, run, look, width):
        page = look(run / "report.html", width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    def test_words_can_be_read_in_both_themes(self, run, look):
        for scheme in ("light", "dark"):
            page = look(run / "report.html", scheme=scheme)
            colours = page.evaluate(
                "['.not-kept td', 'tbody td', 'main'].map(one => getComputedStyle(document.querySelector(one)).color)"
            )
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert len({colours[0], colours[1], ground}) == 3
