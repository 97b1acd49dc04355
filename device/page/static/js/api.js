// Requests to the device: JSON both ways, the session's token on whatever changes something, and one kind of error.

import { known, language, t } from "./texts.js";

// Codes whose sentence names what is wrong; a translation of the code alone would hide it.
const DETAILED = ["wrong", "value", "region", "option", "open", "store", "form", "refused", "not_saved", "system", "http", "json"];

export const session = { role: null, csrf: null, pin_set: true, local: false, local_without_pin: false, locked_s: null, language: "en", version: "" };
let signedOut = () => {};

/** Whom to tell when the device says that the session is over. */
export function onSignedOut(call) {
  signedOut = call;
}

/** What the device refused or could not do. code: a word; said: its English sentence; answer: all of it. */
export class Refused extends Error {
  constructor(status, answer) {
    super(answer.error ?? "");
    this.status = status;
    this.code = answer.code ?? null;
    this.answer = answer;
  }

  /** What to show: `text` in the page's language, and `detail`, the device's own English sentence where it says more. */
  get sentence() {
    const own = this.code && known("error", this.code);
    const detail = this.message && (!own || DETAILED.includes(this.code)) ? this.message : null;
    if (detail && language === "en") return { text: null, detail };
    return { text: own || (detail ? null : t("error.other")), detail };
  }
}

const OFFLINE = { error: null, code: "no_connection" };

/** Send a request. body: JSON, or FormData as it is. Raises Refused. */
export async function ask(method, path, body) {
  const headers = method === "GET" ? {} : { "X-CSRF": session.csrf ?? "" };
  const plain = body !== undefined && !(body instanceof FormData);
  if (plain) headers["Content-Type"] = "application/json";
  let reply;
  try {
    reply = await fetch(path, { method, headers, body: plain ? JSON.stringify(body) : body, cache: "no-store", credentials: "same-origin" });
  } catch {
    throw new Refused(0, OFFLINE);
  }
  const answer = await reply.json().catch(() => ({}));
  if (reply.ok && answer.ok !== false) return answer;
  if (reply.status === 401 && path !== "/api/session") signedOut();
  throw new Refused(reply.status, answer);
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const put = (path, body = {}) => ask("PUT", path, body);
export const remove = (path) => ask("DELETE", path);

/** Ask who this is, and keep it. */
export async function refresh() {
  Object.assign(session, await get("/api/session"));
  // The device's own screen, where its owner has said that whoever stands before it may use it.
  if (session.role === null && session.local && session.local_without_pin) Object.assign(session, await post("/api/session", { role: "technician" }));
  return session;
}
