// Where the keyboard goes on: what had the focus may be gone, after a round, an edit or a step back.

import { find } from "./dom.js";
import { theGrid } from "./results.js";
import { on } from "./state.js";

let begun = false; // whether anybody has done anything here: before, the focus is at the top of the page

/** Whether what had the focus is gone, or takes no keys any more. */
function lost() {
  const at = document.activeElement;
  return begun && (!at || at === document.body || at.disabled || !at.checkVisibility()) && !document.querySelector("dialog[open]");
}

/** Give the focus to the grid, or to what is shown in its place. */
function home() {
  if (!lost()) return;
  if (document.body.dataset.view === "search" && theGrid().tile(theGrid().at)?.checkVisibility()) theGrid().take();
  else find("main").focus({ preventScroll: true });
}

export function drawFocus() {
  for (const name of ["keydown", "pointerdown", "drop", "paste"]) addEventListener(name, () => { begun = true; }, { capture: true, once: true });
  on("ranked", () => {
    // The first result is where the keyboard goes on, unless somebody is at a control.
    scrollTo(0, 0);
    const at = document.activeElement;
    if (at === document.body || ["ask", "grid", "dock", "offers"].some((id) => find(id).contains(at)) || !at?.isConnected) theGrid().go(0);
  });
  for (const name of ["round", "search", "marks", "selection", "edited", "newest"]) on(name, home);
  for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("close", home);
}
