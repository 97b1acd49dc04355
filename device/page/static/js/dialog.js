// One question, two buttons. Opened as a modal dialog, which the browser itself keeps the focus in; its backdrop is
// clear, so that the notice and the verdict stay to be seen.

import { button, h } from "./dom.js";
import { t } from "./texts.js";

/** Ask; true when the person goes on. detail: a second sentence. danger: the answer cannot be undone. */
export function sure(question, go, { danger = false, detail = null } = {}) {
  return new Promise((answered) => {
    const title = h("h2", { id: "dialog-title", text: question });
    const yes = button(go, () => dialog.close("yes"), { kind: danger ? "danger" : "main", id: "dialog-yes" });
    const no = button(t("cancel"), () => dialog.close("no"), { id: "dialog-no" });
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" }, title, detail && h("p", { text: detail }), h("div", { class: "row" }, no, yes));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answered(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}
