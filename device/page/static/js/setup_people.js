// Language; the PIN; and the one-time PIN by which a phone or a second screen joins.

import { button, h, mark, say } from "./dom.js";
import { get, put } from "./api.js";
import { outcome } from "./form.js";
import { choose, LANGUAGES, language, number, speak, t } from "./texts.js";

export function languagePart({ render }) {
  const said = outcome();
  const take = async (code) => {
    choose(code);
    await speak(code);
    try {
      await put("/api/language", { language: code });
    } catch (error) {
      said.refused(error);
      return; // this browser speaks it; the device keeps its own
    }
    render();
  };
  const keys = Object.entries(LANGUAGES).map(([code, name]) => button(name, () => take(code), { kind: "big", lang: code, id: `language-${code}`, "aria-pressed": String(code === language) }));
  return { element: h("div", { class: "stack" }, h("p", { text: t("language.what") }), h("div", { class: "row" }, keys), said.element) };
}

/** Six digits in three boxes' stead: one field each, with a number pad where the device has one. */
function pinField(label, id) {
  const input = h("input", { type: "password", inputmode: "numeric", pattern: "[0-9]*", maxlength: "12", autocomplete: "off", id });
  return { element: h("label", { class: "field narrow" }, h("span", { text: label }), input), input };
}

export function pinPart() {
  const said = outcome();
  const old = pinField(t("pin.old"), "pin-old");
  const fresh = pinField(t("pin.new"), "pin-new");
  const again = pinField(t("pin.new-again"), "pin-again");
  const fields = [old, fresh, again];
  let focused = old.input;
  for (const { input } of fields) input.addEventListener("focus", () => (focused = input));
  // A kiosk has no keyboard: these keys type into the field that was touched last.
  const type = (digit) => () => {
    focused.value = digit === null ? focused.value.slice(0, -1) : (focused.value + digit).slice(0, 12);
  };
  const keys = h("div", { class: "small-keys", dir: "ltr" }, [..."1234567890"].map((digit) => button(digit, type(digit), { kind: "key" })), button(t("pin.back"), type(null), { picture: "backspace", kind: "key wordless" }));

  async function store() {
    if (fresh.input.value !== again.input.value) {
      mark(said.element, "kind", "bad");
      return say(said.element, t("first-pin.differ"));
    }
    const done = await said.of(put("/api/pin", { old: old.input.value, new: fresh.input.value }), t("pin.changed"));
    if (done) for (const { input } of fields) input.value = "";
  }

  const paired = h("p", { class: "pairing", id: "pairing", role: "status" });
  let timer = null;
  async function pair() {
    clearInterval(timer);
    try {
      const { pin, expires_s: seconds } = await get("/api/pairing");
      const until = performance.now() + 1000 * seconds;
      const count = () => {
        const left = Math.ceil((until - performance.now()) / 1000);
        if (left <= 0) clearInterval(timer);
        paired.replaceChildren(...(left > 0 ? [h("strong", { dir: "ltr", text: pin }), h("span", { text: t("pairing.left", { n: number(left) }) })] : [t("pairing.over")]));
      };
      timer = setInterval(count, 1000);
      count();
    } catch (error) {
      said.refused(error);
    }
  }

  return {
    element: h(
      "div",
      { class: "stack" },
      h("h3", { text: t("pairing.title") }),
      h("p", { text: t("pairing.what") }),
      h("div", { class: "row" }, button(t("pairing.show"), pair, { id: "pairing-show" }), paired),
      h("h3", { text: t("pin.change") }),
      h("div", { class: "row top" }, h("form", { class: "stack", on: { submit: (event) => event.preventDefault() } }, fields.map((one) => one.element), button(t("pin.keep"), store, { kind: "main", id: "pin-keep" })), keys),
      said.element,
    ),
    stop: () => clearInterval(timer),
  };
}
