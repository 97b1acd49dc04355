// The clock: in the field there is no network time, and a Pi forgets the hour without power. Records are dated by it.

import { button, h, say } from "./dom.js";
import { get, put, session } from "./api.js";
import { outcome, stepper } from "./form.js";
import { moment, t } from "./texts.js";

export function clockPart() {
  const said = outcome();
  const shown = h("p", { class: "big-words tabular", id: "clock-now" });
  const sure = h("p", { class: "fact", id: "clock-sure" });
  let offset = null; // milliseconds from this browser's clock to the device's
  let steps = null;
  const holder = h("div", { class: "steppers" });

  async function look() {
    try {
      const { unix, synchronised } = await get("/api/clock");
      offset = unix * 1000 - Date.now();
      say(sure, t(synchronised === true ? "clock.synchronised" : synchronised === false ? "clock.not-synchronised" : "clock.unknown"));
      if (steps === null) build(new Date(unix * 1000));
      tick();
    } catch (error) {
      said.refused(error);
    }
  }

  function build(now) {
    steps = {
      year: stepper(t("clock.year"), now.getFullYear(), 2025, 2099),
      month: stepper(t("clock.month"), now.getMonth() + 1, 1, 12, { pad: 2 }),
      day: stepper(t("clock.day"), now.getDate(), 1, 31, { pad: 2 }),
      hour: stepper(t("clock.hour"), now.getHours(), 0, 23, { pad: 2 }),
      minute: stepper(t("clock.minute"), now.getMinutes(), 0, 59, { pad: 2 }),
    };
    holder.replaceChildren(...Object.values(steps).map((one) => one.element));
  }

  function tick() {
    if (offset !== null) say(shown, moment(new Date(Date.now() + offset), true));
  }

  const set = (date) => said.of(put("/api/clock", { unix: Math.round(date.getTime() / 1000) }), t("clock.set")).then(look);
  const byHand = () => {
    const [year, month, day, hour, minute] = ["year", "month", "day", "hour", "minute"].map((name) => steps[name].value());
    const date = new Date(year, month - 1, day, hour, minute);
    if (date.getMonth() !== month - 1) return say(said.element, t("clock.no-such-day"));
    return set(date);
  };
  const timer = setInterval(tick, 1000);
  look();
  return {
    element: h(
      "div",
      { class: "stack" },
      h("p", { text: t("clock.what") }),
      shown,
      sure,
      // On the device's own screen the browser's clock is the device's: nothing to take over.
      !session.local && button(t("clock.from-browser"), () => set(new Date()), { kind: "main", id: "clock-browser" }),
      h("h3", { text: t("clock.by-hand") }),
      holder,
      button(t("clock.keep"), byHand, { id: "clock-keep" }),
      said.element,
    ),
    stop: () => clearInterval(timer),
  };
}
