"""`python -m tests.page_browser.screenshots [FOLDER]`: the pictures of the page in docs/img/page, made anew.

The real daemon judges phantoms, which show nobody, with the shipped network in a bundle that is marked as synthetic.
Only what a battery gauge, a thermometer and a grabber without a signal would say is laid over the snapshots, for there
is none of them at the desk.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser

from device.region.region import Region
from tests.page_browser.running import ROOT, Device, chromium, demonstration_bundle, device, phantoms_by_verdict
from tests.page_browser.touch import screen_of, swipe
from tests.page_browser.visiting import Visit, change_machine, visit

FOLDER = ROOT / "docs" / "img" / "page"
MOST_BYTES = 150_000
COLOURS, GREYS = 160, 64  # of the palette
SPREAD = 10  # between the channels of what is a colour
STORY = ("benign", "benign", "abstain", "malignant", "malignant", "abstain", "benign")  # what the last minute shows
STEP_MS = 2500
WELL = {"battery_percent": 83.0, "battery_minutes": 190.0, "charging": False, "temperature_c": 54.0}
LOW = {"battery_percent": 9.0, "battery_minutes": 14.0, "charging": False, "temperature_c": 58.0}


def main(folder: Path) -> None:
    """Write all of them into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own, chromium() as browser:
        bundle = demonstration_bundle(Path(own) / "bundle")
        pictures = phantoms_by_verdict(bundle)

        def keep(one: Visit, name: str) -> None:
            one.page.wait_for_timeout(700)  # one more point of the last minute
            _write(folder / f"{name}.png", one.page.screenshot())

        with device(Path(own) / "device", bundle.folder, first=pictures["benign"]) as machine:
            _views(browser, machine, pictures, keep)
        screen, region = screen_of(pictures["benign"])
        with device(Path(own) / "screen", bundle.folder, region="auto", first=screen) as machine:
            _region(browser, machine, region, keep)


def _views(
    browser: Browser, machine: Device, pictures: dict[str, np.ndarray], keep: Callable[[Visit, str], None]
) -> None:
    one = _come_in(browser, machine, WELL | {"signal": {"state": "no signal", "detail": ""}})
    for label in STORY:
        machine.show(pictures[label])
        one.verdict(label)
        one.page.wait_for_timeout(STEP_MS)
    for label in ("benign", "malignant", "abstain"):
        machine.show(pictures[label])
        one.verdict(label)
        keep(one, label)
    machine.show(pictures["malignant"])
    for size, language, name in (("five inches", "ar", "arabic"), ("phone", "en", "phone")):
        other = _come_in(browser, machine, WELL, language=language, size=size)
        other.verdict("malignant")
        keep(other, name)
        other.context.close()
    machine.show(pictures["malignant"])
    one.verdict("malignant")
    one.page.click("#freeze")
    one.page.wait_for_selector(".frozen-flag:visible")
    one.page.click("#save")
    one.page.wait_for_selector("#answer[data-kind=good]")
    keep(one, "frozen")
    one.page.click("#freeze")
    one.go("studies")
    one.page.locator(".study-row").first.click()
    one.page.wait_for_function("() => document.querySelector('.item img')?.naturalWidth")
    keep(one, "study")
    one.go("main")
    low = _come_in(browser, machine, LOW)
    machine.show(pictures["benign"])
    low.verdict("benign")
    keep(low, "low-battery")
    low.context.close()
    machine.lose_signal()
    one.verdict("nothing")
    one.page.wait_for_timeout(STEP_MS)
    keep(one, "no-signal")
    one.context.close()


def _region(browser: Browser, machine: Device, region: Region, keep: Callable[[Visit, str], None]) -> None:
    one = _come_in(browser, machine, WELL)
    one.go("setup/region")
    one.page.wait_for_selector("#region-overlay[viewBox]", state="attached")
    one.page.wait_for_timeout(STEP_MS)
    box = one.page.locator("#region-overlay").bounding_box()
    scale = box["width"] / region.frame_width
    ends = ((region.x, region.y), (region.right, region.bottom))
    swipe(one.page, *((box["x"] + x * scale, box["y"] + y * scale) for x, y in ends))
    keep(one, "region")
    one.context.close()


def _come_in(browser: Browser, machine: Device, condition: dict, **how: str) -> Visit:
    one = visit(browser, machine.url, **how)
    change_machine(one.page, **condition)
    one.come_in()
    return one


def _write(path: Path, png: bytes) -> None:
    """As a PNG with a palette. Fails when it is larger than MOST_BYTES."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    # The most frequent colours as they are, for a verdict's colour must not become its neighbour's, and steps of grey.
    counted = sorted(image.getcolors(image.width * image.height), reverse=True)
    colours = [rgb for _, rgb in counted if max(rgb) - min(rgb) > SPREAD][:COLOURS]
    greys = [(round(255 * i / (GREYS - 1)),) * 3 for i in range(GREYS)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for rgb in (*colours, *greys) for value in rgb])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    assert size <= MOST_BYTES, f"{path}: {size} bytes"
    print(f"{path.name}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
