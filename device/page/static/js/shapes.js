// One shape for each verdict: told apart without colour, at arm's length. Colours are those of Okabe and Ito (Color
// Universal Design, 2008), set in base.css by the attribute data-label.

import { s } from "./dom.js";

const SHAPES = {
  benign: ["circle", { cx: 50, cy: 50, r: 40 }],
  malignant: ["path", { d: "M50 6 L96 90 L4 90 Z" }],
  normal: ["rect", { x: 13, y: 13, width: 74, height: 74, rx: 4 }],
  abstain: ["path", { d: "M50 5 L95 50 L50 95 L5 50 Z" }],
  nothing: ["circle", { cx: 50, cy: 50, r: 40 }],
};
const MARKS = {
  benign: null,
  malignant: "M50 38 V64 M50 75 V77",
  normal: null,
  abstain: "M39 40 a11 11 0 1 1 16 10 q-5 3 -5 9 M50 70 V72",
  nothing: "M22 22 L78 78",
};

/** The drawing of a verdict, or of `nothing` where there is none. */
export function shape(label) {
  const [tag, form] = SHAPES[label] ?? SHAPES.nothing;
  const inside = MARKS[label] ?? (label in SHAPES ? null : MARKS.nothing);
  return s(
    "svg",
    { class: "shape", viewBox: "0 0 100 100", "aria-hidden": "true", focusable: "false", "data-label": label },
    s(tag, { ...form, class: "form" }),
    inside && s("path", { d: inside, class: "inside" }),
  );
}
