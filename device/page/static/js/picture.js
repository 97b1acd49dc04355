// The live picture on a canvas, its aspect kept, and over it the outline. It is blanked with the verdict: a picture that
// is old looks as alive as one that is not.

import { session } from "./api.js";
import { h, show, say } from "./dom.js";
import { outlineSwitch, overlay } from "./outline.js";
import { t } from "./texts.js";

/** The live picture; `draw(blob, about)` for each that comes, `update(snapshot, cover, told)` for its cover. */
export function livePicture() {
  const canvas = h("canvas", { class: "live-canvas", width: 640, height: 480, role: "img", "aria-label": t("live-picture") });
  const lines = overlay("live-overlay");
  const turned = outlineSwitch(trace);
  const watcher = session.role === "watcher"; // has nothing to press, so it always sees the line
  const word = h("p", { class: "cover-word" });
  const hint = h("p", { class: "cover-hint" });
  const cover = h("div", { class: "cover", id: "cover" }, word, hint);
  const frozen = h("p", { class: "frozen-flag", text: t("frozen") });
  const region = h("p", { class: "region-flag" });
  const box = h("div", { class: "live", id: "live" }, canvas, lines.element, region, frozen, cover);
  if (!watcher) box.insertBefore(turned.element, cover);
  const context = canvas.getContext("2d", { alpha: false });
  let busy = false;
  let next = null;
  let drawn = null; // number of the picture on the canvas
  let found = { sequence: null, outline: null }; // the outline that was told last, and of which picture

  // In its own picture alone: drawn over the next one it would lie beside the lesion while the probe moves.
  function trace() {
    const own = found.outline !== null && (watcher || turned.on()) ? found.outline : null;
    if (own === null || found.sequence === drawn) lines.put(own);
  }

  async function draw(blob, about) {
    next = [blob, about];
    if (busy) return; // the newest waits, those between are never decoded
    busy = true;
    while (next !== null) {
      const [data, told] = next;
      next = null;
      try {
        const decoded = await createImageBitmap(data);
        if (canvas.width !== decoded.width || canvas.height !== decoded.height) {
          Object.assign(canvas, { width: decoded.width, height: decoded.height });
          lines.size(decoded.width, decoded.height);
        }
        context.drawImage(decoded, 0, 0);
        decoded.close();
        drawn = told?.sequence ?? null;
        if (found.sequence !== drawn) lines.put(null);
        trace();
        canvas.dataset.drawn = Number(canvas.dataset.drawn ?? 0) + 1;
      } catch {
        // one picture that does not decode; the next one comes
      }
    }
    busy = false;
  }

  turned.element.hidden = true;
  return {
    element: box,
    canvas,
    draw,
    update(snapshot, why, told) {
      show(cover, why !== null);
      box.dataset.covered = why ?? "";
      say(word, why === null ? "" : told.word);
      say(hint, why === null ? "" : told.hint);
      const held = Boolean(snapshot?.held) && why === null;
      box.dataset.held = held ? "yes" : "";
      show(frozen, held);
      found = { sequence: snapshot?.sequence ?? null, outline: why === null ? (snapshot?.outline ?? null) : null };
      trace();
      show(turned.element, Boolean(snapshot?.model?.outlines) && why === null);
      const unsure = snapshot?.region?.region && snapshot.region.by_hand === false;
      show(region, Boolean(unsure) && why === null);
      if (unsure) say(region, t("region-found"));
    },
  };
}
