// An edit: what it would do is shown first, which rows and which predictions turn, and only then can it be made.

import { get, post, query } from "./api.js";
import { chips } from "./chips.js";
import { openTask } from "./dialogs.js";
import { button, called, count, file, find, make, thumb } from "./dom.js";
import { committed, made, seenOf } from "./fresh.js";
import { clearSelection } from "./marks.js";
import { changed, labelsOf, rowOf, state } from "./state.js";
import { toast } from "./status.js";

const SHOWN = 18; // pictures
const FEW = 12; // rows with their old and new labels

/** Label rows: `labels` that are suggested, `why` that is proposed. */
export const correct = (ids, { labels = [], why = "" } = {}) =>
  edit({ title: `Label ${count(ids.length, "row")}`, ids, labels, why, verb: "correct", word: (n) => `Label ${count(n, "row")}` });

export const remove = (ids, { why = "" } = {}) =>
  edit({ title: `Delete ${count(ids.length, "row")}`, ids, why, verb: "delete", note: "They are in no answer and no search any more. Earlier versions keep them, so this can be taken back.", word: (n) => `Delete ${count(n, "row")}` });

export const undoEdit = (n) =>
  edit({ title: `Undo edit ${n}`, change: { verb: "undo", edit: n }, verb: "undo", note: "An undo is an edit of its own: the journal keeps both.", word: () => `Undo edit ${n}` });

export const restore = (version) =>
  edit({ title: `Go back to version ${version}`, change: { verb: "restore", version }, verb: "restore", note: "A new version is made that is as this one was; nothing in between is lost.", word: () => `Go back to version ${version}` });

function edit(task) {
  const { ids = [] } = task;
  const field = task.verb === "correct" ? chips("labels", { free: true, placeholder: "a label", changed: () => look() }) : null;
  const bare = field && make("input", { type: "checkbox", onchange: () => look() });
  const why = make("textarea", { id: "edit-why", rows: 2, maxlength: 2000 });
  why.value = task.why ?? "";
  const shown = make("div", { class: "dry", role: "status" });
  const problem = make("div", { class: "problem", role: "alert", hidden: true });
  const commit = button(task.word(ids.length), () => make_(), { class: `main ready${task.verb === "delete" ? " danger" : ""}`, disabled: true });
  const cancel = button("Cancel", () => find("task").close());
  const rows = ids.map((id) => rowOf(id) ?? { id, number: -1, labels: [] });
  openTask(task.title,
    ids.length ? make("div", { class: "rows", role: "group", "aria-label": "Rows" }, rows.slice(0, SHOWN).map(now), ids.length > SHOWN ? make("span", { class: "note" }, `and ${ids.length - SHOWN} more`) : null) : null,
    task.note ? make("p", { class: "note" }, task.note) : null,
    field?.element, field ? make("label", { class: "check" }, bare, " no label: take those away that they have") : null,
    make("div", { class: "field wide" }, make("label", { for: "edit-why" }, "why (for the journal)"), why),
    make("h3", {}, "What it would do"), shown, problem,
    make("div", { class: "acts end" }, cancel, commit));
  if (field) {
    field.offer(state.base.labels);
    field.set(task.labels);
    if (!task.labels.length) field.input.focus();
    else commit.focus();
  }

  let seen = Math.max(seenOf(ids), task.change?.edit ?? 0); // who undoes an edit has seen it
  let [last, turn] = [null, 0];
  const change = () => {
    if (task.change) return task.change;
    if (task.verb === "delete") return { verb: "delete", ids };
    const labels = bare.checked ? [] : field.values();
    return labels.length || bare.checked ? { verb: "correct", labels: Object.fromEntries(ids.map((id) => [id, labels])) } : null;
  };
  const wrong = (...parts) => { problem.replaceChildren(...parts); problem.hidden = !parts.length; };

  async function look() {
    const wanted = change();
    const mine = (turn += 1);
    last = null;
    commit.disabled = true;
    wrong();
    if (field) field.input.disabled = bare.checked;
    if (!wanted) return shown.replaceChildren(make("p", { class: "note" }, "Choose a label to see which predictions it turns."));
    shown.replaceChildren(make("div", { class: "skeleton line" }), make("div", { class: "skeleton line short" }));
    try {
      const told = await post("/edits/look", wanted);
      if (mine !== turn) return undefined;
      last = { wanted, told };
      const n = told.counts.added + told.counts.changed + told.counts.deleted;
      shown.replaceChildren(...drawLook(told));
      commit.disabled = n === 0;
      if (ids.length) commit.textContent = task.word(n || ids.length);
    } catch (error) {
      if (mine !== turn) return undefined;
      shown.replaceChildren();
      wrong(make("p", {}, error.message), button("Look again", look));
    }
    return undefined;
  }

  async function make_() {
    if (field && !field.commit()) return;
    if (!last) return;
    const { wanted, told } = last;
    commit.disabled = true;
    wrong();
    try {
      const done = await post("/edits", { ...wanted, seen, why: why.value.trim() });
      find("task").close();
      clearSelection();
      await after(wanted, told, done, ids);
    } catch (error) {
      if (error.status === 409) {
        wrong(make("p", {}, error.message), button("Look again", async () => {
          await renew(told);
          seen = (await get(query("/version", { seen }))).version;
          look();
        }));
      } else {
        wrong(make("p", {}, error.message));
        commit.disabled = false;
      }
    }
  }
  look();
}

