// The main view: picture, verdict, bars, the last minute, and the buttons.

import { english, h, mark, say, show } from "./dom.js";
import { actions } from "./actions.js";
import { warnings } from "./condition.js";
import { livePicture } from "./picture.js";
import { timeline } from "./timeline.js";
import { veil } from "./veil.js";
import { bars, told, verdictPanel } from "./verdict.js";
import { known, number, t } from "./texts.js";

/** Build it. context: {live, watcher}; returns {element, update, draw, stop}. */
export function mainView({ live, watcher }) {
  const picture = livePicture();
  const verdict = verdictPanel();
  const likely = bars();
  const strip = timeline();
  const alarms = warnings();
  const does = watcher ? null : actions(() => live().snapshot);
  const signal = h("p", { class: "signal", id: "signal" });
  const quality = h("p", { class: "fact", id: "quality" });
  const model = h("p", { class: "fact", id: "model" }, `${t("model-title")}: `);
  const named = english("");
  model.append(named);
  const cautions = h("p", { class: "fact caution", id: "cautions", lang: "en", dir: "ltr" });
  const veils = [veil(), veil()];
  picture.element.append(veils[0].element);
  verdict.element.append(veils[1].element);
  let heard = null;
  const side = h("div", { class: "side", tabindex: "0", role: "region", "aria-label": t("side") }, verdict.element, likely.element, h("div", { class: "facts" }, signal, quality, model, cautions));
  const element = h(
    "div",
    { class: "main-view", "data-watcher": watcher ? "yes" : null },
    h("h1", { class: "unseen", text: t("view.main") }),
    alarms.element,
    picture.element,
    side,
    strip.element,
    does && h("div", { class: "does" }, does.answer, does.bar),
  );
  alarms.element.hidden = true;

  return {
    element,
    draw: picture.draw,
    stop: strip.stop,
    update(snapshot, cover) {
      const now = told(snapshot, cover);
      const away = cover === "disconnected" || cover === "connecting" || cover === "silent";
      if (live().heard !== heard || cover !== null) veils.forEach((one) => one.alive()); // covered already: no second word
      heard = live().heard;
      verdict.update(snapshot, cover);
      likely.update(snapshot, cover);
      picture.update(snapshot, cover, now);
      alarms.update(snapshot, !away);
      does?.update(snapshot, cover);
      const state = away ? null : (snapshot?.signal?.state ?? null);
      mark(signal, "state", state === "ok" ? "ok" : "bad");
      say(signal, `${t("signal-title")}: ${state === null ? t("unknown") : (known("signal", state) ?? state)}`);
      const seen = cover === null ? snapshot.quality?.state : null;
      say(quality, `${t("quality-title")}: ${seen ? (known("quality", seen) ?? seen) : t("unknown")}`);
      say(named, snapshot?.model ? modelWords(snapshot) : "–");
      show(cautions, Boolean(snapshot?.cautions?.length));
      say(cautions, (snapshot?.cautions ?? []).join(" "));
    },
  };
}

function modelWords({ model, latency_ms: latency }) {
  const name = [model.name, model.id, model.variant].filter(Boolean).join(" · ");
  return `${name}${latency == null ? "" : ` · ${number(latency)} ms`}`;
}
