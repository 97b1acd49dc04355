// What the machine says of itself: battery, temperature, judged frames per second. Unknown is said, never zero.

import { h, icon, mark, say, show } from "./dom.js";
import { known, number, t } from "./texts.js";

const LOW = 20;
const VERY_LOW = 10;
const HOT = 75; // degrees; the firmware slows the processor at 80

/** The line of the header. */
export function condition() {
  const parts = {};
  const chip = (name, picture) => {
    const value = h("span", { class: "chip-value", dir: "ltr" });
    parts[name] = { value, chip: h("li", { class: "chip", id: `chip-${name}` }, icon(picture), h("span", { class: "unseen", text: `${t(`machine.${name}`)}: ` }), value) };
    return parts[name].chip;
  };
  const element = h("ul", { class: "chips", "aria-label": t("machine.title") }, chip("battery", "battery"), chip("temperature", "temperature"), chip("fps", "speed"));
  return {
    element,
    update(snapshot, fresh) {
      const machine = (fresh && snapshot?.machine) || {};
      say(parts.battery.value, batteryWords(machine));
      mark(parts.battery.chip, "level", level(machine));
      say(parts.temperature.value, machine.temperature_c == null ? "– °C" : `${number(machine.temperature_c)} °C`);
      mark(parts.temperature.chip, "level", machine.temperature_c >= HOT ? "low" : null);
      say(parts.fps.value, `${fresh && snapshot?.fps != null ? number(snapshot.fps) : "–"} /s`);
    },
  };
}

export function level(machine) {
  if (machine.battery_percent == null || machine.charging) return null;
  return machine.battery_percent < VERY_LOW ? "very-low" : machine.battery_percent < LOW ? "low" : null;
}

function batteryWords(machine) {
  if (machine.battery_percent == null) return "– %";
  return `${number(machine.battery_percent)} %${machine.charging ? " +" : ""}`;
}

/** The lines in words, above everything: a low battery, heat, a weak supply, and why fewer frames are judged. */
export function warnings() {
  const list = h("ul", { class: "warnings", id: "warnings", "aria-live": "polite" });
  let shown = "";
  return {
    element: list,
    update(snapshot, fresh) {
      const lines = fresh && snapshot?.machine ? sentences(snapshot.machine) : [];
      const now = JSON.stringify(lines);
      if (now === shown) return;
      shown = now;
      show(list, lines.length > 0);
      list.replaceChildren(...lines.map(([kind, text]) => h("li", { class: "warning", "data-kind": kind }, icon(kind === "battery" ? "battery" : "problem"), h("span", { text }))));
    },
  };
}

function sentences(machine) {
  const lines = [];
  const flags = (machine.throttled ?? []).filter((flag) => !flag.endsWith("-since-boot"));
  if (level(machine) !== null) {
    const percent = number(machine.battery_percent);
    const minutes = machine.battery_minutes;
    lines.push(["battery", minutes == null ? t("battery-low", { percent }) : t("battery-low-minutes", { percent, minutes: number(minutes) })]);
  }
  for (const flag of flags) lines.push([flag, known("machine-flag", flag) ?? flag]);
  const causes = (machine.limited_by ?? []).filter((cause) => !flags.includes(cause));
  if (machine.governor_fps != null && causes.length) {
    const why = causes.map((cause) => known("limit", cause) ?? known("machine-flag", cause) ?? cause).join(", ");
    lines.push(["limit", t("limited", { fps: number(machine.governor_fps), why })]);
  }
  return lines;
}
