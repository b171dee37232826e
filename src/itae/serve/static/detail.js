// One image, large, with all that is known of it, and what can be done with it.

import { get, post, query } from "./api.js";
import { openImage } from "./dialogs.js";
import { button, called, count, details, file, find, make, moment, picture, thumb } from "./dom.js";
import { isSelected, markOf } from "./marks.js";
import { on, isDeleted, labelsOf, state } from "./state.js";
import { drawWhy } from "./why.js";
import { because, movement, nearestOf } from "./tile.js";

let shown = null; // {item, acts, redraw} of the image that is open
let acts;

/** `told`: `{mark, like, select}`, each given an item, and `{correct, remove}`, given ids. */
export function drawDetail(told) {
  acts = told;
  for (const name of ["marks", "selection", "rows"]) on(name, () => shown?.redraw());
  for (const name of ["edited", "newest"]) on(name, () => shown && !isDeleted(shown.item.row.id) && shown.learn());
  find("image").addEventListener("close", () => { shown = null; });
}

export const shownItem = () => (find("image").open ? shown?.item ?? null : null);

/** Open an item of the grid, or a row of anywhere (`{row}`). `step(by)` goes to the one before or after, if there are such. */
export function openDetail(item, step = null) {
  const { row } = item;
  const about = make("div", { class: "about" });
  const buttons = make("div", { class: "acts" });
  const more = make("div", { class: "further" });
  const large = make("div", { class: "large" }, picture(row.number, 512, `${called(labelsOf(row))}, ${row.id}`, { lazy: false }));
  if (step) {
    large.append(button("‹", () => step(-1), { class: "step before", "aria-label": "The image before (←)" }), button("›", () => step(1), { class: "step after", "aria-label": "The next image (→)" }));
  }
  const made = openImage(row.id, make("div", { class: "one" }, large, make("div", { class: "side" }, buttons, about)), more);
  let known = null;
  const redraw = () => {
    const held = document.activeElement?.dataset?.name;
    buttons.replaceChildren(...doing(item, more));
    if (held) buttons.querySelector(`[data-name="${held}"]`)?.focus();
    about.replaceChildren(...telling(item, known));
  };
  const learn = () => get(query("/row", { id: row.id })).then((told) => {
    known = told;
    if (shown?.item === item) redraw();
  }, (error) => shown?.item === item && !isDeleted(row.id) && about.append(make("p", { class: "error" }, error.message)));
  shown = { item, redraw, step, learn };
  redraw();
  learn();
  return made;
}

/** Go to the image before or after the one that is open. */
export const stepDetail = (by) => shown?.step?.(by);

function doing(item, more) {
  const { row } = item;
  const list = [];
  const named = (name, text, act, attributes = {}) => button(text, act, { "data-name": name, ...attributes });
  if (state.search && !state.past && row.rank !== undefined) {
    for (const [what, sign] of [["yes", "✓ Yes"], ["no", "✗ No"]]) list.push(named(what, sign, () => acts.mark(item, what), { class: `mark-${what}`, "aria-pressed": String(markOf(row.id) === what) }));
  }
  if (isDeleted(row.id)) return list;
  list.push(named("like", "Search like this", () => acts.like(item)), named("why", "Classify", () => classify(row, more)));
  list.push(named("select", "Select", () => acts.select(item), { "aria-pressed": String(isSelected(row.id)), title: "For labelling or deleting several" }));
  if (!state.base.read_only) list.push(named("label", "Label…", () => acts.correct([row.id])), named("delete", "Delete…", () => acts.remove([row.id])));
  return list;
}

function telling(item, known) {
  const { row } = item;
  const moved = movement(row);
  const labels = labelsOf(row);
  const pairs = [
    [labels.length > 1 ? "labels" : "label", isDeleted(row.id) ? "deleted" : called(labels)],
    ["rank", row.rank === undefined ? null : `${row.rank}${moved ? `, ${moved.told}` : ""}`],
    ["similarity", row.similarity?.toFixed(4)],
    ["score", row.score?.toFixed(4)],
    ["source", known?.source], ["place", known?.place], ["group", known?.group], ["added", known?.time && moment(known.time)],
    ...Object.entries(known?.metadata ?? {}).map(([name, value]) => [name, value === null ? null : typeof value === "object" ? JSON.stringify(value) : String(value)]),
    ["picture", known?.picture === "gone" ? "not where it was" : null],
  ];
  const list = [details(pairs)];
  const near = nearestOf(row);
  if (near) {
    const told = because(row);
    list.push(make("div", { class: "because" }, thumb(near, 56, `Open ${near.id}`, () => openDetail({ row: { ...near, labels: [] } })),
      make("p", {}, told.startsWith("because") ? "Here " : "It is ", told.slice(0, -near.id.length), make("code", {}, near.id))));
  } else if (row.rank !== undefined) list.push(make("p", { class: "note" }, "Here because it is like the query."));
  if (item.alike?.length) {
    list.push(make("h3", {}, `${count(item.alike.length, "image")} nearly the same`),
      make("div", { class: "tiles" }, item.alike.slice(0, 24).map((one) => thumb(one, 56, `${file(one.id)}, ${called(labelsOf(one))}`, () => openDetail({ row: one })))));
  }
  if (known?.edits?.length) {
    list.push(make("details", {}, make("summary", {}, count(known.edits.length, "edit touched it", "edits touched it")),
      make("ul", { class: "reasons" }, known.edits.map((edit) => make("li", {}, `${edit.edit}: ${edit.verb} by ${edit.who}, ${moment(edit.when)}${edit.why ? `: ${edit.why}` : ""}`)))));
  }
  return list;
}

/** Ask what the base would say of a row, as if it were not there. */
async function classify(row, more) {
  const head = make("h3", { tabindex: -1 }, "What the base would call it");
  const place = make("div", {}, make("div", { class: "skeleton line" }), make("div", { class: "skeleton block" }));
  more.replaceChildren(head, place);
  head.focus();
  head.scrollIntoView({ block: "nearest" });
  try {
    place.replaceChildren(drawWhy(await post("/classify", { id: row.id }), { open: openDetail, ...acts }, { row }));
    head.scrollIntoView({ block: "start" });
  } catch (error) {
    place.replaceChildren(make("p", { class: "error" }, error.message));
  }
}
