// What happened, said: to the eye as a toast or a banner, and to a screen reader in a live region.

import { button, find, make } from "./dom.js";

/** Say something to a screen reader. */
export function say(text) {
  const region = find("status");
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = text; });
}

const STAYS = 8000; // ms of a toast

/** Show a short message for a while; `acts` are [text, function] buttons. It stays while it is pointed at or focused. */
export function toast(text, acts = [], { error = false } = {}) {
  const box = make("div", { class: `toast${error ? " wrong" : ""}` }, make("p", {}, text));
  const close = () => { clearTimeout(timer); box.remove(); };
  let timer;
  const wait = () => { clearTimeout(timer); timer = setTimeout(close, acts.length || error ? 1.5 * STAYS : STAYS); };
  for (const [name, act] of acts) box.append(button(name, () => { close(); act(); }));
  box.append(button("✕", close, { class: "plain", "aria-label": "Dismiss" }));
  for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, () => clearTimeout(timer));
  for (const name of ["pointerleave", "focusout"]) box.addEventListener(name, wait);
  // An open dialog makes the rest of the page inert, so what is said goes into it.
  (document.querySelector("dialog[open] .toasts") ?? find("toasts")).replaceChildren(box);
  say(text);
  wait();
}

/** Take away what was told of a failure: what was asked since has succeeded. */
export const calm = () => document.querySelectorAll(".toast.wrong").forEach((box) => box.remove());

/** Tell of a failure; that nobody answers is told by a banner. */
export const failed = (error) => error.name !== "AbortError" && error.status !== 0 && toast(error.message, [], { error: true });

/** Show a line above everything, one of each name; without a text it goes. */
export function banner(name, text = null, acts = [], kind = "") {
  const shown = find("banners").querySelector(`[data-name="${name}"]`);
  if (!text) return shown?.remove();
  if (shown?.dataset.text === text) return undefined;
  const line = make("div", { class: `banner ${kind}`, "data-name": name, "data-text": text }, make("p", {}, text), ...acts.map(([word, act]) => button(word, act)));
  if (shown) shown.replaceWith(line);
  else (kind === "quiet" ? find("banners") : find("banners").querySelector(".late")).append(line);
  return line;
}

/** Put a sentence under what it is about, or take it away. */
export function wrong(place, text = null) {
  place.textContent = text ?? "";
  place.hidden = !text;
}

/** Copy a text, and say so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // without https a browser other than on this machine has no clipboard
    const area = make("textarea", { class: "unseen", readonly: true });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast("Copied.");
}
