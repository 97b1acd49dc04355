// Storage and retention in plain words, and behind it every key of the configuration as it is. A wrong value is refused
// by the device's own reader, whose sentence is shown.

import { button, english, h } from "./dom.js";
import { get, put } from "./api.js";
import { choice, outcome } from "./form.js";
import { bytes, known, t } from "./texts.js";

// What a finger can choose; a value that stands in the configuration and not here is offered as well.
const SIZES = ["1 GB", "2 GB", "4 GB", "8 GB", "16 GB", "32 GB"];
const AGES = ["7 days", "30 days", "90 days", "365 days", "unlimited"];

export function storagePart() {
  const said = outcome();
  const form = h("div", { class: "stack", id: "storage-form" });
  const room = h("p", { class: "fact", id: "storage-room" });

  async function look() {
    try {
      const { keys } = await get("/api/settings");
      const value = Object.fromEntries(keys.map((one) => [one.key, one.value]));
      build(value, (key) => keys.find((one) => one.key === key));
    } catch (error) {
      said.refused(error);
    }
    try {
      const { used_bytes: used, max_bytes: most, free_bytes: free } = await get("/api/studies");
      room.textContent = t("storage.room", { used: bytes(used), most: bytes(most), free: bytes(free) });
    } catch {
      room.textContent = ""; // the studies cannot be read: their own view says why
    }
  }

  function build(value, spec) {
    const has = (list, now) => (list.includes(now) || now == null ? list : [now, ...list]);
    const enabled = h("input", { type: "checkbox", id: "storage-enabled", checked: value["recorder.enabled"] });
    const size = choice(t("storage.size"), has(SIZES, value["recorder.max_size"]).map((one) => [one, one]), value["recorder.max_size"], { id: "storage-size" });
    const age = choice(t("storage.age"), has(AGES, value["recorder.max_age"]).map((one) => [one, ageWords(one)]), value["recorder.max_age"], { id: "storage-age" });
    const full = choice(t("storage.when-full"), (spec("recorder.when_full")?.choices ?? ["refuse", "oldest"]).map((one) => [one, known("storage.full", one) ?? one]), value["recorder.when_full"], { id: "storage-full" });
    const store = () => {
      const wanted = { "recorder.enabled": enabled.checked, "recorder.max_size": size.value(), "recorder.max_age": age.value(), "recorder.when_full": full.value() };
      const changes = Object.fromEntries(Object.entries(wanted).filter(([key, one]) => one !== value[key]));
      if (!Object.keys(changes).length) return said.good(t("nothing-changed"));
      return said.of(put("/api/settings", changes), t("restarts")).then(look);
    };
    form.replaceChildren(
      h("label", { class: "choice" }, enabled, h("span", { text: t("storage.enabled") })),
      size.element,
      age.element,
      full.element,
      h("div", { class: "row" }, button(t("keep"), store, { kind: "main", id: "storage-keep" })),
    );
  }

  look();
  return { element: h("div", { class: "stack" }, h("p", { text: t("storage.what") }), form, said.element, room) };
}

function ageWords(age) {
  const days = /^(\d+) days$/.exec(age);
  return age === "unlimited" ? t("storage.for-ever") : days ? t("days", { n: days[1] }) : age;
}

/** Every key by section; the device's help is English. */
export function settingsPart() {
  const said = outcome();
  const list = h("div", { class: "stack", id: "settings" });

  async function look() {
    try {
      const { keys } = await get("/api/settings");
      const sections = [...new Set(keys.map((one) => one.section))];
      list.replaceChildren(
        ...sections.map((section) =>
          h("details", { class: "section" }, h("summary", {}, h("code", { dir: "ltr", text: section })), keys.filter((one) => one.section === section).map(row)),
        ),
      );
    } catch (error) {
      said.refused(error);
    }
  }

  function row(key) {
    const id = `key-${key.key}`;
    const control =
      key.kind === "flag"
        ? h("input", { type: "checkbox", id, checked: key.value })
        : key.choices
          ? h("select", { id }, key.choices.map((one) => h("option", { value: one, text: one, selected: one === key.value })))
          : h("input", { type: "text", id, dir: "ltr", value: key.value ?? key.unset ?? "", autocomplete: "off", spellcheck: "false" });
    control.disabled = Boolean(key.fixed); // given on the command line of this run
    // A number stays a number, whatever the field makes of it: the file's reader tells 4 from "4".
    const value = () => (key.kind === "flag" ? control.checked : typeof key.value === "number" ? Number(control.value) : control.value);
    const store = async () => {
      await said.of(put("/api/settings", { [key.key]: value() }), t("restarts"));
      said.element.scrollIntoView({ block: "nearest" });
    };
    const origin = key.own ? t("settings.from.page") : (known("settings.from", key.from) ?? key.from ?? "");
    return h(
      "div",
      { class: "setting" },
      h("label", { for: id }, h("code", { dir: "ltr", text: key.key })),
      english(key.help ?? "", "small"),
      h("div", { class: "row" }, control, button(t("keep"), store, { "aria-label": `${t("keep")}: ${key.key}` })),
      h("small", { class: "origin", text: t("settings.default", { value: String(key.default ?? key.unset ?? ""), from: origin }) }),
    );
  }

  look();
  return { element: h("div", { class: "stack" }, h("p", { text: t("settings.what") }), said.element, list) };
}
