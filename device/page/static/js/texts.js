// The words of the page: one file for each language, the same keys in each. A key that a file lacks is English.

export const LANGUAGES = { en: "English", fr: "Français", ar: "العربية" };
const RIGHT_TO_LEFT = ["ar"];
const KEPT = "busi-kd-language";

let words = {};
let english = {};
export let language = "en";

/** Load the words of `wanted` and turn the page's direction to them. */
export async function speak(wanted) {
  if (!Object.keys(english).length) english = await load("en");
  language = wanted in LANGUAGES ? wanted : "en";
  words = language === "en" ? english : await load(language);
  document.documentElement.lang = language;
  document.documentElement.dir = RIGHT_TO_LEFT.includes(language) ? "rtl" : "ltr";
  document.title = t("title");
}

async function load(name) {
  const answer = await fetch(`/static/texts/${name}.json`);
  if (!answer.ok) throw new Error(`no texts for ${name}`);
  return answer.json();
}

/** The text of a key with its {names} filled in. */
export function t(key, values = {}) {
  const text = words[key] ?? english[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

/** The text of `group.word`, or null where there is none: a word that this page does not know. */
export function known(group, word) {
  const key = `${group}.${word}`;
  return words[key] ?? english[key] ?? null;
}

/** What this browser was set to speak, before the device's own language. */
export function chosen() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // storage is shut: a private window
  }
}

export function choose(wanted) {
  try {
    localStorage.setItem(KEPT, wanted);
  } catch {
    // then it holds until the page is loaded again
  }
}

// Latin digits in every language: they are the digits on the ultrasound machine's screen.
const locale = () => (language === "ar" ? "ar-u-nu-latn" : language);

export function number(value, digits = 0) {
  if (value === null || value === undefined) return t("unknown");
  return new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** A probability 0..1 as whole percent. Nothing is ever said to be sure: below 1 and above 99 it says so. */
export function percent(p) {
  const shown = (value) => new Intl.NumberFormat(locale(), { style: "percent" }).format(value);
  if (p < 0.01) return `< ${shown(0.01)}`;
  if (p > 0.99) return `> ${shown(0.99)}`;
  return shown(p);
}

/** A moment (Date, ISO text or unix seconds) as date and time: year, month, day, as no language can misread it. */
export function moment(at, seconds = false) {
  if (at === null || at === undefined) return t("unknown");
  const date = at instanceof Date ? at : new Date(typeof at === "number" ? at * 1000 : at);
  const time = { hour: "2-digit", minute: "2-digit", ...(seconds && { second: "2-digit" }) };
  return new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit", ...time }).format(date);
}

export function bytes(count) {
  if (count === null || count === undefined) return t("unknown");
  return count >= 1e9 ? t("gigabytes", { n: number(count / 1e9, 1) }) : t("megabytes", { n: number(count / 1e6, 1) });
}
