"""One browser and one device for all tests of the page, and windows that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.page_browser.running import Device, chromium, demonstration_bundle, device, phantoms_by_verdict
from tests.page_browser.visiting import Visit, visit


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of one file of tests: while it is there, an event loop runs, and tests of other folders want one of their own."""
    with chromium() as one:
        yield one


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the shipped network that is marked as synthetic."""
    folder = tmp_path_factory.mktemp("bundle") / "demonstration"
    demonstration_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def pictures(demonstration: Path) -> dict[str, np.ndarray]:
    """A phantom for each verdict."""
    from device.bundle import load_bundle

    return phantoms_by_verdict(load_bundle(demonstration))


@pytest.fixture(scope="module")
def shared_device(
    tmp_path_factory: pytest.TempPathFactory, demonstration: Path, pictures: dict[str, np.ndarray]
) -> Iterator[Device]:
    with device(tmp_path_factory.mktemp("device"), demonstration, first=pictures["benign"]) as one:
        yield one


@pytest.fixture
def running(shared_device: Device, pictures: dict[str, np.ndarray]) -> Device:
    """The device, with a benign phantom before it."""
    shared_device.show(pictures["benign"])
    return shared_device


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens windows: `window(device, language=..., size=...)`; at the end nothing wrong may have happened."""
    opened: list[Visit] = []

    def open_one(at: Device, **how: str) -> Visit:
        opened.append(visit(browser, at.url, **how))
        return opened[-1]

    yield open_one
    wrong = [what for one in opened for what in one.wrong]
    for one in opened:
        one.context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def signed_in(browser: Browser, shared_device: Device) -> list:
    """The cookies of a technician, so that not each test enters the PIN anew."""
    one = visit(browser, shared_device.url)
    one.come_in()
    cookies = one.context.cookies()
    one.context.close()
    return cookies


@pytest.fixture
def technician(window: Callable[..., Visit], running: Device, signed_in: list) -> Visit:
    """A technician before the live view."""
    one = window(running)
    one.context.add_cookies(signed_in)
    one.come_in()
    return one