/** A row as it is now. */
function now(row) {
  const labels = called(labelsOf(row));
  return make("figure", {}, thumb(row, 56, `${labels}, ${row.id}`, null, { disabled: true }), make("figcaption", { title: labels }, labels));
}

/** What a dry run says. */
function drawLook(told) {
  const { counts } = told;
  const sums = [["added", "be added"], ["changed", "change"], ["deleted", "be deleted"]].filter(([word]) => counts[word]).map(([word, would]) => `${count(counts[word], "row")} would ${would}`);
  if (told.same) sums.push(`${told.same} the same as before`);
  const parts = [make("p", {}, sums.length ? `${sums.join(", ")}.` : "Nothing would change.")];
  const fresh = told.new_labels.slice(0, FEW).map((name, i) => [i ? ", " : "", make("b", {}, name)]);
  if (fresh.length) {
    const more = told.new_labels.length - fresh.length;
    parts.push(make("p", { class: "warns" }, fresh, more ? ` and ${more} more` : "", told.new_labels.length === 1 ? ": a new label, which no row of the base has had so far." : ": new labels, which no row of the base has had so far."));
  }
  parts.push(...relabelled(told.labels, counts.changed));
  for (const note of [...told.notes, told.voter_note].filter(Boolean)) parts.push(make("p", { class: "note" }, note));
  const { turned } = told;
  if (told.turned_of) {
    parts.push(make("p", {}, turned.length ? make("b", {}, `${count(turned.length, "prediction turns", "predictions turn")}`) : "No prediction turns", ` of ${told.turned_of.toLocaleString("en")} looked at.`));
    if (turned.length) {
      parts.push(make("div", { class: "turned", role: "group", tabindex: 0, "aria-label": "Predictions that turn" }, turned.slice(0, 60).map(turns)));
      if (turned.length > 60) parts.push(make("p", { class: "note" }, `and ${turned.length - 60} more`));
    }
  }
  if (told.turned_note) parts.push(make("p", { class: "note" }, told.turned_note));
  return parts;
}

/** Rows that would get other labels, the old and the new of each. */
function relabelled(labels, changed) {
  if (!labels.length) return [];
  const more = Math.max(labels.length, changed) - FEW;
  return [make("div", { class: "turned", role: "group", tabindex: 0, "aria-label": "Labels, old and new" }, labels.slice(0, FEW).map(turns)), more > 0 ? make("p", { class: "note" }, `and ${count(more, "more row", "more rows")}`) : null].filter(Boolean);
}

/** A row, with what it is called before and after. */
const turns = (one) => make("figure", {}, thumb(one, 56, one.id, null, { disabled: true }),
  make("figcaption", {}, make("span", { title: file(one.id) }, called(one.before)), make("span", { "aria-hidden": "true" }, " → "), make("span", { class: "unseen" }, " becomes "), make("b", { class: "to" }, called(one.after))));

/** Ask anew for rows that may be others now. */
async function renew({ added, changed: some, deleted }) {
  const ids = [...added, ...some].filter(rowOf).slice(0, 200);
  const labels = Object.fromEntries(deleted.filter(rowOf).map((id) => [id, null]));
  await Promise.all(ids.map(async (id) => {
    try {
      labels[id] = (await get(query("/row", { id }))).labels;
    } catch (error) {
      if (error.status === 404) labels[id] = null;
    }
  }));
  changed(labels);
}

async function after(wanted, told, done, ids) {
  if (done.edit === null) return toast("Nothing changed: all of it was so already.");
  made(done, ids);
  toast(`${DONE[wanted.verb](told, wanted)}: edit ${done.edit}, ${count(done.rows, "row")} now.`, [["Undo", () => undoEdit(done.edit)]]);
  if (wanted.verb === "correct") changed(wanted.labels);
  else if (wanted.verb === "delete") changed(Object.fromEntries(ids.map((id) => [id, null])));
  else await renew(told);
  await committed(done);
  return undefined;
}

const DONE = {
  correct: (told) => `${count(told.counts.changed, "row")} labelled`,
  delete: (told) => `${count(told.counts.deleted, "row")} deleted`,
  undo: (told, wanted) => `Edit ${wanted.edit} undone`,
  restore: (told, wanted) => `Back at version ${wanted.version}`,
};
