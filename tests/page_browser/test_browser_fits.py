"""Each view in each size, language and theme: nothing runs out of the window, the notice is always to be seen, axe-core
finds nothing serious, and no request leaves the device."""

import json
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.page_browser.running import Device
from tests.page_browser.visiting import LANGUAGES, PARTS, SIZES, VIEWS, Visit

EVERYWHERE = (*VIEWS, *(f"setup/{part}" for part in PARTS))
TOUCH = 48  # pixels: what a gloved finger meets; WCAG 2.2, 2.5.8 asks for half of that
WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const main = document.querySelector('main');
  const over = [...document.querySelectorAll('body *')].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && !one.closest('pre, .unseen, .side') && (box.right > width + 1 || box.left < -1);
  });
  return {
    page: document.documentElement.scrollWidth - width,
    main: main.scrollWidth - main.clientWidth,
    over: over.slice(0, 5).map(one => `${one.tagName}.${one.className.baseVal ?? one.className}`),
  };
}"""
# The notice is there, in the window, and nothing lies over any part of it.
NOTICE = """() => {
  const box = document.getElementById('notice-text').getBoundingClientRect();
  const inside = box.width > 0 && box.top >= 0 && box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
  const places = [0.1, 0.5, 0.9].map(share => [box.left + share * box.width, box.top + box.height / 2]);
  const notice = document.getElementById('notice');
  return inside && places.every(([x, y]) => notice.contains(document.elementFromPoint(x, y)));
}"""
SMALL = """least => [...document.querySelectorAll('button, .tab, .part, .button, select, .choice, summary, .study-row')]
  .filter(one => one.offsetParent !== null)
  .map(one => [one, one.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.height < least - 0.5 || box.width < least - 0.5))
  .map(([one, box]) => `${one.id || one.className} ${Math.round(box.width)}x${Math.round(box.height)}`)"""


def _settled(page: Page, view: str) -> None:
    """Wait until a view has what it asked for."""
    waits = {"setup/region": "#region-overlay[viewBox]", "setup/model": "#models dl", "setup/storage": "#storage-size"}
    waits |= {"setup/settings": "#settings details", "setup/clock": ".stepper", "setup/source": ".source"}
    waits |= {"health": "#checks .check[data-state]", "studies": ".study-row", "main": "#live canvas[data-drawn]"}
    if view in waits:
        page.wait_for_selector(waits[view], state="attached")


@pytest.fixture
def saved(technician: Visit) -> Visit:
    """A technician with something saved, so that no view is empty."""
    technician.verdict("benign")
    technician.page.click("#save")
    technician.page.wait_for_selector("#answer[data-kind=good]")
    return technician


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_runs_out_of_the_window_and_the_notice_stays(saved: Visit, language: str) -> None:
    page = saved.page
    page.evaluate("name => localStorage.setItem('busi-kd-language', name)", language)
    page.reload()
    page.wait_for_selector("main[data-view]")
    wrong = []
    for view in EVERYWHERE:
        saved.go(view)
        _settled(page, view)
        for size in SIZES:
            saved.resize(size)
            found = page.evaluate(WIDE)
            if found["page"] > 0 or found["main"] > 0 or found["over"]:
                wrong.append((view, size, found))
            page.evaluate("() => document.querySelector('main').scrollTo(0, 100000)")
            if not page.evaluate(NOTICE):
                wrong.append((view, size, "the notice is not to be seen"))
    saved.go("studies")
    page.locator(".study-row").first.click()
    page.wait_for_selector(".item")
    for size in SIZES:
        saved.resize(size)
        found = page.evaluate(WIDE)
        if found["page"] > 0 or found["main"] > 0 or not page.evaluate(NOTICE):
            wrong.append(("study", size, found))
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
def test_the_pin_pad_fits(window: Callable[..., Visit], running: Device, language: str, size: str) -> None:
    one = window(running, language=language, size=size)
    one.page.goto(one.url)
    one.page.wait_for_selector("#pin, #first-pin")
    found = one.page.evaluate(WIDE)
    assert (found["page"], found["main"], found["over"]) == (0, 0, [])
    assert one.page.evaluate(NOTICE)
    assert one.page.evaluate(SMALL, TOUCH) == []


def test_a_question_does_not_hide_the_notice(saved: Visit) -> None:
    for size in SIZES:
        saved.resize(size)
        saved.page.click("#discard")
        saved.page.wait_for_selector("dialog[open]")
        assert saved.page.evaluate(
            "() => { const box = name => document.querySelector(name).getBoundingClientRect();"
            " return box('dialog').top >= box('#notice').bottom; }"
        ), size
        saved.page.click("#dialog-no")


def test_the_notice_stands_without_any_script(window: Callable[..., Visit], running: Device) -> None:
    one = window(running)
    one.page.route("**/*.js", lambda route: route.abort())
    one.page.goto(one.url)
    assert one.page.locator("#notice-text").inner_text() == one.text("notice")
    assert one.page.evaluate(NOTICE)


@pytest.mark.parametrize("size", ["narrow", "five inches"])
def test_what_is_pressed_is_large_enough_for_gloves(saved: Visit, size: str) -> None:
    saved.resize(size)
    small = {}
    for view in EVERYWHERE:
        saved.go(view)
        _settled(saved.page, view)
        small[view] = saved.page.evaluate(SMALL, TOUCH)
    assert {view: found for view, found in small.items() if found} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(saved: Visit, theme: str) -> None:
    page = saved.page
    page.evaluate("name => localStorage.setItem('busi-kd-theme', name)", theme)
    page.reload()
    page.wait_for_selector("main[data-view]")
    found = {}
    for view in EVERYWHERE:
        saved.go(view)
        _settled(page, view)
        found[view] = _serious(page)
    saved.go("studies")
    page.locator(".study-row").first.click()
    page.wait_for_selector(".item")
    found["study"] = _serious(page)
    assert {view: what for view, what in found.items() if what} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("label", ["benign", "malignant", "abstain", "nothing"])
def test_axe_finds_nothing_serious_in_any_verdict(
    technician: Visit, running: Device, pictures, theme: str, label: str
) -> None:
    page = technician.page
    page.evaluate("name => localStorage.setItem('busi-kd-theme', name)", theme)
    page.reload()
    if label == "nothing":
        running.lose_signal()
    else:
        running.show(pictures[label])
    technician.verdict(label)
    if label == "benign":
        page.click("#freeze")
        page.wait_for_selector(".frozen-flag:visible")
    try:
        assert _serious(page) == []
    finally:
        if label == "benign":
            page.click("#freeze")


@pytest.mark.parametrize("language", ["en", "ar"])
def test_axe_finds_nothing_serious_before_signing_in(
    window: Callable[..., Visit], running: Device, language: str
) -> None:
    one = window(running, language=language)
    one.page.goto(one.url)
    one.page.wait_for_selector("#pin, #first-pin")
    assert _serious(one.page) == []


def _serious(page: Page) -> list[str]:
    response = Axe().run(page).response
    return [
        f"{one['id']}: {json.dumps([node['target'] for node in one['nodes']][:4])}"
        for one in response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def test_all_views_can_be_reached_by_keyboard_alone(technician: Visit) -> None:
    page = technician.page
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.getAttribute('href') ?? document.activeElement.id"))
    assert {"#studies", "#setup", "#health", "theme", "freeze", "mark", "save", "discard"} <= reached
    page.locator("a[href='#health']").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-view=health]")


def test_the_theme_is_kept(technician: Visit) -> None:
    page = technician.page
    page.click("#theme")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    page.reload()
    page.wait_for_selector("#live")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
