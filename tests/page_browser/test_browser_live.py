"""The live view in a real browser, before the real daemon: verdicts, what covers them, and the buttons."""

import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from device import RESEARCH_NOTICE
from device.page.live import SAY_S
from tests.page_browser.running import PATIENCE_S, Device
from tests.page_browser.visiting import Visit, change_machine

# Each snapshot, and what the page shows in the moment in which it has taken it in, before anything else can happen. The
# daemon dates its snapshots by the machine's clock, which its lines are dated by here as well.
TAKEN = """(() => {
  window.taken = [];
  const add = WebSocket.prototype.addEventListener;
  WebSocket.prototype.addEventListener = function (kind, listener) {
    add.call(this, kind, (event) => {
      listener(event);
      if (kind !== "message" || event.data instanceof Blob) return;
      const said = JSON.parse(event.data);
      const cover = document.getElementById("cover");
      if (said.type !== "snapshot" || cover === null) return;
      window.taken.push({
        at: said.at,
        state: said.signal.state,
        judged: said.verdict !== null,
        label: document.getElementById("verdict").dataset.label,
        covered: document.body.dataset.cover !== undefined && cover.checkVisibility(),
      });
    });
  };
})();"""


@pytest.mark.parametrize("label", ["benign", "malignant", "abstain"])
def test_a_verdict_is_said_by_word_shape_and_colour(
    technician: Visit, running: Device, pictures: dict[str, np.ndarray], label: str
) -> None:
    running.show(pictures[label])
    technician.verdict(label)
    panel = technician.page.locator("#verdict")
    expect(panel.locator(".verdict-word")).to_have_text(technician.text(f"verdict.{label}"))
    expect(panel.locator("svg.shape")).to_have_attribute("data-label", label)
    if label == "abstain":
        expect(panel.locator(".verdict-why")).to_contain_text(technician.text("reason.low confidence"))
    else:
        expect(panel.locator(".verdict-why")).to_contain_text("Not a diagnosis")
    bars = technician.page.locator("#bars .bar-value")
    expect(bars).to_have_count(3)
    assert all(value.endswith("%") for value in bars.all_inner_texts())


def test_shapes_differ_where_colours_cannot_be_told(
    technician: Visit, running: Device, pictures: dict[str, np.ndarray]
) -> None:
    forms = {}
    for label in ("benign", "malignant", "abstain"):
        running.show(pictures[label])
        technician.verdict(label)
        forms[label] = technician.page.eval_on_selector("#verdict .form", "form => form.outerHTML")
    assert len(set(forms.values())) == 3


def test_a_reader_hears_the_verdict_once_it_has_stood(
    technician: Visit, running: Device, pictures: dict[str, np.ndarray]
) -> None:
    running.show(pictures["malignant"])
    spoken = technician.page.locator("#spoken")
    expect(spoken).to_have_text(technician.text("verdict.malignant"))
    assert spoken.get_attribute("aria-live") == "polite"
    technician.page.evaluate(
        "() => { window.spoken = 0; new MutationObserver(() => window.spoken++).observe("
        "document.getElementById('spoken'), { childList: true, characterData: true, subtree: true }); }"
    )
    drawn = technician.page.locator("#live canvas")
    at_first = int(drawn.get_attribute("data-drawn"))
    technician.page.wait_for_function(
        "n => document.querySelector('#live canvas').dataset.drawn > n", arg=at_first + 10
    )
    assert technician.page.evaluate("window.spoken") == 0  # ten pictures on, and nothing was said anew


def test_a_lost_signal_covers_verdict_and_picture_at_once(
    technician: Visit, running: Device, pictures: dict[str, np.ndarray]
) -> None:
    """Each snapshot behind the edge says it, and none that says it leaves anything uncovered, even for a moment."""
    page, edges = technician.page, []
    technician.context.add_init_script(TAKEN)
    technician.come_in()
    technician.verdict("benign")
    for _ in range(3):
        edges.append(running.lose_signal())
        told = "one.at > edge && one.state === 'no device'"
        page.wait_for_function(f"edge => window.taken.some(one => {told})", arg=edges[-1])
        behind = page.evaluate("edge => window.taken.filter(one => one.at > edge)", edges[-1])
        assert "ok" not in {one["state"] for one in behind[1:]}, "but for one that was in the making at the edge"
        technician.verdict("nothing")
        expect(page.locator(".verdict-word")).to_have_text(technician.text("signal.no device"))
        expect(page.locator("#cover")).to_contain_text(technician.text("signal-hint.no device"))
        expect(page.locator("#live canvas")).to_be_hidden()
        assert page.locator("#bars .bar-value").all_inner_texts() == ["–"] * 3
        running.show(pictures["benign"])
        technician.verdict("benign")
        expect(page.locator("#live canvas")).to_be_visible()
    taken = page.evaluate("window.taken")
    lost = [one for one in taken if one["state"] != "ok"]
    assert len(lost) >= len(edges)
    assert all(one["covered"] and one["label"] == "nothing" and not one["judged"] for one in lost), lost
    assert any(not one["covered"] and one["label"] == "benign" for one in taken), "else nothing was seen"


