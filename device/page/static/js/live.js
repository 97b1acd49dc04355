// What the device says now, and whether that may still be called now.
//
// A verdict that is old and looks current is the worst that this page could show. So freshness is asked, never assumed:
// the connection must be open, a message must have come within SILENT_MS, the source must have a signal, and the judged
// frame must be young. Times are of performance.now(): the device's clock may be wrong, and so may the browser's.

export const SILENT_MS = 900; // the device speaks every 500 ms at least
const OLDEST_S = [1.0, 3.0]; // of a judged frame; a device that judges 1 frame a second must not look broken
const AGAIN_MS = [300, 3000];

/** Why what is held must not be shown as current, or null when it may be. live: of `connect`; now: performance.now(). */
export function outdated(live, now) {
  const held = live.snapshot;
  if (!live.open) return live.ever ? "disconnected" : "connecting";
  if (held === null) return "connecting";
  if (now - live.heard > SILENT_MS) return "silent";
  if (held.held) return null; // a person has frozen it, and the page says so
  if (held.signal?.state !== "ok") return "signal";
  if (!held.verdict || held.age_s === null || held.age_s === undefined) return "waiting";
  if (held.age_s + (now - live.heard) / 1000 > oldest(held.fps)) return "old";
  return null;
}

/** Age in seconds up to which a frame is current, when `fps` are judged in a second. */
export function oldest(fps) {
  return Math.min(OLDEST_S[1], Math.max(OLDEST_S[0], fps ? 2.5 / fps : OLDEST_S[1]));
}

/** Open the connection and keep it. changed(): something came or the connection's state changed; pictured(blob, about). */
export function connect({ changed, pictured, refused }) {
  const live = { open: false, ever: false, snapshot: null, heard: -Infinity, close };
  let socket = null;
  let announced = null;
  let pause = AGAIN_MS[0];
  let timer = null;
  let over = false;

  function begin() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/api/live`);
    socket.addEventListener("message", (event) => {
      if (event.data instanceof Blob) {
        pictured(event.data, announced);
        return;
      }
      const message = JSON.parse(event.data);
      if (message.type === "picture") announced = message;
      if (message.type !== "snapshot") return;
      Object.assign(live, { snapshot: message, heard: performance.now(), open: true, ever: true });
      pause = AGAIN_MS[0];
      changed();
    });
    socket.addEventListener("close", ended);
  }

  function ended() {
    live.open = false;
    if (over) return;
    changed();
    refused(); // may be that the session is over: whoever listens asks
    timer = setTimeout(begin, pause);
    pause = Math.min(AGAIN_MS[1], pause * 1.6);
  }

  function close() {
    over = true;
    clearTimeout(timer);
    socket.close();
  }

  begin();
  return live;
}
