// What stands in the grid: the rows of the base, or the results of a round with those folded that are nearly the same.

import { get, query } from "./api.js";
import { count, empty, find, make } from "./dom.js";
import { Grid } from "./grid.js";
import { filters, blame, view } from "./options.js";
import { more } from "./search.js";
import { know, on, state, tell } from "./state.js";
import { failed, say } from "./status.js";
import { skeleton, tile, updateTile } from "./tile.js";

const PAGE = 120; // rows of the base that are asked for at a time

let items = []; // {row, alike, open, member}, by place; holes where a row hasn't come
let total = 0;
let asking = new Set(); // pages of the base on their way or here
let turn = 0; // another list makes answers for the old one void
const opened = new Set(); // ids of the first of stacks that are open
let grid;

export const itemAt = (i) => items[i] ?? null;
export const current = () => ({ i: grid.at, item: itemAt(grid.at) });
export const theGrid = () => grid;
export const placeOf = (id) => items.findIndex((item) => item?.row.id === id);

/** All ids that an act on an item means: those folded under it as well. */
export const idsOf = (item) => [item.row.id, ...(item.open ? [] : (item.alike ?? []).map((row) => row.id))];

/** Ids of the places from `a` to `b`. */
export function between(a, b) {
  const [first, last] = a < b ? [a, b] : [b, a];
  return items.slice(first, last + 1).filter(Boolean).flatMap(idsOf);
}

/** Ids of what has been in sight, in this round. */
export const seen = () => items.slice(0, grid.farthest + 1).filter(Boolean).flatMap(idsOf);

export function drawGrid() {
  grid = new Grid(find("grid"), {
    draw: (i, wide) => (items[i] ? tile(items[i], wide) : skeleton()),
    update: (cell, i) => items[i] && !cell.classList.contains("skeleton") && updateTile(cell, items[i]),
    wanted: (first, last, below) => (state.search ? nearEnd(below) : pages(first, last)),
  });
  grid.size(view().size);
  for (const name of ["marks", "selection", "rows"]) on(name, () => grid.refresh());
  on("view", () => {
    grid.size(view().size);
    if (state.round) refold();
  });
  on("options", () => state.search || browse());
  on("edited", () => { if (!state.search && !Object.values(filters()).some((one) => one?.length)) find("heading").textContent = `All ${count(state.base.rows, "row")}`; });
  on("search", () => {
    opened.clear();
    if (state.search) waiting();
    else browse();
  });
  on("busy", (busy) => find("grid").setAttribute("aria-busy", String(busy)));
  on("round", (told) => showRound(told ?? {}));
  on("more", () => refold({ grown: true }));
}

/** Tiles that stand for those to come. */
function waiting(n = view().count) {
  items = [];
  turn += 1;
  message();
  find("grid").setAttribute("aria-label", "Results, loading");
  grid.show(n);
}

/** A box in the place of the grid. */
function message(box = null) {
  const held = find("grid").contains(document.activeElement);
  find("nothing").replaceChildren(...(box ? [box] : []));
  find("grid").hidden = box !== null;
  if (box && held) find("main").focus({ preventScroll: true });
}

// --- the whole base

/** Show the rows of the base that pass the filters. */
export async function browse() {
  const mine = (turn += 1);
  asking = new Set([0]);
  items = [];
  opened.clear();
  message();
  find("grid").setAttribute("aria-label", "Rows of the base");
  grid.show(Math.min(state.base.rows || 24, 60));
  tell("busy", true);
  try {
    const told = await get(query("/rows", asked(0)));
    if (mine !== turn) return;
    total = told.total;
    put(told.rows, 0);
    if (total === 0) return none();
    grid.show(total);
    const all = total === state.base.rows;
    find("heading").textContent = all ? `All ${count(total, "row")}` : `${count(total, "row")} of ${state.base.rows.toLocaleString("en")}`;
    say(find("heading").textContent);
  } catch (error) {
    if (mine !== turn) return;
    if (!blame(error)) failed(error);
    message(empty("The rows couldn't be had.", error.message, retry(browse)));
  } finally {
    if (mine === turn) tell("busy", false);
  }
}

