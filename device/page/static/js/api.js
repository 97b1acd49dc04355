// Requests to the device: JSON both ways, the session's token on whatever changes something, and one kind of error.

import { known, t } from "./texts.js";

export const session = { role: null, csrf: null, pin_set: true, local: false, locked_s: null, language: "en", version: "" };
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

  /** The sentence to show: in the page's language where the code is known, else the device's own. */
  get sentence() {
    const own = this.code && known("error", this.code);
    return { text: own || this.message || t("error.other"), english: !own && Boolean(this.message) };
  }
}

const OFFLINE = { error: null, code: "no connection" };

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
  return session;
}
