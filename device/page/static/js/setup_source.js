// Where the picture comes from, with the picture that it gives.

import { button, english, h, mark, say } from "./dom.js";
import { get, put } from "./api.js";
import { outcome } from "./form.js";
import { livePicture } from "./picture.js";
import { told } from "./verdict.js";
import { known, t } from "./texts.js";

export function sourcePart({ live }) {
  const said = outcome();
  const list = h("div", { class: "sources", id: "sources" });
  const state = h("p", { class: "signal", id: "source-signal" });
  const preview = livePicture();

  async function look() {
    said.busy(t("source.looking"));
    try {
      const { sources } = await get("/api/sources");
      list.replaceChildren(...sources.map(card));
      said.clear();
    } catch (error) {
      said.refused(error);
    }
  }

  function card(source) {
    const name = known("source-kind", source.kind) ?? source.kind;
    return h(
      "div",
      { class: "source", "data-current": source.current ? "yes" : null },
      h("div", {}, h("strong", { text: name }), english(source.name ?? "", "p"), source.detail && english(source.detail, "small")),
      source.current
        ? h("p", { class: "badge", text: t("source.current") })
        : button(t("source.take"), () => said.of(put("/api/settings", source.settings), t("restarts")).then(look), { kind: "main" }),
    );
  }

  look();
  return {
    element: h("div", { class: "stack" }, h("div", { class: "preview" }, preview.element), state, list, said.element, button(t("source.again"), look)),
    draw: preview.draw,
    update(snapshot, cover) {
      preview.update(snapshot, cover, told(snapshot, cover));
      const now = snapshot?.signal?.state;
      mark(state, "state", now === "ok" && cover === null ? "ok" : "bad");
      say(state, `${t("signal-title")}: ${now ? (known("signal", now) ?? now) : t("unknown")}`);
    },
  };
}
