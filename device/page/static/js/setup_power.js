// Version and update; start again; switch off; and what to send to whoever helps.

import { button, h } from "./dom.js";
import { post, session } from "./api.js";
import { sure } from "./dialog.js";
import { outcome } from "./form.js";
import { t } from "./texts.js";

export function powerPart() {
  const said = outcome();
  const again = async () => (await sure(t("power.reboot-sure"), t("power.reboot"))) && said.of(post("/api/reboot"), t("power.rebooting"));
  const off = async () => (await sure(t("power.off-sure"), t("power.off"), { danger: true })) && said.of(post("/api/poweroff"), t("power.going-off"));
  return {
    element: h(
      "div",
      { class: "stack" },
      h("p", { class: "fact" }, t("update.version", { version: session.version })),
      h("p", { text: t("update.by-hand") }),
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
