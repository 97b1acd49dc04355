// Version and update; start again; switch off; and what to send to whoever helps.

import { button, english, h } from "./dom.js";
import { ask, get, post, Refused, session } from "./api.js";
import { sure } from "./dialog.js";
import { outcome } from "./form.js";
import { number, t } from "./texts.js";

const MOST_BYTES = 258e6;

export function powerPart() {
  const said = outcome();
  const again = async () => (await sure(t("power.reboot-sure"), t("power.reboot"))) && said.of(post("/api/reboot"), t("power.rebooting"));
  const off = async () => (await sure(t("power.off-sure"), t("power.off"), { danger: true })) && said.of(post("/api/poweroff"), t("power.going-off"));
  return {
    element: h(
      "div",
      { class: "stack" },
      updatePart(),
      h("h3", { text: t("power.title") }),
      h("p", { text: t("power.what") }),
      h("div", { class: "row" }, button(t("power.reboot"), again, { id: "reboot" }), button(t("power.off"), off, { kind: "danger", id: "poweroff" })),
      said.element,
    ),
  };
}

/** The version that runs, another one from a file or a memory stick, and the one before again. */
function updatePart() {
  const said = outcome("update-outcome");
  const state = h("div", { class: "stack", id: "update" }, h("p", { class: "fact" }, t("update.version", { version: session.version })));
  const file = h("input", { type: "file", id: "update-file", accept: ".update" });
  const send = button(t("update.send"), upload, { kind: "main", id: "update-send" });

  async function look() {
    let now;
    try {
      now = await get("/api/update");
    } catch (error) {
      return said.refused(error);
    }
    if (!now.available) return state.append(h("p", { text: t("update.by-hand") }));
    const { current, previous, running } = now;
    if (current.state === "unfit") state.append(h("p", {}, t("update.undone"), " ", english(current.why, "span")));
    if (running.state === "trial") state.append(h("p", { text: t("update.trial") }));
    const stick = now.stick.file && button(t("update.from-stick", { version: now.stick.version }), fromStick, { id: "update-stick" });
    const back = button(t("update.back"), rollback, { id: "update-back", disabled: current.slot === previous.slot || current.state === "unfit" || previous.state === "unfit" });
    state.append(h("p", { text: t("update.what") }), h("label", { class: "field" }, h("span", { text: t("update.file") }), file), h("div", { class: "row" }, send, stick, back));
  }

  const installed = (answer) => t("update.installed", { version: answer.version });

  async function upload() {
    const chosen = file.files[0];
    if (!chosen) return said.refused(new Refused(400, { code: "no_file" }));
    if (chosen.size > MOST_BYTES) return said.refused(new Refused(413, { code: "too_large" }));
    if (!(await sure(t("update.sure"), t("update.send")))) return;
    const body = new FormData();
    body.append("update", chosen, chosen.name);
    const answer = said.of(ask("POST", "/api/update", body), installed);
    said.busy(t("update.sending", { n: number(chosen.size / 1e6, 0) }));
    await answer;
    file.value = "";
  }

  async function fromStick() {
    if (await sure(t("update.sure"), t("update.send"))) await said.of(post("/api/update/stick"), installed);
  }

  async function rollback() {
    if (await sure(t("update.back-sure"), t("update.back"))) await said.of(post("/api/update/rollback"), (answer) => t("update.rolled-back", { version: answer.version }));
  }

  look();
  return h("div", { class: "stack" }, state, said.element);
}

export function supportPart() {
  return {
    element: h("div", { class: "stack" }, h("p", { text: t("support.what") }), h("p", { text: t("support.without") }), h("div", { class: "row" }, h("a", { class: "button main", href: "/api/support.zip", download: "busi-kd-support.zip", id: "support-download", text: t("support.download") }))),
  };
}
