// The last 60 seconds: a row of cells. Each verdict has its colour and its height, so that it is told without colour as
// well; where there was no picture it is hatched. Drawn on a canvas; what it says is also told in words.

import { h, say } from "./dom.js";
import { get } from "./api.js";
import { known, number, t } from "./texts.js";

const EVERY_MS = 1000;
const SECONDS = 60;
const HEIGHTS = { malignant: 1, benign: 0.55, normal: 0.25 };

/** The strip; `stop()` ends its asking. */
export function timeline() {
  const canvas = h("canvas", { class: "strip-canvas", width: 600, height: 40, "aria-hidden": "true" });
  const words = h("p", { class: "unseen", id: "timeline-words" });
  const ends = h("div", { class: "strip-ends", "aria-hidden": "true" }, h("span", { text: t("timeline.then") }), h("span", { text: t("timeline.now") }));
  const element = h("section", { class: "strip", id: "timeline", "aria-label": t("timeline.title") }, canvas, ends, words);
  let told = 0;

  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await get("/api/timeline");
      draw(canvas, answer.points, answer.step_s, answer.at);
      element.dataset.points = answer.points.length;
      if (performance.now() - told > 5000) {
        told = performance.now();
        say(words, inWords(answer.points, answer.step_s));
      }
    } catch {
      draw(canvas, [], 0.5); // the main view says that the connection is gone
    }
  }

  const timer = setInterval(refresh, EVERY_MS);
  refresh();
  return { element, stop: () => clearInterval(timer) };
}

function inWords(points, step) {
  const seconds = {};
  for (const point of points) {
    const what = point.state === "ok" && point.label ? point.label : "nothing";
    seconds[what] = (seconds[what] ?? 0) + step;
  }
  const parts = Object.entries(seconds).map(([label, n]) => `${known("verdict", label) ?? t("timeline.nothing")} ${t("seconds", { n: number(n) })}`);
  return parts.length ? parts.join(", ") : t("timeline.empty");
}

/** points: of /api/timeline. The newest stands where a line of text ends. */
export function draw(canvas, points, step, now) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const backwards = style.direction === "rtl";
  const latest = now ?? points.at(-1)?.at ?? 0;
  context.clearRect(0, 0, width, height);
  for (const [i, point] of points.entries()) {
    const end = 1 - (latest - point.at) / SECONDS;
    if (end <= 0) continue;
    // From the point before it, for points come a little early or late; what is missing stays empty.
    const since = i ? point.at - points[i - 1].at : step;
    const cell = (width * (since < 3 * step ? since : step)) / SECONDS;
    const left = backwards ? width * (1 - end) : width * end - cell;
    const seen = point.state === "ok" && point.label;
    if (!seen) {
      hatch(context, left, cell, height, colour("faint"));
      continue;
    }
    context.fillStyle = colour(point.label);
    const tall = (HEIGHTS[point.label] ?? 0) * height;
    if (tall) context.fillRect(left, height - tall, cell + 0.5, tall);
    else context.fillRect(left, height / 2 - 2 * scale, cell + 0.5, 4 * scale); // cannot say: a line in the middle
  }
}

function hatch(context, left, cell, height, colour) {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(left, height);
  context.lineTo(left + cell, 0);
  context.stroke();
}
