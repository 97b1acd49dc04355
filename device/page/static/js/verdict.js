// The verdict: one word, one shape, one colour, and below it how likely each class is. Or why there is none.

import { h, mark, say, show } from "./dom.js";
import { shape } from "./shapes.js";
import { known, percent, t } from "./texts.js";

const ANNOUNCE_MS = 1500; // a reader hears what has stood for so long, not fifteen words a second

/** What to show for a snapshot: {label, word, why, hint}. cover: of live.outdated. */
export function told(snapshot, cover) {
  if (cover === "signal") {
    const { state, detail } = snapshot.signal;
    return { label: "nothing", word: known("signal", state) ?? t("signal.other"), why: t("no-verdict"), hint: known("signal-hint", state) ?? detail };
  }
  if (cover !== null) return { label: "nothing", word: t(`cover.${cover}`), why: t("no-verdict"), hint: t(`cover-hint.${cover}`) };
  const { label, reason } = snapshot.verdict;
  const word = known("verdict", label) ?? label;
  if (label === "abstain") return { label, word, why: known("reason", reason) ?? reason ?? "", hint: known("reason-hint", reason) ?? "" };
  return { label, word, why: early(snapshot), hint: "" };
}

/** "Malignant" is said from the operating point on, which may be far below one half: then the bars need a word. */
function early(snapshot) {
  const { label, probabilities } = snapshot.verdict;
  const limit = snapshot.model?.malignant_threshold;
  const likeliest = Object.entries(probabilities ?? {}).sort((a, b) => b[1] - a[1])[0];
  if (label !== "malignant" || !likeliest || likeliest[0] === "malignant") return t("looks");
  return limit ? t("early", { limit: percent(limit) }) : t("early-unknown");
}

/** The panel; `update(snapshot, cover)` fills it. */
export function verdictPanel() {
  const picture = h("div", { class: "verdict-shape" });
  const word = h("p", { class: "verdict-word" });
  const why = h("p", { class: "verdict-why" });
  const frozen = h("p", { class: "frozen-tag", text: t("frozen") });
  const spoken = h("p", { class: "unseen", role: "status", "aria-live": "polite", id: "spoken" });
  const panel = h("section", { class: "verdict", id: "verdict", "aria-label": t("verdict-panel") }, picture, h("div", { class: "verdict-words" }, word, why, frozen), spoken);
  const announce = announcer(spoken);
  let drawn = null;
  return {
    element: panel,
    update(snapshot, cover) {
      const now = told(snapshot, cover);
      if (now.label !== drawn) {
        picture.replaceChildren(shape(now.label));
        drawn = now.label;
      }
      mark(panel, "label", now.label);
      mark(panel, "cover", cover);
      say(word, now.word);
      say(why, [now.why, now.hint].filter(Boolean).join(" "));
      show(frozen, Boolean(snapshot?.held) && cover === null);
      announce([snapshot?.held && cover === null ? t("frozen") : "", now.word, now.label === "nothing" || now.label === "abstain" ? now.why : ""].filter(Boolean).join(". "));
    },
  };
}

function announcer(element) {
  let waiting = null;
  let since = 0;
  return (text) => {
    const now = performance.now();
    if (text !== waiting) [waiting, since] = [text, now];
    if (now - since >= ANNOUNCE_MS) say(element, waiting);
  };
}

/** The bars; `update(snapshot, cover)` fills them. They keep their height, whatever they show. */
export function bars() {
  const list = h("dl", { class: "bars", id: "bars", "aria-label": t("probabilities") });
  let names = "";
  let rows = {};
  function build(classes) {
    names = classes.join();
    rows = {};
    list.replaceChildren(
      ...classes.map((name) => {
        const fill = h("span", { class: "bar-fill" });
        const limit = h("span", { class: "bar-limit", title: t("limit") });
        const value = h("span", { class: "bar-value" });
        rows[name] = { fill, limit, value };
        const bar = h("span", { class: "bar", "aria-hidden": "true" }, fill, name === "malignant" && limit);
        return h("div", { class: "bar-row", "data-label": name }, h("dt", { text: known("verdict", name) ?? name }), h("dd", {}, bar, value));
      }),
    );
  }
  build(["benign", "malignant", "normal"]);
  return {
    element: list,
    update(snapshot, cover) {
      const classes = snapshot?.model?.classes ?? Object.keys(snapshot?.verdict?.probabilities ?? {});
      if (classes.length && classes.join() !== names) build(classes);
      const known = cover === null ? (snapshot.verdict.probabilities ?? {}) : {};
      mark(list, "empty", Object.keys(known).length ? null : "yes");
      for (const [name, row] of Object.entries(rows)) {
        const p = known[name];
        row.fill.style.setProperty("inline-size", p === undefined ? "0" : `${(100 * p).toFixed(1)}%`);
        say(row.value, p === undefined ? "–" : percent(p));
      }
      const limit = snapshot?.model?.malignant_threshold;
      if (rows.malignant) {
        show(rows.malignant.limit, Boolean(limit));
        if (limit) rows.malignant.limit.style.setProperty("inset-inline-start", `${100 * limit}%`);
      }
    },
  };
}
