// The PIN pad, its lock-out, and the first PIN with the language. Large keys of its own: a touch screen in a kiosk has no
// keyboard; a real keyboard works as well.

import { button, h, mark, refusal, say } from "./dom.js";
import { ask, put, Refused, refresh, session } from "./api.js";
import { choose, LANGUAGES, language, number, speak, t } from "./texts.js";

const LONGEST = 12;

/** Digits, a dot for each that was typed, and `done(pin)` for the key OK. */
function pad(label, done) {
  const dots = h("p", { class: "dots", id: "dots", role: "status", "aria-live": "polite" });
  let typed = "";
  const keys = h("div", { class: "keys", role: "group", "aria-label": label, dir: "ltr" });
  const press = (digit) => {
    if (typed.length < LONGEST) typed += digit;
    draw();
  };
  const back = () => {
    typed = typed.slice(0, -1);
    draw();
  };
  const enter = () => {
    const pin = typed;
    typed = "";
    draw();
    if (pin) done(pin);
  };
  function draw() {
    say(dots, typed ? "●".repeat(typed.length) : " ");
    dots.setAttribute("aria-label", t("pin.typed", { n: number(typed.length) }));
  }
  for (const digit of "123456789") keys.append(button(digit, () => press(digit), { kind: "key" }));
  keys.append(
    button(t("pin.back"), back, { picture: "backspace", kind: "key wordless", id: "pin-back" }),
    button("0", () => press("0"), { kind: "key" }),
    button(t("pin.ok"), enter, { kind: "key main", id: "pin-ok" }),
  );
  const typing = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.hasAttribute("inert")) return;
    if (/^[0-9]$/.test(event.key)) press(event.key);
    else if (event.key === "Backspace") back();
    else if (event.key === "Enter" && !event.target.closest?.("button, select")) enter();
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", typing);
  draw();
  return { element: h("div", { class: "pad" }, dots, keys), keys, stop: () => document.removeEventListener("keydown", typing) };
}

async function turnTo(code, rendered) {
  choose(code);
  await speak(code);
  rendered();
}

function tongues(rendered) {
  const options = Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, lang: code, text: name, selected: code === language }));
  const change = (event) => turnTo(event.target.value, rendered);
  return h("label", { class: "field narrow" }, h("span", { text: t("language") }), h("select", { id: "pin-language", on: { change } }, options));
}

/** Sign in. rendered(): build the page anew. */
export function pinPad(rendered) {
  const said = h("p", { class: "pin-said", id: "pin-said", role: "alert" });
  let timer = null;
  const keys = pad(t("pin.title"), enter);
  const roles = ["technician", "watcher"].map((name, i) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name: "role", value: name, checked: i === 0 }), h("span", { text: t(`role.${name}`) })),
  );
  const group = h("fieldset", { class: "choices" }, h("legend", { class: "unseen", text: t("role") }), roles);
  const element = h("section", { class: "pin", id: "pin" }, h("div", { class: "pin-head" }, h("h1", { text: t("pin.title") }), tongues(rendered), group, said), keys.element);

  async function enter(pin) {
    const role = group.querySelector("input:checked").value;
    try {
      Object.assign(session, await ask("POST", "/api/session", { pin, role }));
      await refresh();
      rendered();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refused(error);
    }
  }

  function refused(error) {
    const { status, answer } = error;
    if (status === 429) return lock(answer.locked_s ?? 30);
    const left = answer.left;
    if (answer.locked_s) return lock(answer.locked_s);
    if (status === 403) return say(said, left == null ? t("pin.wrong") : t("pin.wrong-left", { n: number(left) }));
    return said.replaceChildren(...refusal(error));
  }

  function lock(seconds) {
    const until = performance.now() + 1000 * seconds;
    clearInterval(timer);
    keys.keys.setAttribute("inert", "");
    mark(element, "locked", "yes");
    const count = () => {
      const left = Math.ceil((until - performance.now()) / 1000);
      if (left > 0) return say(said, t("pin.locked", { n: number(left) }));
      clearInterval(timer);
      keys.keys.removeAttribute("inert");
      mark(element, "locked", null);
      say(said, t("pin.again"));
    };
    timer = setInterval(count, 250);
    count();
  }

  if (session.locked_s) lock(session.locked_s);
  return { element, stop: () => (clearInterval(timer), keys.stop()) };
}

/** The same as keys, each language by its own name: what a person sees first must be understood. */
function tongueKeys(rendered) {
  const keys = Object.entries(LANGUAGES).map(([code, name]) => button(name, () => turnTo(code, rendered), { lang: code, id: `first-${code}`, "aria-pressed": String(code === language) }));
  return h("div", { class: "row", role: "group", "aria-label": t("language") }, keys);
}

/** Have the device speak as its first person does. Should it refuse, this browser does all the same. */
async function keepLanguage() {
  try {
    if (language !== session.language) await put("/api/language", { language });
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
}

/** Nobody has set a PIN yet: that is done at the device's own screen, twice the same, in the language chosen there. */
export function firstPin(rendered) {
  if (!session.local) {
    const element = h("section", { class: "pin", id: "first-pin-elsewhere" }, h("div", { class: "pin-head" }, h("h1", { text: t("first-pin.title") }), h("p", { text: t("first-pin.elsewhere") }), tongues(rendered)));
    const timer = setInterval(() => refresh().then(() => session.pin_set && rendered(), () => null), 3000);
    return { element, stop: () => clearInterval(timer) };
  }
  const what = h("p", { id: "first-pin-what", role: "status", text: t("first-pin.choose") });
  const said = h("p", { class: "pin-said", id: "pin-said", role: "alert" });
  let first = null;
  const keys = pad(t("first-pin.title"), async (pin) => {
    if (first === null) {
      first = pin;
      say(said, "");
      say(what, t("first-pin.repeat"));
      return;
    }
    const same = pin === first;
    first = null;
    say(what, t("first-pin.choose"));
    if (!same) return say(said, t("first-pin.differ"));
    try {
      Object.assign(session, await ask("POST", "/api/pin", { new: pin }));
      await keepLanguage();
      await refresh();
      rendered();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      said.replaceChildren(...refusal(error));
    }
  });
  const element = h("section", { class: "pin", id: "first-pin" }, h("div", { class: "pin-head" }, h("h1", { text: t("first-pin.title") }), tongueKeys(rendered), h("p", { text: t("first-pin.why") }), what, said), keys.element);
  return { element, stop: keys.stop };
}
