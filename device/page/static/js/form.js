// What the setup's parts share: a line for what was answered, and fields with a label.

import { h, mark, refusal } from "./dom.js";
import { Refused } from "./api.js";
import { t } from "./texts.js";

/** A line that says what came of an action. `good(text)`, `refused(error)`, `clear()`. */
export function outcome(id = "outcome") {
  const element = h("p", { class: "answer", id, role: "status", "aria-live": "polite" });
  const put = (kind, ...parts) => {
    mark(element, "kind", kind);
    element.replaceChildren(...parts);
  };
  const self = {
    element,
    good: (text) => put("good", text),
    busy: (text) => put("busy", text),
    clear: () => put(null),
    refused(error) {
      if (!(error instanceof Refused)) throw error;
      put("bad", ...refusal(error));
    },
    /** Do it; say what came of it. done: the text, or a function of the answer that gives it. */
    async of(promise, done) {
      put("busy", t("working"));
      try {
        const answer = await promise;
        put("good", typeof done === "function" ? done(answer) : done);
        return answer;
      } catch (error) {
        self.refused(error);
        return null;
      }
    },
  };
  return self;
}

/** A labelled choice. options: [[value, text]]. */
export function choice(label, options, value, { hint = null, id = null, on = {} } = {}) {
  const select = h("select", { id, on }, options.map(([key, text]) => h("option", { value: key, text, selected: String(key) === String(value) })));
  return { element: h("label", { class: "field" }, h("span", { text: label }), select, hint && h("small", { text: hint })), control: select, value: () => select.value };
}

/** A labelled number with a key to either side, for a screen without a keyboard. */
export function stepper(label, value, low, high, { pad = 1, id = null, on = () => {} } = {}) {
  const shown = h("output", { class: "stepper-value", id });
  let now = value;
  const put = (next) => {
    now = next > high ? low : next < low ? high : next;
    shown.textContent = String(now).padStart(pad, "0");
    on(now);
  };
  const key = (text, step, name) => h("button", { type: "button", class: "button step", "aria-label": `${label}: ${name}`, text, on: { click: () => put(now + step) } });
  shown.textContent = String(now).padStart(pad, "0");
  return {
    element: h("div", { class: "stepper", role: "group", "aria-label": label }, h("span", { class: "stepper-label", text: label }), key("+", 1, t("more")), shown, key("−", -1, t("less"))),
    value: () => now,
    put: (next) => ((now = next), (shown.textContent = String(now).padStart(pad, "0"))),
  };
}
