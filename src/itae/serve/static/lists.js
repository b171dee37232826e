// Work lists: rows whose label looks wrong, rows that are there more than once, rows that are like no other.

import { get, query } from "./api.js";
import { openDetail } from "./detail.js";
import { button, called, count, empty, file, find, make, thumb } from "./dom.js";
import { correct, remove } from "./edit.js";
import { isSelected, select } from "./marks.js";
import { isDeleted, know, labelsOf, on, state } from "./state.js";

const KINDS = {
  suspects: { name: "Suspects", says: "Rows whose label their neighbours doubt, the likeliest to be wrong first." },
  duplicates: { name: "Duplicates", says: "Pictures that are there more than once; groups with more than one label stand first." },
  outliers: { name: "Outliers", says: "Pictures that are like no other: what more is needed of, or what doesn't belong here." },
};
const FIRST = 50; // items that are asked for

let shown = null; // the kind
let many = FIRST;
let bytes = false; // duplicates by bytes alone
let turn = 0;
const left = new Set(); // suspects that were looked at and found right

/** Show a list. */
export async function openList(kind, { keep = false } = {}) {
  const mine = (turn += 1);
  if (kind !== shown) many = FIRST;
  shown = kind;
  const view = find("lists-view");
  const tabs = make("nav", { class: "tabs", "aria-label": "Lists" }, Object.entries(KINDS).map(([name, one]) => make("a", { href: `#/lists/${name}`, "aria-current": name === kind ? "page" : null }, one.name)));
  const body = make("div", { class: "list-body", "aria-busy": "true" });
  const old = view.querySelector(".list-body");
  if (keep && old) old.setAttribute("aria-busy", "true");
  else {
    view.replaceChildren(tabs, make("h1", {}, KINDS[kind].name), make("p", { class: "note" }, KINDS[kind].says), body);
    body.append(...Array.from({ length: 6 }, () => make("div", { class: "skeleton card-like" })));
  }
  try {
    const told = await get(query(`/lists/${kind}`, { count: many, ...(kind === "duplicates" ? { same_bytes: bytes } : {}) }));
    if (mine !== turn) return;
    const place = keep && old ? old : body;
    const at = [...place.querySelectorAll("article, figure")].indexOf(document.activeElement.closest("article, figure"));
    place.removeAttribute("aria-busy");
    place.replaceChildren(...DRAW[kind](told));
    if (at >= 0) ([...place.querySelectorAll("article, figure")].slice(0, at + 1).at(-1)?.querySelector("button") ?? find("main")).focus();
  } catch (error) {
    if (mine !== turn) return;
    const place = view.querySelector(".list-body");
    place.removeAttribute("aria-busy");
    place.replaceChildren(empty("The list couldn't be made.", error.message, make("p", {}, button("Try again", () => openList(kind)))));
  }
}

export function drawLists() {
  const again = () => document.body.dataset.view === "lists" && openList(shown, { keep: true });
  on("edited", again);
  on("newest", again);
  on("selection", () => {
    for (const box of find("lists-view").querySelectorAll("input[data-id]")) box.checked = isSelected(box.dataset.id);
  });
}

function pick(row) {
  const box = make("input", { type: "checkbox", "data-id": row.id, checked: isSelected(row.id) });
  box.addEventListener("change", () => select([row.id], box.checked));
  return state.base.read_only ? null : make("label", { class: "pick" }, box, " select", make("span", { class: "unseen" }, ` ${row.id}`));
}

const open = (row, width, kind = "") => {
  const made = thumb(row, width, `${called(labelsOf(row))}, ${row.id}`, () => openDetail({ row }));
  if (kind) made.classList.add(kind);
  return made;
};

function longer(n) {
  return n >= many ? [button(`Show more than ${many}`, () => { many *= 2; openList(shown, { keep: true }); }, { class: "more" })] : [];
}

// --- suspects

function suspects({ rows }) {
  know(rows);
  rows.forEach((row) => know(row.neighbours));
  const some = rows.filter((row) => !left.has(row.id) && !isDeleted(row.id));
  if (!some.length) return [empty("No row looks wrong.", "Every row that was looked at agrees with its neighbours.")];
  const list = make("div", { class: "cards" }, some.map((row) => suspect(row)));
  return [list, ...longer(rows.length)];
}

