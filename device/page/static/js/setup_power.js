// Version and update; start again; switch off; and what to send to whoever helps.

import { button, h } from "./dom.js";
import { ask, get, post, Refused, session } from "./api.js";
import { sure } from "./dialog.js";
import { outcome } from "./form.js";
import { t } from "./texts.js";

export function powerPart() {
  const said = outcome();
  const update = h("div", { class: "stack", id: "update" }, h("p", { text: t("update.by-hand") }));

  async function look() {
    try {
      const { can } = await get("/api/update");
      if (can) update.replaceChildren(...updater());
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // this device takes no update by the page: the sentence stands
    }
  }

  function updater() {
    const file = h("input", { type: "file", id: "update-file" });
    const send = async () => {
      if (!file.files[0]) return said.refused(new Refused(400, { code: "no_file" }));
      if (!(await sure(t("update.sure"), t("update.send")))) return null;
      const body = new FormData();
      body.append("update", file.files[0], file.files[0].name);
      return said.of(ask("POST", "/api/update", body), t("update.sent"));
    };
    return [h("label", { class: "field" }, h("span", { text: t("update.file") }), file), button(t("update.send"), send, { kind: "main" })];
  }

  const again = async () => (await sure(t("power.reboot-sure"), t("power.reboot"))) && said.of(post("/api/reboot"), t("power.rebooting"));
  const off = async () => (await sure(t("power.off-sure"), t("power.off"), { danger: true })) && said.of(post("/api/poweroff"), t("power.going-off"));
  look();
  return {
    element: h(
      "div",
      { class: "stack" },
      h("p", { class: "fact" }, t("update.version", { version: session.version })),
      update,
      h("h3", { text: t("power.title") }),
      h("p", { text: t("power.what") }),
      h("div", { class: "row" }, button(t("power.reboot"), again, { id: "reboot" }), button(t("power.off"), off, { kind: "danger", id: "poweroff" })),
      said.element,
    ),
  };
}

export function supportPart() {
  return {
    element: h("div", { class: "stack" }, h("p", { text: t("support.what") }), h("p", { text: t("support.without") }), h("div", { class: "row" }, h("a", { class: "button main", href: "/api/support.zip", download: "busi-kd-support.zip", id: "support-download", text: t("support.download") }))),
  };
}
