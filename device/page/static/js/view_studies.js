// The saved studies: a list, one of them with its pictures and verdicts, export, and deleting.

import { button, english, h } from "./dom.js";
import { get, post, remove } from "./api.js";
import { sure } from "./dialog.js";
import { outcome } from "./form.js";
import { overlay } from "./outline.js";
import { history } from "./plot.js";
import { shape } from "./shapes.js";
import { bytes, known, moment, number, percent, t } from "./texts.js";

export function studiesView() {
  const id = location.hash.split("/")[1];
  const body = h("div", { class: "stack" });
  const said = outcome();
  const element = h("div", { class: "studies-view" }, h("h1", { text: t(id ? "view.study" : "view.studies") }), said.element, body);
  (id ? oneStudy(decodeURIComponent(id), body, said) : allStudies(body)).catch((error) => said.refused(error));
  return { element, update() {}, draw() {}, stop() {} };
}

async function allStudies(body) {
  const { studies, used_bytes: used, max_bytes: most, free_bytes: free } = await get("/api/studies");
  const room = h("p", { class: "fact", text: t("storage.room", { used: bytes(used), most: bytes(most), free: bytes(free) }) });
  if (!studies.length) return body.replaceChildren(h("p", { class: "empty", id: "no-studies", text: t("studies.none") }), room);
  const newest = [...studies].sort((a, b) => (a.begun < b.begun ? 1 : -1));
  return body.replaceChildren(h("ul", { class: "study-list", id: "studies" }, newest.map(row)), room);
}

function row(study) {
  return h(
    "li",
    {},
    h(
      "a",
      { class: "study-row", href: `#studies/${encodeURIComponent(study.id)}` },
      h("strong", { class: "tabular", text: moment(study.begun) }),
      study.label && english(study.label),
      h("span", { text: t("studies.items", { n: number(study.items), size: bytes(study.bytes) }) }),
      h("span", { class: "badge", text: t(`studies.${study.state}`) }),
      h("span", { class: `badge ${study.exported ? "" : "warn"}`, text: t(study.exported ? "studies.exported" : "studies.not-exported") }),
      study.synthetic && h("span", { class: "badge synthetic-badge", text: t("synthetic-short") }),
      study.clock_synchronised !== true && h("small", { text: t("studies.clock-unsure") }),
    ),
  );
}

async function oneStudy(id, body, said) {
  const { study, items } = await get(`/api/studies/${encodeURIComponent(id)}`);
  const path = `/api/studies/${encodeURIComponent(study.id)}`;
  const pictures = items.map((item) => picture(path, item));
  const usb = h("div", { class: "row", id: "usb" });
  const offered = async () => {
    said.busy(t("usb.looking"));
    try {
      const { sticks } = await get("/api/usb");
      said.clear();
      usb.replaceChildren(...(sticks.length ? sticks.flatMap(choices) : [h("p", { text: t("usb.none") })]));
    } catch (error) {
      said.refused(error);
    }
  };
  const choices = (stick) =>
    ["zip", "dicom"].map((kind) =>
      button(t(`usb.${kind}`, { name: stick.label || stick.name, free: bytes(stick.free_bytes) }), () => said.of(post(`${path}/usb`, { stick: stick.name, kind }), (answer) => t("usb.done", { file: answer.file ?? "" }))),
    );
  const away = async () => {
    const detail = study.exported ? t("studies.delete-exported") : t("studies.delete-not-exported");
    if (!(await sure(t("studies.delete-sure", { n: number(items.length) }), t("studies.delete"), { danger: true, detail }))) return;
    if (await said.of(remove(path), t("studies.deleted"))) location.hash = "#studies";
  };
  const file = (kind, name) => h("a", { class: "button", id: `export-${kind}`, href: `${path}.${name}`, download: `busi-kd-${study.id}.${name}`, text: t(`export.${kind}`) });
  body.replaceChildren(
    h("p", {}, h("a", { class: "back", href: "#studies", text: t("studies.back") })),
    h("p", { class: "fact" }, moment(study.begun), " · ", t("studies.model"), " ", english([study.model, study.bundle].filter(Boolean).join(" · "))),
    study.state === "open" && h("p", { class: "fact", text: t("studies.still-open") }),
    history(items),
    h("ul", { class: "item-list", id: "items" }, pictures),
    h("div", { class: "row" }, file("zip", "zip"), file("dicom", "dicom.zip"), button(t("export.usb"), offered, { id: "export-usb" }), button(t("studies.delete"), away, { kind: "danger", id: "study-delete" })),
    usb,
  );
}

function picture(path, item) {
  const label = item.shown ?? "nothing";
  const word = known("verdict", label) ?? t("studies.no-verdict");
  const likely = Object.entries(item.shown_probabilities ?? {}).map(([name, p]) => `${known("verdict", name) ?? name} ${percent(p)}`);
  const why = item.shown_reason ? (known("reason", item.shown_reason) ?? item.shown_reason) : null;
  const swept = item.sweep && sweep(item.sweep);
  const kind = t(`studies.${item.kind}`);
  return h(
    "li",
    { class: "item", "data-label": label },
    item.file ? seen(path, item, word) : h("p", { class: "empty", text: t("studies.no-picture") }),
    h("div", { class: "item-words" }, h("p", { class: "item-verdict" }, shape(label), h("strong", { text: word })), why && h("p", { text: why }), likely.length && h("p", { class: "tabular", text: likely.join(" · ") }), swept, h("p", { class: "fact tabular", text: `${number(item.number)} · ${kind} · ${moment(item.saved, true)}` }), item.cropped !== true && item.file && h("p", { class: "fact", text: t("studies.not-cropped") })),
  );
}

/** The saved picture, and over it the outline that was found in it. */
function seen(path, item, word) {
  const image = h("img", { src: `${path}/${item.number}.png`, alt: t("studies.picture-alt", { n: number(item.number), word }), loading: "lazy", width: item.width, height: item.height });
  if (!item.outline?.length) return image;
  const lines = overlay("item-overlay");
  lines.size(item.width, item.height);
  lines.put(item.outline);
  return h("div", { class: "item-picture" }, image, lines.element);
}

function sweep({ frames, seconds, sustained_malignant: lasting }) {
  const all = Object.values(frames ?? {}).reduce((a, b) => a + b, 0);
  const words = t("sweep.summary", { n: number(all), s: number(seconds ?? 0), abstained: number(frames?.abstain ?? 0) });
  return h("p", { text: `${words} ${lasting == null ? t("sweep.nothing-lasted") : t("sweep.lasted", { p: percent(lasting) })}` });
}
