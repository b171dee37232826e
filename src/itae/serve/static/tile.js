// One tile of the grid: a picture, what is said of it, and two buttons. Its size never depends on what is in it. To a
// screen reader it is one name, in which all of it is said; what is seen is hidden from it, or it would be said twice.

import { called, count, file, make, picture } from "./dom.js";
import { isSelected, shownMark } from "./marks.js";
import { ruleName } from "./options.js";
import { isDeleted, labelsOf, state } from "./state.js";

/** A place whose row hasn't come yet. */
export function skeleton() {
  return make("div", { class: "cell skeleton", role: "gridcell", "aria-label": "loading" }, make("div", { class: "shot" }), make("p"), make("p"));
}

/** The tile of an item `{row, alike, open, folded}`; buttons tell the grid what to do by `data-act`. */
export function tile(item, wide) {
  const { row } = item;
  const shot = make("div", { class: "shot" }, picture(row.number, wide, ""));
  if (row.rank !== undefined) shot.append(make("span", { class: "rank", "aria-hidden": "true" }, String(row.rank)));
  shot.append(make("span", { class: "picked", "aria-hidden": "true" }, "selected"), make("span", { class: "verdict", "aria-hidden": "true" }));
  const moved = movement(row);
  if (moved?.short) shot.append(make("span", { class: `moved ${moved.kind}`, title: moved.told, "aria-hidden": "true" }, moved.short));
  if (item.alike?.length) shot.append(act("stack", "", ""));
  const acts = row.rank === undefined
    ? [act("like", "Search like this", "Search like this")]
    : [act("yes", "✓", "Yes"), act("no", "✗", "No")];
  shot.append(make("div", { class: "acts" }, acts));
  return make("div", { class: "cell", role: "gridcell", "aria-selected": "false" }, make("span", { class: "unseen name" }), shot, make("p", { class: "what", "aria-hidden": "true" }), make("p", { class: "why", "aria-hidden": "true" }));
}

function act(name, text, told) {
  return make("button", { type: "button", class: `act-${name}`, "data-act": name, tabindex: -1, title: told, "aria-label": told === text ? null : told || null }, text);
}

/** How a row moved since the round before, among those that are in the list still. */
export function movement(row) {
  if (!state.round || state.round.round === 0 || row.rank === undefined) return null;
  if (row.was === null) return { kind: "new", short: "new", told: "new: the round before didn't show it" };
  const by = row.was - row.rank;
  if (by === 0) return { kind: "same", short: "", told: "unchanged" };
  return by > 0 ? { kind: "up", short: `▲ ${by}`, told: `up ${by}` } : { kind: "down", short: `▼ ${-by}`, told: `down ${-by}` };
}

/** The judged image that a result is most like; null where it is the query, or the rule asks of none. */
export const nearestOf = (row) => (state.round && ruleName(state.round.rule) !== "none" ? row.nearest ?? null : null);

/** Which judged image decided, in words that end in its id: by the nearest rules it does, by others it says most. */
export function because(row) {
  const near = nearestOf(row);
  if (!near) return null;
  const decides = near.mark === "yes" && ruleName(state.round.rule).startsWith("nearest");
  return `${decides ? "because it is nearest to this yes" : `most like this ${near.mark}`}: ${near.id}`;
}

/** Bring a tile up to date with marks, selection and edits. */
export function updateTile(cell, item) {
  const { row } = item;
  const [mark, labels, gone, picked] = [shownMark(row.id), labelsOf(row), isDeleted(row.id), isSelected(row.id)];
  cell.className = ["cell", mark, picked && "is-picked", gone && "is-deleted", item.member && "is-member"].filter(Boolean).join(" ");
  cell.setAttribute("aria-selected", String(picked));
  cell.querySelector(".verdict").textContent = mark === null ? "" : mark === "yes" ? "✓" : "✗";
  const what = make("b", { title: called(labels) }, gone ? "deleted" : called(labels));
  const value = row.similarity === undefined ? null : make("span", { title: "similarity to the query" }, row.similarity.toFixed(3));
  cell.querySelector(".what").replaceChildren(...[what, value].filter(Boolean));
  if (!cell.querySelector(".why").firstChild) cell.querySelector(".why").append(...reason(row));
  for (const one of ["yes", "no"]) cell.querySelector(`.act-${one}`)?.setAttribute("aria-pressed", String(mark === one));
  const stack = cell.querySelector(".act-stack");
  if (stack) {
    stack.setAttribute("aria-expanded", String(Boolean(item.open)));
    stack.textContent = `${item.open ? "− " : "+"}${item.alike.length} alike`;
    stack.title = item.open ? "Fold them again (f)" : "Nearly the same images; marked together while they are folded. Show them (f)";
  }
  cell.querySelector(".name").textContent = name(item, { mark, labels, gone });
}

/** The second line: the file, and which judged image decided. */
function reason(row) {
  const name = make("span", { title: row.id }, file(row.id));
  if (!nearestOf(row)) return [name];
  const { mark, number } = row.nearest;
  return [name, make("span", { class: `near-${mark}`, title: because(row) }, mark === "yes" ? "≈ ✓" : "≈ ✗", picture(number, 20, ""))];
}

function name(item, { mark, labels, gone }) {
  const { row } = item;
  const moved = movement(row);
  return [
    row.rank !== undefined && `rank ${row.rank}`,
    gone ? "deleted" : labels.length ? `label ${called(labels)}` : "no label",
    row.id,
    mark && `marked ${mark}`,
    moved && moved.told,
    because(row),
    item.alike?.length && (item.open ? `${count(item.alike.length, "image")} alike, shown after it` : `with ${count(item.alike.length, "image")} alike, marked together`),
    item.member && "one of those alike",
  ].filter(Boolean).join(", ");
}
