// Requests. Every failure is one sentence: the server's own where it has one.

/** What the server refused, or that it doesn't answer (status 0). */
export class Refused extends Error {
  constructor(status, told) {
    super(told);
    this.status = status;
  }
}

const listeners = new Set();

/** Have `listener(status)` called after each request: 0 where nobody answered. */
export function onAnswer(listener) {
  listeners.add(listener);
}

const tell = (status) => listeners.forEach((listener) => listener(status));

async function sentence(response) {
  try {
    const told = (await response.json()).error;
    if (told) return told;
  } catch { /* no JSON: the status has to do */ }
  return `The server failed at this (status ${response.status}); its terminal says more.`;
}

/** Ask for `/api` + path and return what it says. A body that is a Blob goes as it is, all else as JSON. */
export async function call(method, path, body = undefined, { signal } = {}) {
  const raw = body instanceof Blob;
  const request = { method, signal, credentials: "same-origin", headers: {} };
  if (body !== undefined) {
    request.body = raw ? body : JSON.stringify(body);
    request.headers["Content-Type"] = raw ? body.type || "application/octet-stream" : "application/json";
  }
  let response;
  try {
    response = await fetch(`/api${path}`, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tell(0);
    throw new Refused(0, "The server doesn't answer: is `itae serve` still running?");
  }
  tell(response.status);
  if (!response.ok) throw new Refused(response.status, await sentence(response));
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const get = (path, more) => call("GET", path, undefined, more);
export const post = (path, body = {}, more) => call("POST", path, body, more);

/** A path with values: `query("/rows", {label: ["a", "b"], offset: 0})`. */
export function query(path, values) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") words.append(name, one);
    }
  }
  return `${path}?${words}`;
}

export const searchPath = (sid, rest = "") => `/searches/${encodeURIComponent(sid)}${rest}`;