def test_silence_and_age_cover_within_a_second(technician: Visit) -> None:
    """The limits themselves, of the page that runs: where no word comes at all, they are what covers."""
    live = technician.page.evaluate(
        "async () => { const { SILENT_MS, oldest, outdated } = await import('/static/js/live.js');"
        " const judged = { signal: { state: 'ok' }, verdict: {}, age_s: 0, fps: 10 };"
        " const after = ms => outdated({ open: true, ever: true, heard: 0, snapshot: judged }, ms);"
        " return { silent: SILENT_MS, oldest: oldest(10), word: [0, SILENT_MS, SILENT_MS + 1].map(after) }; }"
    )
    assert live["word"] == [None, None, "silent"]
    assert live["silent"] < 1000 * live["oldest"] <= 1000
    assert 1000 * SAY_S < live["silent"], "a device that is well speaks sooner"


def test_a_daemon_that_hangs_does_not_leave_its_verdict_standing(technician: Visit, running: Device) -> None:
    technician.verdict("benign")
    running.pause(True)
    try:
        technician.verdict("nothing")
        expect(technician.page.locator("#save")).to_be_disabled()
    finally:
        running.pause(False)
    technician.verdict("benign")


def test_a_broken_connection_covers_at_once_and_heals(technician: Visit) -> None:
    technician.verdict("benign")
    technician.context.set_offline(True)
    technician.verdict("nothing")
    expect(technician.page.locator("#chip-battery .chip-value")).to_have_text("– %")
    technician.context.set_offline(False)
    technician.verdict("benign")


def test_the_veil_rises_without_any_script(technician: Visit) -> None:
    """Its animation is put back by each message; left alone, it ends opaque."""
    technician.verdict("benign")
    page = technician.page
    opacity = "[...document.querySelectorAll('.veil')].map(one => getComputedStyle(one).opacity)"
    assert page.evaluate(opacity) == ["0", "0"]
    ends = "for (const one of document.getAnimations()) { one.currentTime = 5000; }"
    assert page.evaluate(f"() => {{ {ends} return {opacity}; }}") == ["1", "1"]  # before the next message
    page.wait_for_function(f"() => {opacity}.every(one => one === '0')")


def test_freeze_save_and_export(technician: Visit, running: Device, pictures: dict[str, np.ndarray]) -> None:
    page = technician.page
    running.show(pictures["malignant"])
    technician.verdict("malignant")
    page.click("#freeze")
    expect(page.locator("#answer")).to_have_text(technician.text("answer.held"))
    expect(page.locator(".frozen-flag")).to_be_visible()
    since = len(running.lines)
    running.show(pictures["benign"])
    running.wait_for("shown=benign", since)  # judging goes on, and what is frozen stays
    expect(page.locator("#freeze")).to_have_attribute("aria-pressed", "true")
    technician.verdict("malignant")
    page.click("#save")
    expect(page.locator("#answer")).to_contain_text("Saved as number")
    number = page.locator("#answer").inner_text().split()[-1].strip(".")
    page.click("#freeze")
    technician.verdict("benign")
    expect(page.locator(".frozen-flag")).to_be_hidden()

    technician.go("studies")
    page.locator(".study-row").first.click()
    saved = page.locator(f".item:has(img[alt*='picture {number}:'])")
    expect(saved).to_have_attribute("data-label", "malignant")
    saved.scroll_into_view_if_needed()  # pictures further down are not asked for before they are seen
    expect(saved.locator("img")).to_have_js_property("naturalWidth", pictures["malignant"].shape[1])
    expect(page.locator("#history .history-bar")).to_have_count(page.locator(".item").count())
    with page.expect_download() as got:
        page.click("#export-zip")
    _holds_the_picture(got.value.path(), pictures["malignant"])


def _holds_the_picture(path: Path, picture: np.ndarray) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert any(name.endswith("verdicts.csv") for name in names)
        readme = next(archive.read(name) for name in names if name.endswith("README.txt"))
        assert RESEARCH_NOTICE.encode() in readme
        pngs = [archive.read(name) for name in names if name.endswith(".png")]
    decoded = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) for data in pngs]
    assert any(np.array_equal(one, picture) for one in decoded)


