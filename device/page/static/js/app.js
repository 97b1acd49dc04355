// The page: who is here, which view, and the one connection by which everything live comes.

import { h, icon, mark, say, show } from "./dom.js";
import { onSignedOut, refresh, remove, session } from "./api.js";
import { condition } from "./condition.js";
import { connect, outdated } from "./live.js";
import { firstPin, pinPad } from "./view_pin.js";
import { healthView } from "./view_health.js";
import { mainView } from "./view_main.js";
import { setupView } from "./view_setup.js";
import { studiesView } from "./view_studies.js";
import { chosen, speak, t } from "./texts.js";

const VIEWS = { main: mainView, studies: studiesView, setup: setupView, health: healthView };
const LOOK_MS = 100; // how often it is asked whether what is shown is still current
const app = document.getElementById("app");
let live = null;
let view = null;
let head = null;
let shownView = null;

async function start() {
  theme(remembered("busi-kd-theme") ?? "light");
  try {
    await refresh();
  } catch {
    await speak(chosen() ?? "en");
    app.replaceChildren(h("p", { class: "broken", role: "alert", text: t("cover.disconnected") }));
    setTimeout(start, 1000);
    return;
  }
  await speak(chosen() ?? session.language);
  render();
}

/** Build the page anew, as after signing in, signing out or another language. */
export function render() {
  leave();
  say(document.getElementById("notice-text"), t("notice"));
  say(document.getElementById("synthetic"), t("synthetic"));
  document.getElementById("notice").setAttribute("aria-label", t("notice-label"));
  if (session.role === null) {
    show(document.getElementById("synthetic"), false);
    const pad = session.pin_set ? pinPad(render) : firstPin(render);
    view = { element: pad.element, update() {}, draw() {}, stop: pad.stop };
    app.replaceChildren(h("main", { class: "page", id: "main", tabindex: "-1" }, pad.element));
    return;
  }
  live = connect({ changed: look, pictured: (blob, about) => view?.draw?.(blob, about), refused: askAgain });
  route();
}

function route() {
  if (session.role === null) return;
  const watcher = session.role === "watcher";
  const wanted = watcher ? "main" : (location.hash.slice(1).split("/")[0] || "main");
  shownView = wanted in VIEWS ? wanted : "main";
  view?.stop?.();
  head = header(watcher);
  view = VIEWS[shownView]({ live: () => live, watcher, render });
  app.replaceChildren(head.element, h("main", { class: "page", id: "main", tabindex: "-1", "data-view": shownView }, view.element));
  look();
}

function header(watcher) {
  const state = condition();
  const tabs = Object.keys(VIEWS).map((name) =>
    h("a", { class: "tab", href: `#${name}`, "aria-current": name === shownView ? "page" : null, text: t(`tab.${name}`) }),
  );
  const dark = h("button", { type: "button", class: "round", id: "theme", "aria-label": t("theme"), on: { click: swapTheme } }, icon("theme"));
  const out = session.local && session.local_without_pin ? null : h("button", { type: "button", class: "round", id: "leave", "aria-label": t("sign-out"), on: { click: signOut } }, icon("leave"));
  // A second screen has no button at all: whoever only watches can change nothing, not even by mistake.
  const element = watcher
    ? h("header", { class: "head" }, h("p", { class: "watching", text: t("watching") }), state.element)
    : h("header", { class: "head" }, h("nav", { class: "tabs", "aria-label": t("views") }, tabs), h("div", { class: "head-end" }, state.element, dark, out));
  return { element, update: state.update };
}

/** Show what is known now, and cover what is no longer. */
function look() {
  if (live === null || view === null || head === null) return;
  const cover = outdated(live, performance.now());
  const away = cover === "disconnected" || cover === "connecting" || cover === "silent";
  mark(document.body, "cover", cover);
  show(document.getElementById("synthetic"), live.snapshot?.synthetic === true);
  head.update(live.snapshot, !away);
  view.update?.(live.snapshot, cover);
}

async function askAgain() {
  try {
    await refresh();
  } catch {
    return; // the device is away; the connection is tried again
  }
  if (session.role === null) render();
}

async function signOut() {
  try {
    await remove("/api/session");
  } finally {
    Object.assign(session, { role: null, csrf: null });
    await askAgain();
    if (live !== null) render();
  }
}

function leave() {
  live?.close();
  view?.stop?.();
  live = view = head = null;
  mark(document.body, "cover", null);
}

function theme(name) {
  document.documentElement.dataset.theme = name === "dark" ? "dark" : "light";
}

function swapTheme() {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  theme(name);
  try {
    localStorage.setItem("busi-kd-theme", name);
  } catch {
    // then it holds until the page is loaded again
  }
}

function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

onSignedOut(() => {
  Object.assign(session, { role: null, csrf: null });
  render();
});
window.addEventListener("hashchange", route);
document.addEventListener("visibilitychange", look); // a browser lets hidden pages sleep: look before anybody does
setInterval(look, LOOK_MS);
start();
