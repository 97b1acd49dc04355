// Plots as SVG, made here: one quantity each, its own scale, and a gap where nothing was known.

import { h, s } from "./dom.js";
import { known, number, percent, t } from "./texts.js";

const WIDTH = 600;
const HEIGHT = 110;
const PAD = { left: 44, right: 8, top: 8, bottom: 20 };

/** points: [{at: unix seconds, value: number|null}]; span: seconds that the axis covers. */
export function linePlot({ title, unit, points, span, digits = 0, floor = 0, ceiling = null }) {
  const there = points.filter((point) => point.value != null);
  const figure = h("figure", { class: "plot" });
  const caption = h("figcaption", { text: title });
  if (!there.length) {
    figure.append(caption, h("p", { class: "empty", text: t("plot.nothing") }));
    return figure;
  }
  const values = there.map((point) => point.value);
  const last = points.at(-1).at;
  const low = Math.min(floor, ...values);
  const high = ceiling ?? nice(Math.max(...values, low + 1));
  const x = (at) => PAD.left + (1 - (last - at) / span) * (WIDTH - PAD.left - PAD.right);
  const y = (value) => HEIGHT - PAD.bottom - ((value - low) / (high - low)) * (HEIGHT - PAD.top - PAD.bottom);
  const words = t("plot.words", { title, now: number(values.at(-1), digits), low: number(Math.min(...values), digits), high: number(Math.max(...values), digits), unit });
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words, direction: "ltr" });
  for (const value of [low, (low + high) / 2, high]) {
    drawing.append(s("line", { class: "grid", x1: PAD.left, x2: WIDTH - PAD.right, y1: y(value), y2: y(value) }), s("text", { class: "tick", x: PAD.left - 6, y: y(value) + 4, "text-anchor": "end", text: number(value, high - low < 4 ? 1 : 0) }));
  }
  for (const share of [1, 0.5, 0]) {
    const label = share === 0 ? t("timeline.now") : `−${number((share * span) / 60)} min`;
    const anchor = { 1: "start", 0.5: "middle", 0: "end" }[share];
    drawing.append(s("text", { class: "tick", x: x(last - share * span), y: HEIGHT - 4, "text-anchor": anchor, text: label }));
  }
  drawing.append(s("path", { class: "line", d: path(points, x, y, span, last) }));
  figure.append(h("figcaption", {}, title, " ", h("strong", { class: "tabular", text: `${number(values.at(-1), digits)} ${unit}` })), drawing);
  return figure;
}

function path(points, x, y, span, last) {
  let pen = false;
  const parts = [];
  for (const { at, value } of points) {
    if (value == null || last - at > span) {
      pen = false;
      continue;
    }
    parts.push(`${pen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}${pen ? "" : "h0.1"}`);
    pen = true;
  }
  return parts.join("");
}

/** The next of 1, 2, 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-6)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
}

/** The verdicts of a study in the order they were saved: a bar as high as P(malignant), in the verdict's colour. */
export function history(items) {
  const width = 40;
  const whole = Math.max(1, items.length) * width;
  const told = items.map((item) => `${item.number}: ${known("verdict", item.shown) ?? t("studies.no-verdict")}`).join(", ");
  const drawing = s("svg", { class: "history-plot", viewBox: `0 0 ${whole} 60`, role: "img", "aria-label": `${t("history.title")}: ${told}` });
  items.forEach((item, i) => {
    const p = item.shown_probabilities?.malignant;
    const tall = p == null ? 6 : Math.max(4, 40 * p);
    drawing.append(s("rect", { class: "history-bar", "data-label": item.shown ?? "nothing", x: i * width + 8, y: 44 - tall, width: width - 16, height: tall }), s("text", { class: "tick", x: i * width + width / 2, y: 57, "text-anchor": "middle", text: number(item.number) }));
    if (p != null) drawing.append(s("title", { text: percent(p) }));
  });
  drawing.style.setProperty("max-inline-size", `${whole * 1.4}px`);
  return h("figure", { class: "history", id: "history" }, h("figcaption", { text: t("history.title") }), drawing);
}
