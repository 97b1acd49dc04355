"""The setup and health views, in a real browser, before the real daemon."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.page_browser.running import Device, device
from tests.page_browser.touch import screen_of, swipe
from tests.page_browser.visiting import LANGUAGES, Visit


@pytest.fixture
def own(tmp_path: Path, demonstration: Path, pictures: dict[str, np.ndarray]) -> Iterator[Device]:
    """A device of the test's own, for what changes its settings."""
    with device(tmp_path / "own", demonstration, first=pictures["benign"]) as one:
        yield one


def test_a_region_is_drawn_with_a_finger_and_then_judged(
    window: Callable[..., Visit], tmp_path: Path, demonstration: Path, pictures: dict[str, np.ndarray]
) -> None:
    regions = tmp_path / "screen" / "regions.json"
    screen, region = screen_of(pictures["benign"])
    with device(tmp_path / "screen", demonstration, region="auto", first=screen) as machine:
        one = window(machine)
        one.come_in()
        expect(one.page.locator(".verdict-word")).to_have_text(one.text("signal.no region"))
        one.go("setup/region")
        one.page.wait_for_function("() => document.getElementById('region-overlay').getAttribute('viewBox')")
        box = one.page.locator("#region-overlay").bounding_box()
        scale = box["width"] / region.frame_width
        ends = ((region.x, region.y), (region.right, region.bottom))
        swipe(one.page, *((box["x"] + x * scale, box["y"] + y * scale) for x, y in ends))
        expect(one.page.locator("#region-words")).to_contain_text("not kept yet")
        one.page.click("#region-keep")
        expect(one.page.locator("#outcome")).to_have_text(one.text("region.kept"))
        drawn = json.loads(regions.read_text())["regions"][0]
        assert drawn["state"] == "set by hand"
        size, _, frame = drawn["region"].partition("@")
        assert frame == f"{region.frame_width}x{region.frame_height}"
        kept = [int(part) for part in size.replace("x", "+").split("+")]
        assert np.allclose(
            kept, [region.width, region.height, region.x, region.y], atol=2 / scale + 2
        )  # a finger meets pixels of the window
        one.go("main")
        one.page.wait_for_function(
            "() => !['nothing', undefined].includes(document.getElementById('verdict').dataset.label)"
        )
        expect(one.page.locator("#signal")).to_contain_text(one.text("signal.ok"))


def test_arrow_keys_draw_a_region_too(technician: Visit) -> None:
    technician.go("setup/region")
    overlay = technician.page.locator("#region-overlay")
    technician.page.wait_for_function("() => document.getElementById('region-overlay').getAttribute('viewBox')")
    overlay.focus()
    overlay.press("ArrowRight")
    first = [int(part) for part in overlay.get_attribute("data-box").split(",")]
    overlay.press("ArrowDown")
    overlay.press("Shift+ArrowRight")
    assert [int(part) for part in overlay.get_attribute("data-box").split(",")] == [
        first[0],
        first[1] + 8,
        first[2] + 8,
        first[3],
    ]
    expect(technician.page.locator("#region-keep")).to_be_enabled()


def test_brightness_is_told_in_a_sentence(technician: Visit, running: Device, pictures: dict[str, np.ndarray]) -> None:
    technician.go("setup/brightness")
    words = technician.page.locator("#brightness-words")
    expect(words).to_have_text(technician.text("brightness.good"))
    white = cv2.convertScaleAbs(pictures["benign"], alpha=2.5)
    running.show(white)
    expect(words).to_have_text(technician.text("brightness.too-bright"))
    dark = cv2.convertScaleAbs(pictures["benign"], alpha=0.3)
    running.show(dark)
    expect(words).to_have_text(technician.text("brightness.too-dark"))
    running.lose_signal()
    expect(words).to_have_text(technician.text("brightness.no-picture"))
    running.show(pictures["benign"])


def test_storage_is_kept_and_the_daemon_takes_it_up(window: Callable[..., Visit], own: Device) -> None:
    one = window(own)
    one.come_in()
    one.go("setup/storage")
    one.page.select_option("#storage-age", "30 days")
    since = len(own.lines)
    one.page.click("#storage-keep")
    expect(one.page.locator("#outcome")).to_have_text(one.text("restarts"))
    own.wait_for("signal: waiting -> ok", since)
    own.wait_for("page: http://", since)  # which begins anew beside it in a trial
    assert 'max_age = "30 days"' in (own.folder / "page" / "settings.toml").read_text()
    one.page.reload()
    expect(one.page.locator("#storage-age")).to_have_value("30 days")
    one.go("main")
    one.verdict("benign")


def test_a_wrong_value_is_refused_in_the_devices_own_words(window: Callable[..., Visit], own: Device) -> None:
    one = window(own)
    one.come_in()
    one.go("setup/settings")
    one.page.locator("summary", has_text="judgement").click()
    field = one.page.locator("[id='key-judgement.half_life']")
    field.fill("soon")
    one.page.get_by_role("button", name="Keep: judgement.half_life").click()
    expect(one.page.locator("#outcome")).to_contain_text("judgement.half_life")
    expect(one.page.locator("#outcome")).to_have_attribute("data-kind", "bad")
    assert not (own.folder / "page" / "settings.toml").exists()


