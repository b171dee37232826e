// Yes and no on images, until a round has ranked by them. They survive a reload; u takes the last step back.

import { know, rowOf, state, tell } from "./state.js";

let marks = new Map(); // id -> "yes" or "no", in the order of marking
let steps = []; // each a list of [id, what it was before], the last one last
let of = null; // the search that they belong to

export const markOf = (id) => marks.get(id) ?? null;
export const marked = (mark) => [...marks].filter(([, one]) => one === mark).map(([id]) => id);

/** The mark that an image is shown with: in a round of before, that which it had then. */
export function shownMark(id) {
  if (!state.past) return markOf(id);
  return state.round.yes.includes(id) ? "yes" : state.round.no.includes(id) ? "no" : null;
}
export const canUndo = () => steps.length > 0;

const key = () => `itae.marks.${of}`;

function keep() {
  if (of === null) return;
  const rows = [...marks.keys()].map(rowOf).filter(Boolean);
  try {
    sessionStorage.setItem(key(), JSON.stringify({ marks: [...marks], steps: steps.slice(-200), rows }));
  } catch { /* a browser that keeps nothing: a reload starts from the last round */ }
}

/** Take up the marks of a search: what was kept of them, or those of its last round. */
export function openMarks(sid, round) {
  of = sid;
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(key()));
  } catch { /* nothing usable */ }
  if (kept) {
    know(kept.rows);
    marks = new Map(kept.marks);
    steps = kept.steps;
  } else takeMarks(round);
  tell("marks");
}

/** Have the marks of a round, as if no step had been made. */
export function takeMarks(round) {
  if (round?.judged) know(round.judged);
  marks = new Map([...(round?.yes ?? []).map((id) => [id, "yes"]), ...(round?.no ?? []).map((id) => [id, "no"])]);
  steps = [];
  keep();
  tell("marks");
}

/** No search is open: nothing is marked. */
export function closeMarks() {
  [of, marks, steps] = [null, new Map(), []];
  tell("marks");
}

/** Forget all that was kept of a search. */
export function dropMarks(sid) {
  try { sessionStorage.removeItem(`itae.marks.${sid}`); } catch { /* nothing was kept */ }
}

/** Mark ids "yes" or "no", or take their marks back by null: one step. */
export function mark(ids, what) {
  const step = ids.filter((id) => markOf(id) !== what).map((id) => [id, markOf(id)]);
  if (!step.length) return 0;
  for (const [id] of step) put(id, what);
  steps.push(step);
  keep();
  tell("marks");
  return step.length;
}

function put(id, what) {
  if (what === null) marks.delete(id);
  else marks.set(id, what);
}

/** The last step, to tell whether another was made since. */
export const lastStep = () => steps.at(-1) ?? null;

/** Take the last step back; returns the ids that it had marked, null where there is none. */
export function undo() {
  const step = steps.pop();
  if (!step) return null;
  for (const [id, before] of step) put(id, before);
  keep();
  tell("marks");
  return step.map(([id]) => id);
}

/** What the shown round doesn't know of yet: numbers of new yes, new no, and marks taken back. */
export function fresh() {
  const round = state.round;
  const [yes, no] = [new Set(round?.yes ?? []), new Set(round?.no ?? [])];
  let back = 0;
  for (const id of [...yes, ...no]) if (!marks.has(id)) back += 1;
  return { yes: marked("yes").filter((id) => !yes.has(id)).length, no: marked("no").filter((id) => !no.has(id)).length, back };
}

export const isRanked = (id) => (markOf(id) === "yes" ? state.round?.yes : state.round?.no)?.includes(id) ?? false;

// --- rows that are selected, for edits

const selected = new Set();

export const isSelected = (id) => selected.has(id);
export const selection = () => [...selected];

export function select(ids, on = true) {
  for (const id of ids) selected[on ? "add" : "delete"](id);
  tell("selection");
}

export function clearSelection() {
  selected.clear();
  tell("selection");
}
