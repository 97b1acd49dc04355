// The part of the screen that is the ultrasound picture: drawn with a finger on the whole screen, or found by itself.
// What lies outside is never looked at, shown to a watcher or saved: a patient's name may stand there.

import { button, h, s, say } from "./dom.js";
import { get, post, put, remove } from "./api.js";
import { outcome } from "./form.js";
import { known, t } from "./texts.js";

const EVERY_MS = 1500;
const LEAST = 32; // pixels a side (device.region.region.MIN_SIDE)
const NEAR = 28; // screen pixels from a corner that still take hold of it: a fingertip
const STEP = 8;

export function regionPart() {
  const said = outcome();
  const picture = h("img", { class: "screen", id: "screen", alt: t("region.screen"), draggable: "false" });
  const dim = s("path", { class: "region-dim", "fill-rule": "evenodd" });
  const frame = s("rect", { class: "region-rect" });
  const corners = [0, 1, 2, 3].map(() => s("circle", { class: "region-corner" }));
  const overlay = s("svg", { class: "region-overlay", id: "region-overlay", tabindex: "0", role: "application", "aria-label": t("region.draw"), "aria-describedby": "region-keys" }, dim, frame, corners);
  const holder = h("div", { class: "screen-box" }, picture, overlay);
  const words = h("p", { id: "region-words", class: "fact", role: "status" });
  const keep = button(t("region.keep"), store, { kind: "main", id: "region-keep", disabled: true });
  const confirm = button(t("region.confirm"), () => said.of(post("/api/region/confirm"), t("region.confirmed")).then(look), { id: "region-confirm", disabled: true });
  const find = button(t("region.find"), () => said.of(remove("/api/region"), t("region.finding")).then(() => ((box = null), (changed = false), look())), { id: "region-find" });
  const size = { width: 0, height: 0 }; // of the screen, pixels
  let box = null; // {x, y, width, height} in the screen's pixels
  let changed = false;
  let drag = null;
  let url = null;
  let told = null;

  async function look() {
    try {
      const answer = await get("/api/region");
      const { region, state } = answer;
      confirm.disabled = state !== "found";
      if (!changed) box = region && { x: region.x, y: region.y, width: region.width, height: region.height };
      if (!changed) say(words, region ? t("region.is", { state: known("region-state", state) ?? state }) : t("region.none"));
      draw();
    } catch (error) {
      said.refused(error);
    }
  }

  async function fetchScreen() {
    if (document.hidden || drag !== null) return;
    const reply = await fetch("/api/frame.jpg?whole=1", { cache: "no-store", credentials: "same-origin" }).catch(() => null);
    if (!reply?.ok) return say(words, t("region.no-picture"));
    // The picture may have been made smaller on its way; regions are of the screen as it is.
    const sides = /^(\d+)x(\d+)$/.exec(reply.headers.get("X-Frame-Size") ?? "");
    told = sides && { width: Number(sides[1]), height: Number(sides[2]) };
    const before = url;
    url = URL.createObjectURL(await reply.blob());
    picture.src = url;
    if (before) URL.revokeObjectURL(before);
  }

  picture.addEventListener("load", () => {
    Object.assign(size, told ?? { width: picture.naturalWidth, height: picture.naturalHeight });
    overlay.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    holder.style.setProperty("--aspect", size.width / size.height); // so that the whole screen fits, without scrolling
    draw();
  });

  function draw() {
    const shown = Boolean(box && size.width);
    for (const part of [dim, frame, ...corners]) part.classList.toggle("gone", !shown);
    keep.disabled = !shown || !changed;
    if (!shown) return;
    const { x, y, width, height } = box;
    for (const [name, value] of Object.entries({ x, y, width, height })) frame.setAttribute(name, value);
    dim.setAttribute("d", `M0 0H${size.width}V${size.height}H0Z M${x} ${y}V${y + height}H${x + width}V${y}Z`);
    const radius = Math.max(6, (9 * size.width) / Math.max(1, overlay.clientWidth));
    corners.forEach((corner, i) => {
      corner.setAttribute("cx", x + (i % 2) * width);
      corner.setAttribute("cy", y + (i >> 1) * height);
      corner.setAttribute("r", radius);
    });
    overlay.dataset.box = [x, y, width, height].join();
    if (changed) say(words, t("region.drawn", { width, height }));
  }

  /** Where a pointer is, in the screen's pixels. */
  function place(event) {
    const at = overlay.getBoundingClientRect();
    const clamp = (value, high) => Math.round(Math.min(high, Math.max(0, value)));
    return [clamp(((event.clientX - at.left) * size.width) / at.width, size.width), clamp(((event.clientY - at.top) * size.height) / at.height, size.height)];
  }

  overlay.addEventListener("pointerdown", (event) => {
    if (!size.width) return;
    const [x, y] = place(event);
    const near = (NEAR * size.width) / overlay.clientWidth;
    const ends = box && [[box.x, box.y], [box.x + box.width, box.y], [box.x, box.y + box.height], [box.x + box.width, box.y + box.height]];
    const taken = ends ? ends.findIndex(([cx, cy]) => Math.hypot(cx - x, cy - y) < near) : -1;
    drag = taken >= 0 ? ends[3 - taken] : [x, y]; // the corner that stays
    overlay.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  overlay.addEventListener("pointermove", (event) => {
    if (drag === null) return;
    const [x, y] = place(event);
    const next = { x: Math.min(x, drag[0]), y: Math.min(y, drag[1]), width: Math.abs(x - drag[0]), height: Math.abs(y - drag[1]) };
    if (next.width < LEAST || next.height < LEAST) return;
    [box, changed] = [next, true];
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) overlay.addEventListener(end, () => (drag = null));
  overlay.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key] ?? [0, 0];
    if (!size.width || (!dx && !dy)) return;
    event.preventDefault();
    const now = box ?? { x: size.width >> 2, y: size.height >> 2, width: size.width >> 1, height: size.height >> 1 };
    const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
    box = event.shiftKey
      ? { ...now, width: clamp(now.width + dx, LEAST, size.width - now.x), height: clamp(now.height + dy, LEAST, size.height - now.y) }
      : { ...now, x: clamp(now.x + dx, 0, size.width - now.width), y: clamp(now.y + dy, 0, size.height - now.height) };
    changed = true;
    draw();
  });

  async function store() {
    const done = await said.of(put("/api/region", { ...box, frame_width: size.width, frame_height: size.height }), t("region.kept"));
    if (done) {
      changed = false;
      setTimeout(look, 1500); // the device takes it up within a second
    }
  }

  const timer = setInterval(fetchScreen, EVERY_MS);
  fetchScreen();
  look();
  return {
    element: h(
      "div",
      { class: "stack" },
      h("p", { class: "region-what", text: t("region.what") }),
      holder,
      words,
      h("p", { class: "unseen", id: "region-keys", text: t("region.keys") }),
      h("div", { class: "row" }, keep, confirm, find),
      said.element,
    ),
    stop() {
      clearInterval(timer);
      if (url) URL.revokeObjectURL(url);
    },
  };
}
