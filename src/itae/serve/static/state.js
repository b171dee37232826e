// What the whole page knows, and how its parts hear of a change.

export const state = {
  base: null, // as /api/base tells it
  version: 0, // of the base, that this page shows: what an edit says it has seen
  search: null, // the search that is open
  round: null, // the round that is shown, with all results so far
  past: false, // whether a later round than the one shown exists
};

const bus = new EventTarget();

/** Hear of: "base", "round", "marks", "selection", "rows", "busy". */
export const on = (name, hear) => bus.addEventListener(name, (event) => hear(event.detail));
export const tell = (name, detail = null) => bus.dispatchEvent(new CustomEvent(name, { detail }));

// --- rows that were told, so that a mark can be drawn and an edit be seen wherever a row is shown

const rows = new Map();
const deleted = new Set();

/** Remember rows, and return them. */
export function know(some) {
  for (const row of some) rows.set(row.id, { id: row.id, number: row.number, labels: row.labels });
  return some;
}

export const rowOf = (id) => rows.get(id) ?? null;
export const isDeleted = (id) => deleted.has(id);
export const labelsOf = (row) => rows.get(row.id)?.labels ?? row.labels;

/** Take over what an edit made of some rows: a list of labels each, or null for one that is gone. */
export function changed(labels) {
  for (const [id, given] of Object.entries(labels)) {
    if (given === null) deleted.add(id);
    else {
      deleted.delete(id);
      if (rows.has(id)) rows.get(id).labels = given;
    }
  }
  tell("rows");
}