def test_the_source_is_named_with_a_live_preview(technician: Visit, running: Device) -> None:
    technician.go("setup/source")
    page = technician.page
    expect(page.locator(".source[data-current]")).to_contain_text(technician.text("source-kind.folder"))
    page.wait_for_function("() => Number(document.querySelector('.preview canvas').dataset.drawn) > 2")
    assert page.locator(".preview .live").bounding_box()["height"] > 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_chosen_for_the_device(window: Callable[..., Visit], own: Device, language: str) -> None:
    one = window(own, language="fr" if language == "en" else "en")
    one.come_in()
    one.go("setup/language")
    one.page.click(f"#language-{language}")
    expect(one.page.locator("h1")).to_have_text(one.text("view.setup", language))
    expect(one.page.locator("html")).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")
    one.go("main")
    one.verdict("benign")
    expect(one.page.locator(".verdict-word")).to_have_text(one.text("verdict.benign", language))
    if language == "ar":
        live, side = (one.page.locator(name).bounding_box()["x"] for name in ("#live", "#verdict"))
        assert live > side  # the picture leads, from the right
    assert one.page.evaluate("() => fetch('/api/session').then(a => a.json()).then(a => a.language)") == language


def test_the_pin_is_changed_with_the_pads_own_keys(window: Callable[..., Visit], own: Device) -> None:
    one = window(own)
    one.come_in()
    one.go("setup/pin")
    for field, digits in (("#pin-old", "2468"), ("#pin-new", "8642"), ("#pin-again", "8642")):
        one.page.click(field)
        for digit in digits:
            one.page.locator(".small-keys").get_by_role("button", name=digit, exact=True).click()
    one.page.click("#pin-keep")
    expect(one.page.locator("#outcome")).to_have_text(one.text("pin.changed"))
    again = window(own)
    again.page.goto(again.url)
    again.page.wait_for_selector("#pin")
    again.press("2468")
    expect(again.page.locator("#pin-said")).to_contain_text("Wrong PIN")
    again.press("8642")
    again.page.wait_for_selector("#live")


def test_the_clock_is_shown_and_a_missing_helper_is_said(technician: Visit) -> None:
    technician.go("setup/clock")
    expect(technician.page.locator("#clock-now")).to_contain_text(":")
    technician.page.get_by_role("button", name="Year: more").click()
    technician.page.click("#clock-keep")
    expect(technician.page.locator("#outcome")).to_have_attribute("data-kind", "bad")  # nobody here may set a clock


def test_starting_again_asks_first(technician: Visit) -> None:
    technician.go("setup/power")
    technician.page.click("#reboot")
    expect(technician.page.locator("dialog")).to_have_text(
        technician.text("power.reboot-sure") + technician.text("cancel") + technician.text("power.reboot")
    )
    technician.page.click("#dialog-no")
    expect(technician.page.locator("dialog")).to_have_count(0)
    expect(technician.page.locator("#outcome")).to_have_text("")


def test_an_update_is_offered_and_a_file_that_is_none_is_refused(technician: Visit, tmp_path: Path) -> None:
    """The versions are made up, for here is no package below; what is refused is refused by the real server."""
    technician.go("setup/power")
    expect(technician.page.locator("#update")).to_contain_text(technician.text("update.by-hand"))
    now = {"slot": "slot-0.2.0-aaaaaaaaaaaa", "version": "0.2.0", "state": "trial", "why": None}
    before = {"slot": None, "version": "0.1.0", "state": "packaged", "why": None}
    said = {"ok": True, "available": True, "running": now, "current": now, "previous": before}
    said["stick"] = {"file": "busi-kd.update", "version": "0.3.0", "signed_by": "busi-release.pub"}
    technician.page.route(
        "**/api/update", lambda route: route.fulfill(json=said) if route.request.method == "GET" else route.continue_()
    )
    technician.go("setup/model")
    technician.go("setup/power")
    expect(technician.page.locator("#update")).to_contain_text(technician.text("update.trial"))
    expect(technician.page.locator("#update-stick")).to_have_text(technician.text("update.from-stick", version="0.3.0"))
    expect(technician.page.locator("#update-back")).to_be_enabled()
    bad = tmp_path / "bad.update"
    bad.write_bytes(b"MZ")
    technician.page.set_input_files("#update-file", bad)
    technician.page.click("#update-send")
    technician.page.click("#dialog-yes")
    expect(technician.page.locator("#update-outcome")).to_contain_text("no whole update of busi-kd")
    expect(technician.page.locator("#update-outcome")).to_have_attribute("data-kind", "bad")


def test_the_model_is_named_and_a_file_that_is_none_is_refused(technician: Visit, tmp_path: Path) -> None:
    technician.go("setup/model")
    expect(technician.page.locator("#models")).to_contain_text(technician.text("model.shipped"))
    bad = tmp_path / "model.zip"
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("bundle.json", "{}")
    technician.page.set_input_files("#model-file", bad)
    technician.page.click("#model-send")
    expect(technician.page.locator("#outcome")).to_have_attribute("data-kind", "bad")


def test_the_support_file_holds_no_picture(technician: Visit) -> None:
    technician.go("setup/support")
    with technician.page.expect_download() as got:
        technician.page.click("#support-download")
    with zipfile.ZipFile(got.value.path()) as archive:
        names = archive.namelist()
        assert "doctor.json" in names
        assert not any(name.endswith((".png", ".jpg", ".dcm")) for name in names)
        assert not any(archive.read(name)[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0") for name in names)


def test_health_shows_findings_plots_and_the_journal(technician: Visit) -> None:
    technician.go("health")
    page = technician.page
    page.wait_for_selector("#checks .check[data-state]")
    states = page.eval_on_selector_all("#checks .check", "all => all.map(one => one.dataset.state)")
    order = ["problem", "unknown", "note", "ok"]
    assert [order.index(state) for state in states] == sorted(order.index(state) for state in states)
    expect(page.locator("#doctor-summary")).not_to_be_empty()
    page.wait_for_selector("#plots figure")
    assert page.locator("#plots figure").count() == 5
    expect(page.locator("#journal")).not_to_be_empty()
