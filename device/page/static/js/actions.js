// Freeze, sweep, save, discard, and what was answered: the answer stays until the next one, for gloves are slow.

import { button, english, h, mark, refusal, say, show } from "./dom.js";
import { post, Refused } from "./api.js";
import { sure } from "./dialog.js";
import { number, t } from "./texts.js";

/** The bar of buttons and the line of answers. now(): the latest snapshot. */
export function actions(now) {
  const answer = h("p", { class: "answer", id: "answer", role: "status", "aria-live": "polite" });
  const freeze = button(t("freeze"), () => run(hold), { picture: "freeze", kind: "main", id: "freeze", "aria-pressed": "false" });
  const sweep = button(t("sweep.begin"), () => run(markSweep), { picture: "sweep", id: "mark" });
  const save = button(t("save"), () => run(saveIt), { picture: "save", id: "save" });
  const discard = button(t("discard"), () => run(discardIt), { picture: "discard", id: "discard" });
  const all = [freeze, sweep, save, discard];
  let busy = false;

  async function run(call) {
    if (busy) return; // a glove taps twice
    busy = true;
    try {
      const said = await call();
      if (said) tell("good", said);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      tell("bad", ...refusal(error));
    } finally {
      busy = false;
    }
  }

  function tell(kind, ...parts) {
    mark(answer, "kind", kind);
    answer.replaceChildren(...parts);
  }

  async function hold() {
    const { held } = await post("/api/hold", { held: !now()?.held });
    return held ? t("answer.held") : t("answer.going-on");
  }

  async function markSweep() {
    const done = await post("/api/mark");
    if (done.running) return t("answer.sweep-begun");
    return done.number == null ? t("answer.sweep-ended") : t("answer.sweep-saved", { number: done.number });
  }

  async function saveIt() {
    const done = await post("/api/save");
    return done.number == null ? t("answer.saved") : t("answer.saved-as", { number: done.number });
  }

  async function discardIt() {
    const last = now()?.recorder?.last;
    const question = !now()?.held && last?.number != null ? t("discard-saved", { number: last.number }) : t("discard-held");
    if (!(await sure(question, t("discard"), { danger: true }))) return null;
    const done = await post("/api/discard");
    return done.dropped === "saved" ? t("answer.discarded-item", { number: done.number ?? "" }) : t("answer.discarded-held");
  }

  return {
    bar: h("div", { class: "actions", role: "group", "aria-label": t("actions") }, all),
    answer,
    update(snapshot, cover) {
      const away = cover === "disconnected" || cover === "connecting" || cover === "silent";
      const nothing = cover !== null;
      const held = Boolean(snapshot?.held);
      say(freeze.querySelector("span"), held ? t("go-on") : t("freeze"));
      freeze.setAttribute("aria-pressed", held);
      const sweeping = snapshot?.sweep?.running;
      say(sweep.querySelector("span"), sweeping ? t("sweep.end", { n: number(snapshot.sweep.frames ?? 0) }) : t("sweep.begin"));
      mark(sweep, "running", sweeping ? "yes" : null);
      freeze.disabled = away || (nothing && !held);
      sweep.disabled = away;
      save.disabled = nothing;
      discard.disabled = away;
      const last = snapshot?.recorder?.last;
      show(answer, true);
      if (last && last.ok === false && last.error && answer.dataset.told !== last.error) {
        answer.dataset.told = last.error; // what the device could not save by itself
        tell("bad", english(last.error));
      }
    },
  };
}
