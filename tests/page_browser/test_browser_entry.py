"""Coming in: the first PIN, wrong PINs and their lock-out, the watcher, the language. The page runs without a daemon
here, which is one of its states."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.page_browser.running import PIN, Device, device
from tests.page_browser.visiting import LANGUAGES, Visit


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Device]:
    """A page whose daemon does not run, and that has no PIN yet."""
    with device(tmp_path / "alone") as one:
        yield one


def test_the_first_pin_is_entered_twice(window: Callable[..., Visit], alone: Device) -> None:
    one = window(alone)
    one.page.goto(one.url)
    one.page.wait_for_selector("#first-pin")
    one.press("1357")
    expect(one.page.locator("#first-pin-what")).to_have_text(one.text("first-pin.repeat"))
    one.press("1358")
    expect(one.page.locator("#pin-said")).to_have_text(one.text("first-pin.differ"))
    for _ in range(2):
        one.press("1357")
    one.page.wait_for_selector("#live")
    expect(one.page.locator(".verdict-word")).to_have_text(one.text("signal.no daemon"))


def test_who_sets_the_first_pin_chooses_the_language_of_the_device(window: Callable[..., Visit], alone: Device) -> None:
    one = window(alone)
    one.page.goto(one.url)
    one.page.click("#first-fr")
    expect(one.page.locator("h1")).to_have_text(one.text("first-pin.title", "fr"))
    expect(one.page.locator("#first-fr")).to_have_attribute("aria-pressed", "true")
    for _ in range(2):
        one.press("1357")
    one.page.wait_for_selector("#live")
    spoken = "() => fetch('/api/session').then(answer => answer.json()).then(said => said.language)"
    assert one.page.evaluate(spoken) == "fr"  # for everybody from now on, and after the next start
    assert 'language = "fr"' in (alone.folder / "page/settings.toml").read_text()


def test_a_pin_that_is_too_plain_is_refused(window: Callable[..., Visit], alone: Device) -> None:
    one = window(alone)
    one.page.goto(one.url)
    one.page.wait_for_selector("#first-pin")
    for _ in range(2):
        one.press("1111")
    expect(one.page.locator("#pin-said")).to_contain_text("digits that are not all the same")


def test_wrong_pins_lock_the_pad_and_count_down(window: Callable[..., Visit], alone: Device) -> None:
    first = window(alone)
    first.come_in()
    one = window(alone)
    one.page.goto(one.url)
    one.page.wait_for_selector("#pin")
    said = one.page.locator("#pin-said")
    one.press("9753")
    expect(said).to_contain_text("Tries left: 4")
    for left in (3, 2, 1):
        one.press("9753")
        expect(said).to_contain_text(f"Tries left: {left}")
    one.press("9753")
    expect(said).to_contain_text("Wait")
    expect(one.page.locator(".keys")).to_have_attribute("inert", "")
    at_first = int("".join(filter(str.isdigit, said.inner_text())))
    assert 1 <= at_first <= 30
    one.page.wait_for_function(
        "n => Number(document.getElementById('pin-said').textContent.replace(/\\D/g, '')) < n", arg=at_first
    )
    one.page.reload()  # who loads the page again waits as long
    expect(one.page.locator("#pin-said")).to_contain_text("Wait")
    one.page.keyboard.type(PIN)
    one.page.keyboard.press("Enter")
    expect(one.page.locator("#live")).to_have_count(0)
    expect(first.page.locator("#live")).to_be_visible()  # and who is signed in stays so


def test_a_keyboard_types_the_pin(window: Callable[..., Visit], alone: Device) -> None:
    window(alone).come_in()
    one = window(alone)
    one.page.goto(one.url)
    one.page.wait_for_selector("#pin")
    one.page.keyboard.type("97")
    one.page.keyboard.press("Backspace")
    one.page.keyboard.press("Backspace")
    one.page.keyboard.type(PIN)
    expect(one.page.locator("#dots")).to_have_text("●" * len(PIN))
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#live")


def test_signing_out_ends_it(window: Callable[..., Visit], running: Device) -> None:
    one = window(running)
    one.come_in()
    one.page.click("#leave")
    one.page.wait_for_selector("#pin")
    assert one.page.evaluate("() => fetch('/api/timeline').then(answer => answer.status)") == 401


def test_a_watcher_sees_all_and_can_press_nothing(window: Callable[..., Visit], running: Device) -> None:
    window(running).come_in()
    one = window(running)
    one.come_in("watcher")
    one.verdict("benign")
    page = one.page
    expect(page.locator(".watching")).to_have_text(one.text("watching"))
    assert page.locator("button, a, input, select, [role=button]").count() == 0
    page.evaluate("() => { location.hash = '#setup'; }")
    expect(page.locator("main")).to_have_attribute("data-view", "main")
    expect(page.locator("#notice-text")).to_be_visible()


def test_a_one_time_pin_lets_a_second_screen_in(window: Callable[..., Visit], running: Device) -> None:
    host = window(running)
    host.come_in()
    host.go("setup/pin")
    host.page.click("#pairing-show")
    code = host.page.locator("#pairing strong").inner_text()
    assert len(code) == 6
    guest = window(running)
    guest.come_in("watcher", pin=code)
    guest.verdict("benign")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_is_chosen_before_signing_in(window: Callable[..., Visit], running: Device, language: str) -> None:
    window(running).come_in()
    one = window(running)
    one.page.goto(one.url)
    one.page.select_option("#pin-language", language)
    expect(one.page.locator("h1")).to_have_text(one.text("pin.title", language))
    expect(one.page.locator("html")).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")
    expect(one.page.locator("html")).to_have_attribute("lang", language)
    expect(one.page.locator("#notice-text")).to_have_text(one.text("notice", language))


def test_without_a_connection_the_page_says_so_and_comes_back(window: Callable[..., Visit], running: Device) -> None:
    one = window(running)
    one.come_in()
    one.page.route("**/api/session", lambda route: route.abort())
    one.page.reload()
    expect(one.page.locator(".broken")).to_have_text(one.text("cover.disconnected"))
    expect(one.page.locator("#notice-text")).to_be_visible()
    one.page.unroute("**/api/session")
    one.page.wait_for_selector("#live")
