// At the bottom of a search: what was judged, each mark with a way back, and the next round. Over it, what is selected.

import { button, count, file, find, make, thumb } from "./dom.js";
import { canUndo, clearSelection, fresh, isRanked, mark, marked, selection } from "./marks.js";
import { chosenRule } from "./options.js";
import { next, otherwise } from "./search.js";
import { on, rowOf, state } from "./state.js";
import { say } from "./status.js";

const SHOWN = 200; // pictures of a strip
let parts;

/** `acts`: `{undo, nothingRight, labelYes, correct, remove}`. */
export function drawDock(acts) {
  const strip = (what, name) => {
    const list = make("div", { class: `strip ${what}`, role: "group", "aria-label": `Marked ${what}` });
    const head = make("b", { class: "head" }, name);
    return { what, name, head, list, element: make("div", { class: `judged ${what}` }, head, list) };
  };
  parts = {
    yes: strip("yes", "✓ Yes"), no: strip("no", "✗ No"),
    picked: make("div", { class: "picked-bar", role: "group", "aria-label": "Selected rows", hidden: true }),
    undo: button("Undo", acts.undo, { title: "Take the last mark back (u)" }),
    none: button("", acts.nothingRight),
    label: button("Label the yes…", acts.labelYes, { title: "Give the images marked yes a label in the base" }),
    next: button("Next round", () => next(), { class: "main", title: "Rank again by all marks (Enter)" }),
  };
  parts.marks = make("div", { class: "marks" }, parts.yes.element, parts.no.element, make("div", { class: "acts" }, parts.undo, parts.none, parts.label, parts.next));
  find("dock").append(parts.picked, parts.marks);
  // Messages stand above it, however tall it is.
  new ResizeObserver(() => document.documentElement.style.setProperty("--dock", `${find("dock").offsetHeight}px`)).observe(find("dock"));
  on("marks", draw);
  for (const name of ["round", "search", "options", "base"]) on(name, draw);
  on("busy", (busy) => { parts.next.disabled = busy; parts.none.disabled = busy; });
  on("selection", () => select(acts));
  draw();
}

function draw() {
  const shown = state.search !== null && !state.past;
  parts.marks.hidden = !shown;
  hide();
  if (!shown) return;
  for (const one of [parts.yes, parts.no]) fill(one);
  const { yes, no, back } = fresh();
  const news = [yes && `${yes} yes`, no && `${no} no`, back && `${back} taken back`].filter(Boolean).join(", ");
  const other = otherwise();
  const apply = other === "rule" ? `Rank again by ${chosenRule().name}` : "Apply";
  parts.next.textContent = other && !news ? apply : news ? `Next round: ${news}` : "Next round";
  parts.next.classList.toggle("ready", Boolean(news || other));
  find("apply").hidden = !other;
  parts.undo.disabled = !canUndo();
  parts.none.hidden = state.round === null;
  const some = marked("yes").length > 0;
  parts.none.textContent = some ? "All others in sight: no" : "Nothing here is right";
  parts.none.title = some ? "Marks what has been in sight and isn't marked as no, and ranks again" : "Marks what has been in sight as no, and shows a diverse page";
  parts.label.hidden = marked("yes").length === 0 || Boolean(state.base.read_only);
}

function hide() {
  find("dock").hidden = document.body.dataset.view !== "search" || (parts.marks.hidden && parts.picked.hidden);
}

export const dockAgain = () => parts && draw();

function fill({ what, name, head, list }) {
  const ids = marked(what);
  head.textContent = `${name} ${ids.length}`;
  const old = new Map([...list.children].map((child) => [child.dataset.id, child]));
  const shown = ids.slice(-SHOWN).reverse().map((id) => {
    const made = old.get(id) ?? thumb(rowOf(id) ?? { number: -1 }, 44, `Take back ${what}: ${id}`, () => takeBack(id, what), { "data-id": id });
    made.classList.toggle("waits", !isRanked(id));
    return made;
  });
  // Only what changed is touched, so that a strip that is scrolled stays where it is.
  if (shown.length !== list.children.length || shown.some((child, i) => child !== list.children[i])) {
    const held = [...list.children].indexOf(document.activeElement);
    list.replaceChildren(...(shown.length ? shown : [make("span", { class: "note" }, what === "yes" ? "Mark with ✓, or the key y" : "Mark with ✗, or the key n")]));
    if (held >= 0) (list.children[Math.min(held, list.children.length - 1)])?.focus();
  }
}

function takeBack(id, what) {
  mark([id], null);
  say(`${file(id)} is no longer marked ${what}`);
}

function select(acts) {
  const ids = selection();
  parts.picked.hidden = ids.length === 0;
  const held = parts.picked.contains(document.activeElement);
  const editable = !state.base.read_only;
  parts.picked.replaceChildren(
    make("b", { role: "status" }, `${count(ids.length, "row")} selected`),
    ...(editable ? [button("Label…", () => acts.correct(ids)), button("Delete…", () => acts.remove(ids))] : []),
    ...(state.search && !state.past ? ["yes", "no"].map((what) => button(`Mark ${what}`, () => { mark(ids, what); clearSelection(); })) : []),
    button("Clear", clearSelection),
  );
  if (held && ids.length) parts.picked.querySelector("button").focus();
  hide();
}
