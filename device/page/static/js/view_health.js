// The health view: what the doctor found, the last hour, and the end of the journal.

import { button, english, h, icon, refusal } from "./dom.js";
import { get, Refused } from "./api.js";
import { outcome } from "./form.js";
import { linePlot } from "./plot.js";
import { known, number, t } from "./texts.js";

const SPAN_S = 3600;
const EVERY_MS = 10000;
const GAP = 3; // steps without a point that are a gap
const PLOTS = [
  { key: "temperature_c", unit: "°C", floor: 20 },
  { key: "cpu_percent", unit: "%", ceiling: 100 },
  { key: "fps", unit: "FPS", digits: 1 },
  { key: "latency_ms", unit: "ms" },
  { key: "battery_percent", unit: "%", ceiling: 100 },
];
const ORDER = ["problem", "unknown", "note", "ok"];

export function healthView() {
  const said = outcome();
  const checks = h("ul", { class: "checks", id: "checks" }, h("li", { text: t("working") }));
  const summary = h("p", { class: "big-words", id: "doctor-summary", role: "status" });
  const plots = h("div", { class: "plots", id: "plots" });
  const journal = h("pre", { class: "journal", id: "journal", tabindex: "0", role: "region", "aria-label": t("health.journal"), lang: "en", dir: "ltr" });

  async function doctor() {
    try {
      const found = (await get("/api/doctor")).checks;
      const sorted = [...found].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
      checks.replaceChildren(...sorted.map(check));
      const problems = found.filter((one) => one.state === "problem").length;
      summary.textContent = problems ? t("health.problems", { n: number(problems) }) : t("health.well");
      summary.dataset.kind = problems ? "bad" : "good";
    } catch (error) {
      said.refused(error);
    }
  }

  function check({ name, state, says, do: todo }) {
    return h("li", { class: "check", "data-state": state }, icon(state), h("div", {}, h("p", {}, h("strong", { text: `${known("doctor-check", name) ?? name}: ${known("doctor", state) ?? state}` })), english(says, "p"), todo && h("p", {}, `${t("health.do")} `, english(todo))));
  }

  async function telemetry() {
    if (document.hidden) return;
    try {
      const { points, step_s: step } = await get("/api/telemetry");
      const filled = gaps(points, step ?? 10);
      plots.replaceChildren(...PLOTS.map(({ key, ...how }) => linePlot({ title: t(`plot.${key}`), span: SPAN_S, points: filled.map((point) => ({ at: point.at, value: point[key] ?? null })), ...how })));
    } catch (error) {
      said.refused(error);
    }
  }

  async function tail() {
    try {
      const { lines } = await get("/api/journal?lines=200");
      const atEnd = journal.scrollTop + journal.clientHeight >= journal.scrollHeight - 8;
      journal.textContent = (lines ?? []).join("\n") || t("health.no-journal");
      if (atEnd) journal.scrollTop = journal.scrollHeight;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      journal.replaceChildren(...refusal(error));
    }
  }

  const all = () => Promise.all([doctor(), telemetry(), tail()]);
  const timer = setInterval(() => Promise.all([telemetry(), tail()]), EVERY_MS);
  all();
  return {
    element: h(
      "div",
      { class: "health-view" },
      h("h1", { text: t("view.health") }),
      said.element,
      h("section", { class: "card", "aria-labelledby": "doctor-title" }, h("div", { class: "row spread" }, h("h2", { id: "doctor-title", text: t("health.doctor") }), button(t("health.again"), all, { id: "doctor-again" })), summary, checks),
      h("section", { class: "card", "aria-labelledby": "plots-title" }, h("h2", { id: "plots-title", text: t("health.hour") }), plots),
      h("section", { class: "card", "aria-labelledby": "journal-title" }, h("h2", { id: "journal-title", text: t("health.journal") }), journal),
    ),
    update() {},
    draw() {},
    stop: () => clearInterval(timer),
  };
}

/** Where points are missing, one with nothing: a line must not be drawn across what nobody measured. */
function gaps(points, step) {
  return points.flatMap((point, i) => (i && point.at - points[i - 1].at > GAP * step ? [{ at: point.at - step }, point] : [point]));
}