def test_a_study_is_exported_as_dicom_and_counts_as_exported(technician: Visit, running: Device) -> None:
    technician.page.click("#save")
    expect(technician.page.locator("#answer")).to_contain_text("Saved as number")
    technician.go("studies")
    technician.page.locator(".study-row").first.click()
    study = technician.page.locator("#export-dicom").get_attribute("href").split("/")[-1].split(".")[0]
    with technician.page.expect_download() as got:
        technician.page.click("#export-dicom")
    with zipfile.ZipFile(io.BytesIO(got.value.path().read_bytes())) as archive:
        assert any(archive.read(name)[128:132] == b"DICM" for name in archive.namelist())
    # A real browser ends the connection once it has all of it, and only then the study counts as exported.
    until = time.monotonic() + PATIENCE_S
    while technician.page.request.get(f"{running.url}api/studies/{study}").json()["study"]["exported"] is None:
        assert time.monotonic() < until


def test_deleting_asks_first_and_then_is_done(technician: Visit) -> None:
    page = technician.page
    page.click("#save")
    expect(page.locator("#answer")).to_contain_text("Saved as number")
    technician.go("studies")
    count = page.locator(".study-row").count()
    page.wait_for_selector(".study-row")
    count = page.locator(".study-row").count()
    page.locator(".study-row").first.click()
    page.click("#study-delete")
    expect(page.locator("dialog")).to_contain_text(technician.text("studies.delete-not-exported"))
    page.click("#dialog-no")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator("#items")).to_be_visible()
    page.click("#study-delete")
    page.click("#dialog-yes")
    page.wait_for_function("() => location.hash === '#studies'")
    expect(page.locator(".study-row")).to_have_count(count - 1)


def test_a_sweep_is_marked_and_saved(technician: Visit) -> None:
    page = technician.page
    page.click("#mark")
    expect(page.locator("#answer")).to_have_text(technician.text("answer.sweep-begun"))
    expect(page.locator("#mark")).to_have_attribute("data-running", "yes")
    page.click("#mark")
    expect(page.locator("#answer")).to_contain_text("saved")
    expect(page.locator("#mark")).not_to_have_attribute("data-running", "yes")


def test_discard_drops_the_frozen_picture(technician: Visit) -> None:
    page = technician.page
    technician.verdict("benign")
    page.click("#freeze")
    expect(page.locator("#freeze")).to_have_attribute("aria-pressed", "true")
    page.click("#discard")
    page.click("#dialog-yes")
    expect(page.locator("#answer")).to_have_text(technician.text("answer.discarded-held"))
    expect(page.locator("#freeze")).to_have_attribute("aria-pressed", "false")


def test_the_last_minute_is_drawn_and_told(technician: Visit) -> None:
    page = technician.page
    page.wait_for_function("() => Number(document.getElementById('timeline').dataset.points) > 3")
    painted = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)"
    page.wait_for_function(f"() => ({painted})(document.querySelector('.strip-canvas'))")
    expect(page.locator("#timeline-words")).to_contain_text(technician.text("verdict.benign"))


def test_phantoms_are_said_to_show_nobody(technician: Visit) -> None:
    expect(technician.page.locator("#synthetic")).to_be_visible()
    expect(technician.page.locator("#synthetic")).to_have_text(technician.text("synthetic"))


def test_a_low_battery_is_said_in_words(window: Callable[..., Visit], running: Device) -> None:
    """No gauge is at hand here, so the daemon's "unknown" is replaced on its way by what a gauge would say."""
    one = window(running)
    change_machine(one.page, battery_percent=9.0, battery_minutes=14.0, charging=False, temperature_c=61.0)
    one.come_in()
    expect(one.page.locator("#warnings")).to_contain_text(one.text("battery-low-minutes", percent=9, minutes=14))
    expect(one.page.locator("#chip-battery")).to_have_attribute("data-level", "very-low")
    expect(one.page.locator("#chip-temperature")).to_contain_text("61 °C")


def test_numbers_do_not_move_the_layout(technician: Visit) -> None:
    """Positions of what stands there, over two seconds of live values."""
    technician.verdict("benign")
    places = (
        "() => ['#verdict', '#bars', '#live', '#timeline', '#freeze', '#chip-fps'].map(one => "
        "{ const at = document.querySelector(one).getBoundingClientRect();"
        " return [at.x, at.y, at.width, at.height].join(); })"
    )
    seen = set()
    until = time.monotonic() + min(2.0, PATIENCE_S)
    while time.monotonic() < until:
        seen.add(tuple(technician.page.evaluate(places)))
        technician.page.wait_for_timeout(50)
    assert len(seen) == 1
