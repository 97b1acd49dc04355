// Elements are made here and nowhere else, and every text goes in by textContent: what a server, a file name or a
// model's name says can never become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. attributes: `on` {event: listener}, `data` {name: value}, `text`; true and false for flags. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Change a text only where it differs: fifteen times a second a layout that stays is worth it. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

export function mark(element, name, value) {
  if (value === null || value === undefined) delete element.dataset[name];
  else if (element.dataset[name] !== String(value)) element.dataset[name] = value;
}

/** A text of the server's, which is English whatever the page's language is. */
export function english(text, tag = "span", attributes = {}) {
  return h(tag, { lang: "en", dir: "ltr", text, ...attributes });
}

/** What an api.Refused says, as nodes. */
export function refusal({ sentence: { text, detail } }) {
  return [text, text && detail ? " " : null, detail && english(detail)].filter(Boolean);
}

const PATHS = {
  battery: "M3 8h15v8H3zM20 10v4M5 10h6v4H5z",
  charging: "M3 8h15v8H3zM20 10v4M11 9l-3 4h4l-2 3",
  temperature: "M10 4a2 2 0 0 1 4 0v9a4 4 0 1 1-4 0zM12 9v8",
  speed: "M4 17a8 8 0 1 1 16 0M12 17l4-6",
  ok: "M4 12l5 6L20 6",
  note: "M12 4v9M12 17v2",
  problem: "M12 3L2 21h20zM12 10v5M12 17v2",
  unknown: "M8 9a4 4 0 1 1 5 4c-1 1-1 1-1 3M12 19v1",
  freeze: "M8 5v14M16 5v14",
  go: "M7 5l12 7-12 7z",
  sweep: "M4 17c4-12 12-12 16 0M20 17l-4-1M20 17l1-4",
  save: "M12 4v10M7 10l5 5 5-5M4 19h16",
  discard: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  leave: "M10 4H4v16h6M9 12h11M16 8l4 4-4 4",
  backspace: "M9 6h11v12H9l-6-6zM12 10l4 4M16 10l-4 4",
};

/** A small line drawing beside a word; it says nothing by itself. */
export function icon(name) {
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    s("path", { d: PATHS[name], fill: "none", stroke: "currentColor", "stroke-width": "2", "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}

/** A button with a drawing and a word. */
export function button(label, call, { picture = null, kind = "", ...attributes } = {}) {
  const words = h("span", { text: label });
  return h("button", { type: "button", class: `button ${kind}`, on: { click: call }, ...attributes }, picture && icon(picture), words);
}