const retry = (again) => make("p", {}, make("button", { type: "button", onclick: () => again() }, "Try again"));

function asked(offset) {
  const { labels, sources, where } = filters();
  return { label: labels, source: sources, where, offset, count: PAGE };
}

function none() {
  const bare = state.base.rows === 0;
  find("heading").textContent = bare ? "An empty base" : "No row";
  message(bare
    ? empty("Nothing is in it yet.", "It can be searched as soon as it has pictures:", make("div", { class: "shell" }, make("code", { tabindex: 0 }, `itae knowledge add ${state.base.path} dataset=imagefolder dataset.root=FOLDER`)))
    : empty("No row passes these filters.", "Take one away, or ask for less."));
}

function put(rows, offset) {
  know(rows).forEach((row, i) => { items[offset + i] = { row, alike: [] }; });
}

let timer;

/** Ask for the pages of what is in sight, once scrolling has come to rest somewhere. */
function pages(first, last) {
  if (!total) return;
  const missing = () => {
    const list = [];
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) if (!asking.has(page)) list.push(page);
    return list;
  };
  if (!missing().length) return;
  clearTimeout(timer);
  timer = setTimeout(() => missing().forEach(have), 60);
}

async function have(page) {
  const mine = turn;
  asking.add(page);
  try {
    const told = await get(query("/rows", asked(page * PAGE)));
    if (mine !== turn) return;
    put(told.rows, page * PAGE);
    grid.redraw(page * PAGE, page * PAGE + PAGE - 1);
  } catch (error) {
    if (mine === turn) {
      asking.delete(page);
      failed(error);
    }
  }
}

// --- a round

function showRound({ again = false } = {}) {
  turn += 1;
  if (!again) opened.clear();
  const { round } = state;
  find("grid").setAttribute("aria-label", `Results of round ${round.round}`);
  items = folded(round.results);
  if (!items.length) {
    grid.show(0);
    const filtered = filters().labels.length + filters().sources.length > 0 || filters().where;
    return message(filtered ? empty("Nothing passes these filters.", "Take one away and rank again.") : empty("Nothing is left.", "Every image of the base was judged."));
  }
  message();
  grid.show(items.length);
  return undefined;
}

/** Put those that are nearly the same under the first of them, and after it where it is open. */
function folded(results) {
  const heads = new Map();
  const list = [];
  for (const row of results) {
    const head = view().fold && row.same_as !== null ? heads.get(row.same_as) : undefined;
    if (head) head.alike.push(row);
    else list.push({ row, alike: [], open: opened.has(row.id) });
    heads.set(row.id, head ?? list.at(-1));
  }
  return list.flatMap((item) => (item.open ? [item, ...item.alike.map((row) => ({ row, alike: [], member: true }))] : [item]));
}

/** Fold anew: the round has grown, or a stack was opened. */
function refold({ grown = false } = {}) {
  const before = items;
  items = folded(state.round.results);
  grid.show(items.length, { stay: true });
  const same = (i) => before[i] && before[i].row === items[i]?.row && before[i].alike.length === items[i].alike.length && before[i].open === items[i].open;
  for (let i = 0; i < Math.min(items.length, grown ? before.length : Infinity); i += 1) if (!same(i) && grid.tile(i)) grid.redraw(i, i);
}

/** Open or close the stack of a place. */
export function stack(i) {
  const item = itemAt(i);
  if (!item?.alike?.length) return;
  if (!opened.delete(item.row.id)) opened.add(item.row.id);
  refold();
  grid.go(i);
  say(opened.has(item.row.id) ? `${count(item.alike.length, "image")} alike shown after it, marked one by one` : "Folded again, marked together");
}

function nearEnd(below) {
  if (!state.round || state.past || state.round.left <= 0) return;
  if (below + grid.columns >= items.length) more();
}
