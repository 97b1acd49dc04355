// The model that judges: which one, whose, another one from a file, and the one before again.

import { button, english, h } from "./dom.js";
import { ask, get, post, Refused } from "./api.js";
import { sure } from "./dialog.js";
import { outcome } from "./form.js";
import { number, t } from "./texts.js";

const MOST_BYTES = 30e6;

export function modelPart() {
  const said = outcome();
  const facts = h("div", { class: "stack", id: "models" });
  const file = h("input", { type: "file", id: "model-file", accept: ".zip,application/zip" });
  const send = button(t("model.send"), upload, { kind: "main", id: "model-send" });
  const back = button(t("model.back"), rollback, { id: "model-back", disabled: true });

  async function look() {
    try {
      const { models, current, previous } = await get("/api/models");
      back.disabled = !previous;
      const listed = models.some((one) => one.id === current?.id);
      const all = current && !listed ? [{ ...current, which: "running" }, ...models] : models; // one given for this run
      facts.replaceChildren(...all.map((one) => about(one, one.id !== undefined && one.id === current?.id)));
    } catch (error) {
      said.refused(error);
    }
  }

  function about(model, runs) {
    const title = t(`model.${model.which}`);
    if (model.error) return h("p", {}, `${title}: `, english(model.error));
    const signed = model.signed_by ? t("model.signed", { by: model.signed_by }) : t("model.unsigned");
    return h("dl", { class: "pairs" }, pair(title, english(model.name ?? "?", "span")), pair(t("model.id"), english([model.id, model.variant].filter(Boolean).join(" · "), "code")), pair(t("model.signature"), signed), runs && h("div", {}, h("dt", { class: "badge", text: t("model.runs") }), h("dd")));
  }

  const pair = (name, value) => h("div", {}, h("dt", { text: name }), h("dd", {}, value));

  async function upload() {
    const chosen = file.files[0];
    if (!chosen) return said.refused(new Refused(400, { code: "no_file" }));
    if (chosen.size > MOST_BYTES) return said.refused(new Refused(413, { code: "too_large" }));
    const body = new FormData();
    body.append("bundle", chosen, chosen.name);
    said.busy(t("model.sending", { n: number(chosen.size / 1e6, 1) }));
    const answer = await said.of(ask("POST", "/api/models", body), t("model.installed"));
    if (answer?.warning) said.element.append(" ", english(answer.warning));
    file.value = "";
    look();
  }

  async function rollback() {
    if (!(await sure(t("model.back-sure"), t("model.back")))) return;
    await said.of(post("/api/models/rollback"), t("model.rolled-back"));
    look();
  }

  look();
  return {
    element: h("div", { class: "stack" }, facts, h("p", { text: t("model.what") }), h("label", { class: "field" }, h("span", { text: t("model.file") }), file), h("div", { class: "row" }, send, back), said.element),
  };
}
