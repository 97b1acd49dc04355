// The lesion's outline over a picture: a dark line with a light edge, to be seen on black, on white and on speckle.

import { h, mark, s } from "./dom.js";
import { t } from "./texts.js";

const KEPT = "busi-kd-outline";

/** Polygons in shares 0..1 of the picture, as the `d` of a path over width x height. */
export function path(polygons, width, height) {
  const corner = ([x, y]) => `${(x * width).toFixed(1)} ${(y * height).toFixed(1)}`;
  return (polygons ?? []).map((points) => `M${points.map(corner).join("L")}Z`).join("");
}

/** An SVG to lie over a picture; `size(width, height)`, `put(polygons)` in shares of it, null for none. */
export function overlay(kind) {
  const edge = s("path", { class: "outline-edge", d: "" });
  const line = s("path", { class: "outline-line", d: "" });
  const element = s("svg", { class: kind, viewBox: "0 0 640 480", "aria-hidden": "true" }, edge, line);
  let [width, height] = [640, 480];
  let shown = "";
  return {
    element,
    size(w, h) {
      [width, height] = [w, h];
      element.setAttribute("viewBox", `0 0 ${w} ${h}`);
    },
    put(polygons) {
      const d = path(polygons, width, height);
      if (d === shown) return;
      shown = d;
      for (const one of [edge, line]) one.setAttribute("d", d);
    },
  };
}

/** The button that hides and shows it; `on()` says which. What was chosen is kept in this browser. */
export function outlineSwitch(changed) {
  let on = remembered() !== "off";
  const element = h("button", { type: "button", class: "outline-switch", id: "outline", text: t("outline"), on: { click: turn } });
  const told = () => {
    element.setAttribute("aria-pressed", String(on));
    mark(element, "on", on ? "yes" : "no");
  };

  function turn() {
    on = !on;
    try {
      localStorage.setItem(KEPT, on ? "on" : "off");
    } catch {
      // then it holds until the page is loaded again
    }
    told();
    changed();
  }

  told();
  return { element, on: () => on };
}

function remembered() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage is shut: a private window
  }
}
