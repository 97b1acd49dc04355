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
      const [{ kinds, devices }, { keys }] = await Promise.all([get("/api/sources"), get("/api/settings")]);
      const now = Object.fromEntries(keys.map((one) => [one.key, one.value]));
      list.replaceChildren(...offered(kinds, devices, now).map(card));
      said.clear();
    } catch (error) {
      said.refused(error);
    }
  }

  /** The devices that are there, the self-test, and what is in use if it is none of them. */
  function offered(kinds, devices, now) {
    const auto = now["source.kind"] === "v4l2" && !devices.some((one) => one.device === now["source.device"]);
    const sources = devices.map(({ kind, device, name }, i) => ({
      kind,
      name,
      detail: device,
      current: now["source.kind"] === kind && (auto ? i === 0 : now["source.device"] === device),
      settings: { "source.kind": kind, "source.device": device },
    }));
    for (const kind of ["picamera2", "phantom"]) if (kinds.includes(kind)) sources.push({ kind, settings: { "source.kind": kind } });
    const other = { kind: now["source.kind"], detail: now["source.path"] ?? now["source.device"] };
    for (const one of sources) one.current ??= one.kind === other.kind;
    return sources.some((one) => one.current) ? sources : [{ ...other, current: true }, ...sources];
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
