"""The outline in a real browser: over the lesion at each size, in each reading direction, and away when it must be."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tiny_bundle import lesion_picture, write_mask_bundles

from device.bundle import sign_bundle
from device.shipped import FOLDER
from device.signing import new_key
from tests.page_browser.running import Device, demonstration_bundle, device, phantoms_by_verdict
from tests.page_browser.visiting import Visit

BOX = (0.25, 0.125, 0.5, 0.5)
MOVED = (0.5, 0.5, 0.75, 0.875)
SIZE = (240, 400)  # wider than the place on the page, so that bars stand above and below
NEAR = 3 / 64  # three quarters of a cell of the model's mask
# Sides of the drawn line in shares of the picture as it is shown, bars left out.
SIDES = """() => {
  const canvas = document.querySelector('.live-canvas'), box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
  const [width, height] = [canvas.width * scale, canvas.height * scale];
  const [left, top] = [box.left + (box.width - width) / 2, box.top + (box.height - height) / 2];
  const line = document.querySelector('.live .outline-line').getBoundingClientRect();
  const ends = [line.left - left, line.top - top, line.right - left, line.bottom - top];
  return ends.map((end, n) => end / (n % 2 ? height : width));
}"""
DRAWN = "() => document.querySelector('.live .outline-line').getAttribute('d') !== ''"
GONE = "() => document.querySelector('.live .outline-line').getAttribute('d') === ''"


@pytest.fixture(scope="module")
def outlining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A device whose model outlines, before a lesion."""
    folder = tmp_path_factory.mktemp("outlining")
    bundle = write_mask_bundles(folder / "bundles") / "int8-full"
    (folder / "bundles" / "keys").mkdir()
    new_key(folder / "bundles" / "keys" / "own")
    sign_bundle(bundle, folder / "bundles" / "keys" / "own")
    with device(folder / "device", bundle, first=lesion_picture("benign", BOX, SIZE)) as one:
        yield one


@pytest.fixture
def before(window: Callable[..., Visit], outlining: Device) -> Visit:
    """A technician before a benign lesion at BOX."""
    outlining.show(lesion_picture("benign", BOX, SIZE))
    one = window(outlining)
    one.come_in()
    one.verdict("benign")
    one.page.wait_for_function(DRAWN)
    return one


def at(page: Page, box: tuple[float, ...]) -> None:
    """The line runs round that part of the picture, soon."""
    near = f"([box, near]) => ({SIDES})().every((side, n) => Math.abs(side - box[n]) < near)"
    page.wait_for_function(near, arg=[list(box), NEAR])


def test_the_line_runs_round_the_lesion_at_each_size_and_in_each_direction(before: Visit, outlining: Device) -> None:
    page = before.page
    for size in ("phone", "five inches", "laptop"):
        before.resize(size)
        at(page, BOX)
    colours = "name => getComputedStyle(document.querySelector(name)).stroke"
    assert page.evaluate(colours, ".live .outline-line") == "rgb(0, 0, 0)"
    assert page.evaluate(colours, ".live .outline-edge") == "rgb(255, 255, 255)"
    page.evaluate("() => localStorage.setItem('busi-kd-language', 'ar')")
    page.reload()
    page.wait_for_selector("#live")
    at(page, BOX)
    expect(page.locator("#outline")).to_have_text(before.text("outline", "ar"))
    outlining.show(lesion_picture("malignant", MOVED, SIZE))
    before.verdict("malignant")
    at(page, MOVED)


def test_it_can_be_hidden_and_stays_hidden(before: Visit) -> None:
    page = before.page
    expect(page.locator("#outline")).to_have_attribute("aria-pressed", "true")
    box = page.locator("#outline").bounding_box()
    assert min(box["width"], box["height"]) >= 48
    page.click("#outline")
    page.wait_for_function(GONE)
    page.reload()
    before.verdict("benign")
    expect(page.locator("#outline")).to_have_attribute("aria-pressed", "false")
    drawn = int(page.locator("#live canvas").get_attribute("data-drawn") or 0)
    page.wait_for_function("n => document.querySelector('#live canvas').dataset.drawn > n", arg=drawn + 5)
    assert page.evaluate(GONE)
    page.click("#outline")
    page.wait_for_function(DRAWN)


def test_it_is_frozen_with_its_picture_saved_and_gone_without_a_verdict(before: Visit, outlining: Device) -> None:
    page = before.page
    page.click("#freeze")
    expect(page.locator(".frozen-flag")).to_be_visible()
    since = len(outlining.lines)
    outlining.show(lesion_picture("malignant", MOVED, SIZE))
    outlining.wait_for("shown=malignant", since)
    at(page, BOX)
    page.click("#save")
    expect(page.locator("#answer")).to_contain_text("Saved as number")
    page.click("#freeze")
    at(page, MOVED)

    outlining.show(lesion_picture("normal", (0.5, 0.5, 0.6, 0.6), SIZE))
    before.verdict("normal")
    page.wait_for_function(GONE)
    outlining.show(lesion_picture("benign", BOX, SIZE))
    at(page, BOX)
    outlining.lose_signal()
    before.verdict("nothing")
    expect(page.locator(".live-overlay")).to_be_hidden()
    expect(page.locator("#outline")).to_be_hidden()
    outlining.show(lesion_picture("benign", BOX, SIZE))

    before.go("studies")
    page.locator(".study-row").first.click()
    saved = page.locator(".item[data-label=benign] .item-picture").last
    saved.scroll_into_view_if_needed()
    inside = """one => {
      const line = one.querySelector('.outline-line').getBoundingClientRect();
      const image = one.querySelector('img').getBoundingClientRect();
      return [(line.left - image.left) / image.width, (line.top - image.top) / image.height,
              (line.right - image.left) / image.width, (line.bottom - image.top) / image.height];
    }"""
    assert saved.evaluate(inside) == pytest.approx(list(BOX), abs=NEAR)
    assert before.page.evaluate("() => document.getElementById('notice-text').offsetParent !== null")


@pytest.fixture
def classifying(tmp_path: Path) -> Iterator[Device]:
    """A device with the classifier that ships, before what it calls benign."""
    bundle = demonstration_bundle(tmp_path / "classifier", FOLDER / "busi-ship")
    with device(tmp_path / "device", bundle.folder, first=phantoms_by_verdict(bundle)["benign"]) as one:
        yield one


def test_a_model_that_outlines_nothing_offers_no_switch(classifying: Device, window: Callable[..., Visit]) -> None:
    technician = window(classifying)
    technician.come_in()
    technician.verdict("benign")
    expect(technician.page.locator("#outline")).to_be_hidden()


def test_the_network_that_ships_outlines_what_it_calls_a_lesion(technician: Visit) -> None:
    """A phantom, which shows nobody."""
    technician.verdict("benign")
    technician.page.wait_for_function(DRAWN)
    expect(technician.page.locator("#outline")).to_be_visible()
