// Is the picture put out and taken in well? How much of it is wholly black and wholly white, counted in the picture that
// comes, with a sentence on what to do. It is counted here, in the browser, and costs the device nothing.

import { h, mark, say } from "./dom.js";
import { livePicture } from "./picture.js";
import { told } from "./verdict.js";
import { number, t } from "./texts.js";

const BLACK = 4; // grey levels up to which a place counts as wholly black, and 255 - 4 from which as wholly white
const MUCH_BLACK = 0.65;
const MUCH_WHITE = 0.05;
const DULL = 120; // when 99 places of 100 are darker than that, gain or brightness is low
const EVERY_MS = 1000;
const SIDE = 256; // places a side that are counted

/** Shares 0..1 of RGBA pixels that are black and white, and the grey level that 99 of 100 places stay below. */
export function measure(data) {
  const counts = new Uint32Array(256);
  for (let i = 0; i < data.length; i += 4) counts[(data[i] * 77 + data[i + 1] * 150 + data[i + 2] * 29) >> 8] += 1;
  const total = data.length / 4;
  const share = (low, high) => counts.slice(low, high + 1).reduce((a, b) => a + b, 0) / total;
  let left = total * 0.01;
  let top = 255;
  while (top > 0 && (left -= counts[top]) > 0) top -= 1;
  return { black: share(0, BLACK), white: share(255 - BLACK, 255), top, counts };
}

/** The sentence's key for what was measured. */
export function sentence({ black, white, top }) {
  if (white > MUCH_WHITE) return "brightness.too-bright";
  if (top < DULL) return "brightness.too-dark";
  if (black > MUCH_BLACK) return "brightness.much-black";
  return "brightness.good";
}

export function brightnessPart() {
  const preview = livePicture();
  const words = h("p", { class: "big-words", id: "brightness-words", role: "status" });
  const chart = h("canvas", { class: "histogram", width: 256, height: 60, role: "img", "aria-label": t("brightness.chart") });
  const values = { black: h("dd"), white: h("dd") };
  const copy = h("canvas", { width: SIDE, height: SIDE }).getContext("2d", { willReadFrequently: true });
  copy.imageSmoothingEnabled = false; // places are picked, not mixed: mixed ones would not be clipped any more
  let covered = true;

  function look() {
    if (covered) {
      mark(words, "kind", "bad");
      return say(words, t("brightness.no-picture"));
    }
    copy.drawImage(preview.canvas, 0, 0, SIDE, SIDE);
    const found = measure(copy.getImageData(0, 0, SIDE, SIDE).data);
    const key = sentence(found);
    mark(words, "kind", key === "brightness.good" ? "good" : "bad");
    say(words, t(key));
    for (const name of ["black", "white"]) say(values[name], `${number(100 * found[name], 1)} %`);
    bars(found.counts);
  }

  function bars(counts) {
    const context = chart.getContext("2d");
    const highest = Math.max(...counts.slice(BLACK + 1, 255 - BLACK), 1);
    context.clearRect(0, 0, 256, 60);
    context.fillStyle = getComputedStyle(chart).color;
    counts.forEach((count, level) => {
      const tall = Math.min(60, (60 * count) / highest);
      context.fillRect(level, 60 - tall, 1, tall);
    });
  }

  const timer = setInterval(look, EVERY_MS);
  return {
    element: h("div", { class: "stack" }, h("p", { text: t("brightness.what") }), h("div", { class: "preview" }, preview.element), words, chart, h("dl", { class: "pairs" }, h("dt", { text: t("brightness.black") }), values.black, h("dt", { text: t("brightness.white") }), values.white)),
    draw: preview.draw,
    update(snapshot, cover) {
      covered = cover !== null || !preview.canvas.dataset.drawn;
      preview.update(snapshot, cover, told(snapshot, cover));
    },
    stop: () => clearInterval(timer),
  };
}