function suspect(row) {
  const labels = labelsOf(row);
  const to = row.suggested;
  const acts = state.base.read_only ? [] : [
    to === null ? null : button(`Label it ${to}…`, () => correct([row.id], { labels: [to], why: `suspect: ${row.says[0] ?? "its neighbours doubt its label"}` }), { class: "main" }),
    button("Another label…", () => correct([row.id])),
    button("Delete…", () => remove([row.id])),
    button("It is right", (event) => { left.add(row.id); next(event.target.closest("article")); }, { title: "Leaves the list until the page is loaded again; nothing changes in the base" }),
  ];
  return make("article", { class: "card", "aria-label": `${called(labels)}, ${row.id}` },
    open(row, 112, "big"),
    make("div", { class: "told" },
      make("p", { class: "labels" }, make("span", { class: "from" }, called(labels)), to === null ? null : [make("span", { class: "arrow", "aria-hidden": "true" }, " → "), make("span", { class: "unseen" }, " suggested: "), make("b", { class: "to" }, to)],
        make("span", { class: "score", title: "how likely it is wrong, as the ranking counts" }, row.score.toFixed(2))),
      make("p", { class: "id" }, row.id),
      make("ul", { class: "reasons" }, row.says.map((reason) => make("li", {}, reason)))),
    make("div", { class: "near", role: "group", "aria-label": "Its nearest rows", tabindex: 0 }, row.neighbours.map((one) => make("figure", {}, open(one, 56), make("figcaption", { title: called(labelsOf(one)), class: to !== null && labelsOf(one).includes(to) ? "to" : null }, called(labelsOf(one)))))),
    make("div", { class: "act" }, pick(row), make("div", { class: "acts" }, acts)));
}

/** Take a card away and focus the one after it. */
function next(card) {
  const after = card.nextElementSibling ?? card.previousElementSibling;
  card.remove();
  after?.querySelector("button")?.focus();
}

// --- duplicates

function duplicates({ groups, total }) {
  groups.forEach((group) => know(group.rows));
  const box = make("input", { type: "checkbox", checked: bytes, onchange: () => { bytes = box.checked; openList("duplicates", { keep: true }); } });
  const form = make("p", { class: "bar" }, make("label", { class: "check" }, box, " the same bytes only"), make("span", { class: "note" }, `${groups.length.toLocaleString("en")} of ${count(total, "group")}`));
  if (!groups.length) return [form, empty("No picture is there twice.", bytes ? "Pictures that are nearly the same may be: look without “the same bytes only”." : "")];
  return [form, make("div", { class: "groups" }, groups.map(group)), ...longer(groups.length)];
}

function group({ rows, same_bytes: same, labels_differ: differ, similarity }) {
  const often = new Map();
  for (const row of rows) often.set(called(labelsOf(row)), (often.get(called(labelsOf(row))) ?? 0) + 1);
  const usual = [...often].sort(([, a], [, b]) => b - a)[0][0];
  const keep = (row) => remove(rows.filter((one) => one.id !== row.id).map((one) => one.id), { why: `duplicates of ${row.id}` });
  return make("article", { class: "group" },
    make("h2", {}, `${count(rows.length, "picture")} `, make("span", { class: "note" }, same ? "the same bytes" : `similarity ${similarity.toFixed(4)} or more`), differ ? make("span", { class: "state changed" }, "more than one label") : null),
    make("div", { class: "tiles members" }, rows.map((row) => make("figure", { class: differ && called(labelsOf(row)) !== usual ? "odd" : null }, open(row, 104),
      make("figcaption", { title: row.id }, make("b", {}, called(labelsOf(row))), make("span", {}, file(row.id)), pick(row),
        state.base.read_only ? null : button("Keep this…", () => keep(row), { title: `Keep ${row.id}, delete the others of this group`, "aria-label": `Keep this: ${file(row.id)}, delete the others` }))))));
}

// --- outliers

function outliers({ all, labels }) {
  const parts = [];
  for (const [title, some] of [["Of all rows", all], ["Within their own label", labels]]) {
    if (!some.length) continue;
    know(some);
    know(some.map((row) => row.nearest).filter(Boolean));
    parts.push(make("section", { class: "outliers" }, make("h2", {}, title), make("div", { class: "tiles members" }, some.filter((row) => !isDeleted(row.id)).map((row) => make("figure", {}, open(row, 104),
      make("figcaption", { title: row.id }, make("b", {}, called(labelsOf(row))), make("span", { title: "distance to the nearest" }, `distance ${row.distance.toFixed(3)}`),
        row.nearest ? make("span", { class: "beside" }, open(row.nearest, 28), make("span", { class: "note", title: row.nearest.id }, `nearest: ${called(labelsOf(row.nearest))}`)) : null, pick(row)))))));
  }
  return parts.length ? [...parts, ...longer(Math.max(all.length, labels.length))] : [empty("Nothing stands apart.", "Every row has others that are like it.")];
}

const DRAW = { suspects, duplicates, outliers };
