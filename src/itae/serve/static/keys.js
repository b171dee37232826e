// Keys: a whole search without a mouse. None of them acts while a field takes text.

import { openTask } from "./dialogs.js";
import { find, make, typing } from "./dom.js";

const TOLD = [
  ["/", "the box"], ["← ↑ → ↓", "move in the grid; in an open image ← and → go to the next one"], ["Home End PgUp PgDn", "the first, the last that is loaded, a page back or on"],
  ["y", "yes, or take it back"], ["n", "no, or take it back"], ["u", "take the last mark back"], ["Enter", "next round; among the rows of the base: search like this"],
  ["o or space", "open the image, with all that is known of it"], ["s", "search like this"], ["f", "open or fold those alike"], ["c", "classify the open image"],
  ["x, shift-click", "select for labelling or deleting, a range (Select does so by taps)"], ["Esc", "close, or clear the selection"], ["?", "these keys"],
];

/** `acts` has a function for each word of `WORDS`, and `grid()`; each is told the place that is current. */
export function drawKeys(acts) {
  const help = () => openTask("Keys", make("dl", { class: "keys" }, TOLD.map(([key, text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)])));
  find("keys-button").addEventListener("click", help);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (event.key === "?" && !find("task").open) {
      event.preventDefault();
      help();
    } else if (find("task").open) return;
    else if (find("image").open) inImage(event, acts);
    else if (event.key === "/") {
      event.preventDefault();
      acts.box();
    } else if (document.body.dataset.view === "search") inGrid(event, acts);
    else if (event.key === "Escape") acts.clear();
  });
}

const MARKS = { y: "yes", n: "no" };

function inImage(event, acts) {
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (name in MARKS && !event.repeat) acts.markShown(MARKS[name]);
  else if (name === "u" && !event.repeat) acts.undo();
  else if (name === "ArrowLeft") acts.step(-1);
  else if (name === "ArrowRight") acts.step(1);
  else if (name === "c") find("image").querySelector('[data-name="why"]')?.click();
  else if (name === "s") find("image").querySelector('[data-name="like"]')?.click();
  else if (name === "o") find("image").close();
  else return;
  event.preventDefault();
}

function inGrid(event, acts) {
  const { target } = event;
  const grid = find("grid");
  const free = target === document.body || target.id === "main";
  const here = grid.contains(target) || free;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (name === "Escape") return acts.clear();
  if (name === "u" && !event.repeat) {
    event.preventDefault();
    return acts.undo();
  }
  if (!here || !grid.offsetParent) return undefined;
  const words = { y: "yes", n: "no", o: "open", " ": "open", s: "like", x: "select", f: "stack", Enter: "enter" };
  // Nothing is focused: the keys that scroll stay the browser's, but an arrow enters the grid.
  if (free && ["Home", "End", "PageUp", "PageDown", " "].includes(name)) return undefined;
  if (free && name.startsWith("Arrow")) {
    event.preventDefault();
    return acts.grid().go(acts.grid().at);
  }
  if (acts.grid().key(name)) return event.preventDefault();
  if (!(name in words) || event.repeat) return undefined;
  if (name === "Enter" && target.closest?.("button, a")) return undefined;
  event.preventDefault();
  return acts[words[name]](event);
}
