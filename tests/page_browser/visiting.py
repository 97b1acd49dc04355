"""What a person does on the page, for the tests: come in, press, look. Texts are read from the page's own files."""

import json
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.page_browser.running import PATIENCE_S, PIN, ROOT

STATIC = ROOT / "device" / "page" / "static"
LANGUAGES = ("en", "fr", "ar")
TEXTS = {name: json.loads((STATIC / "texts" / f"{name}.json").read_text(encoding="utf-8")) for name in LANGUAGES}
SIZES = {"narrow": (320, 568), "phone": (390, 844), "five inches": (800, 480), "laptop": (1366, 768)}
VIEWS = ("main", "studies", "setup", "health")
PARTS = tuple(key.removeprefix("setup.") for key in TEXTS["en"] if key.startswith("setup.") and key != "setup.parts")

expect.set_options(timeout=1000 * PATIENCE_S)


@dataclass
class Visit:
    """One browser window. wrong: what must not happen: errors of scripts, refused by the CSP, requests elsewhere."""

    url: str
    context: BrowserContext
    page: Page
    language: str
    wrong: list[str] = field(default_factory=list)

    def text(self, key: str, language: str = "en", **values: object) -> str:
        """A text of the page."""
        return TEXTS[language][key].format(**values) if values else TEXTS[language][key]

    def press(self, digits: str, ok: str = "#pin-ok") -> None:
        """Type on the page's own pad."""
        for digit in digits:
            self.page.locator(".keys").get_by_role("button", name=digit, exact=True).click()
        self.page.locator(ok).click()

    def come_in(self, role: str = "technician", pin: str = PIN) -> None:
        """Load the page, set the first PIN where there is none, sign in, and wait for the live view."""
        self.page.goto(self.url)
        self.page.wait_for_selector("#pin, #first-pin, #live")
        if self.page.query_selector("#first-pin"):
            self.press(pin)
            expect(self.page.locator("#first-pin-what")).to_have_text(self.text("first-pin.repeat", self.language))
            self.press(pin)
        elif self.page.query_selector("#pin"):
            self.page.check(f"input[value={role}]")
            self.press(pin)
        self.page.wait_for_selector("#live")

    def go(self, view: str) -> None:
        """Open a view, such as `setup/region`."""
        self.page.evaluate("hash => { location.hash = hash; }", f"#{view}")
        self.page.wait_for_selector(f"main[data-view={view.partition('/')[0]}]")

    def resize(self, size: str) -> None:
        """To one of SIZES."""
        width, height = SIZES[size]
        self.page.set_viewport_size({"width": width, "height": height})

    def verdict(self, label: str) -> None:
        """Wait until the panel shows this verdict, or `nothing`."""
        expect(self.page.locator("#verdict")).to_have_attribute("data-label", label)


def visit(browser: Browser, url: str, language: str = "en", theme: str = "light", size: str = "five inches") -> Visit:
    """A new window with nothing remembered, in a language and theme; it has touch, and writes down what goes wrong."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=True, accept_downloads=True)
    kept = {"busi-kd-language": language, "busi-kd-theme": theme}
    context.add_init_script(
        f"for (const [name, value] of Object.entries({json.dumps(kept)}))"
        " localStorage.getItem(name) ?? localStorage.setItem(name, value);"
    )
    context.add_init_script(
        "document.addEventListener('securitypolicyviolation',"
        " event => console.error(`CSP refused ${event.violatedDirective} ${event.blockedURI}`));"
    )
    one = Visit(url, context, context.new_page(), language)
    one.page.on("pageerror", lambda error: one.wrong.append(f"script: {error}"))
    one.page.on(
        "console",
        lambda said: one.wrong.append(said.text) if "CSP" in said.text or "Content Security" in said.text else None,
    )
    one.page.on("request", lambda request: None if _own(request.url, url) else one.wrong.append(f"asked {request.url}"))
    return one


def change_machine(page: Page, signal: dict[str, str] | None = None, **values: object) -> None:
    """Lay these values over what the snapshots say of the machine; all else comes from the device. signal: over what
    they say of the signal, whenever it is not ok: a grabber names more ways of having none than a folder can."""

    def through(socket) -> None:
        server = socket.connect_to_server()

        def changed(message: str | bytes) -> None:
            if isinstance(message, str) and '"snapshot"' in message[:40]:
                said = json.loads(message)
                said["machine"] |= values
                said["signal"] |= signal if signal and said["signal"]["state"] != "ok" else {}
                message = json.dumps(said)
            socket.send(message)

        server.on_message(changed)

    page.route_web_socket("**/api/live", through)


def _own(asked: str, url: str) -> bool:
    host = url.removeprefix("http://")
    return asked.startswith((url, f"ws://{host}", f"blob:{url}", "data:"))
