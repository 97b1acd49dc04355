// The setup view: a list of parts, and one of them open beside it. Each part is a file of its own.

import { h } from "./dom.js";
import { brightnessPart } from "./setup_brightness.js";
import { clockPart } from "./setup_clock.js";
import { languagePart, pinPart } from "./setup_people.js";
import { modelPart } from "./setup_model.js";
import { powerPart, supportPart } from "./setup_power.js";
import { regionPart } from "./setup_region.js";
import { settingsPart, storagePart } from "./setup_settings.js";
import { sourcePart } from "./setup_source.js";
import { t } from "./texts.js";

const PARTS = {
  source: sourcePart,
  region: regionPart,
  brightness: brightnessPart,
  storage: storagePart,
  model: modelPart,
  language: languagePart,
  pin: pinPart,
  clock: clockPart,
  power: powerPart,
  support: supportPart,
  settings: settingsPart,
};

/** Build it. context: {live, render}. A part returns {element, update?, draw?, stop?}. */
export function setupView(context) {
  const wanted = location.hash.split("/")[1]; // none: on a narrow screen the list alone
  const open = wanted in PARTS ? wanted : "source";
  const list = Object.keys(PARTS).map((name) =>
    h("li", {}, h("a", { class: "part", href: `#setup/${name}`, "aria-current": name === open ? "true" : null, text: t(`setup.${name}`) })),
  );
  const part = PARTS[open](context);
  const element = h(
    "div",
    { class: "setup-view", "data-chosen": wanted in PARTS ? "yes" : null },
    h("h1", { text: t("view.setup") }),
    h("nav", { class: "parts", "aria-label": t("setup.parts") }, h("ul", {}, list)),
    h("a", { class: "back to-parts", href: "#setup", text: t("setup.parts") }),
    h("section", { class: "card part-body", id: `setup-${open}`, "aria-labelledby": "part-title" }, h("h2", { id: "part-title", text: t(`setup.${open}`) }), part.element),
  );
  return { element, update: part.update ?? (() => {}), draw: part.draw ?? (() => {}), stop: part.stop ?? (() => {}) };
}
