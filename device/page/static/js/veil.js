// The dead man's switch. Should the page's own script hang, its timers do not cover the verdict any more; this does: an
// animation that the browser's compositor runs without any script, and that each message puts back to its beginning.

import { h } from "./dom.js";
import { SILENT_MS } from "./live.js";
import { t } from "./texts.js";

/** A cover that appears by itself when `alive()` is not called for twice the time of live.SILENT_MS. */
export function veil() {
  const element = h("div", { class: "veil", "aria-hidden": "true" }, h("span", { text: t("cover.silent") }));
  const rising = element.animate([{ opacity: 0 }, { opacity: 1 }], { delay: 2 * SILENT_MS, duration: 1, fill: "both" });
  return {
    element,
    alive() {
      rising.currentTime = 0;
      rising.play();
    },
  };
}
