// The page: parts are put together here, and the address says which of them is shown.

import { get, post, searchPath } from "./api.js";
import { drawAsk } from "./ask.js";
import { drawDetail, openDetail, shownItem, stepDetail } from "./detail.js";
import { drawDialogs, openTask } from "./dialogs.js";
import { dockAgain, drawDock } from "./dock.js";
import { button, count, empty, find, make } from "./dom.js";
import { correct, remove } from "./edit.js";
import { drawFocus } from "./focus.js";
import { watch } from "./fresh.js";
import { drawJournal, openJournal } from "./journal.js";
import { drawKeys } from "./keys.js";
import { drawLists, openList } from "./lists.js";
import { clearSelection, dropMarks, fresh, isSelected, lastStep, mark, marked, markOf, select, selection, undo } from "./marks.js";
import { drawOptions, offer } from "./options.js";
import { between, browse, current, drawGrid, idsOf, itemAt, placeOf, seen, stack, theGrid } from "./results.js";
import { drawRound, forget } from "./round.js";
import { drawSearches } from "./searches.js";
import { goOn, leave, next, open, otherwise, start } from "./search.js";
import { on, state } from "./state.js";
import { banner, say, toast } from "./status.js";
import { drawWhy } from "./why.js";

// --- acts on an item

let anchor = 0; // where a range of the selection begins
let opened = null; // the place whose image is open
let stale = false; // whether the base was edited while its rows weren't in sight

function judge(item, what) {
  if (state.past) return before("mark");
  if (!state.search) return toast("Begin a search first: s searches like this image.");
  if (!item || item.row.rank === undefined) return undefined;
  const ids = idsOf(item);
  const to = markOf(item.row.id) === what ? null : what;
  mark(ids, to);
  const more = ids.length > 1 ? `, with ${count(ids.length - 1, "image")} alike` : "";
  return say(`${to === null ? `No longer marked ${what}` : `Marked ${what}`}${more}`);
}

/** Say why nothing can be done in a round of before, and what can. */
const before = (what) => toast(`This is round ${state.round.round} as it was: go on from here to ${what}.`, [["Go on from here", goOn]]);

function takeBack() {
  const ids = undo();
  if (!ids) return say("No mark to take back.");
  const at = placeOf(ids[0]);
  if (at >= 0 && find("grid").contains(document.activeElement)) theGrid().go(at);
  return say(`Taken back: ${ids.length === 1 ? `${ids[0]} is ${markOf(ids[0]) ? `marked ${markOf(ids[0])}` : "not marked"}` : count(ids.length, "mark")}`);
}

const like = (item) => {
  find("image").close();
  return start({ id: item.row.id });
};

// A tap selects while the button says so: there is no key on a screen that is touched.
const isSelecting = () => find("selecting").getAttribute("aria-pressed") === "true";

function selecting(on_) {
  find("selecting").setAttribute("aria-pressed", String(on_));
  find("grid").classList.toggle("selecting", on_);
}

const clear = () => {
  selecting(false);
  clearSelection();
};

function openAt(i) {
  const item = itemAt(i);
  if (!item) return;
  opened = i;
  openDetail(item, (by) => {
    const to = theGrid().at + by;
    if (!itemAt(to)) return;
    theGrid().go(to, { focus: false });
    openAt(to);
  });
}

function pick(i, { range = false } = {}) {
  const item = itemAt(i);
  if (!item) return;
  if (range) select(between(anchor, i));
  else {
    select(idsOf(item), !isSelected(item.row.id));
    anchor = i;
  }
  say(`${count(selection().length, "row")} selected`);
}

/** What has been in sight and isn't marked is marked no; where nothing is marked yes, a page unlike it is asked for. */
async function nothingRight() {
  const ids = seen().filter((id) => markOf(id) === null);
  mark(ids, "no");
  const step = lastStep();
  const back = () => (lastStep() === step ? takeBack() : toast("Other marks were made since: u takes them back, the last one first."));
  const diverse = marked("yes").length === 0;
  if (await next({ diverse })) toast(`${count(ids.length, "image")} marked no; here are others${diverse ? ", unlike them and unlike each other" : ""}.`, [["Undo the marks", back]]);
}

function labelYes() {
  const { round } = state;
  const words = state.search.kind === "text" ? `"${state.search.name}"` : state.search.name;
  correct(marked("yes"), { why: `marked yes in a search for ${words}, round ${round?.round ?? 0}` });
}

/** The next round, unless it would be the one that is shown. */
function enter() {
  const { i, item } = current();
  if (!state.search) return item && like(itemAt(i));
  const { yes, no, back } = fresh();
  if (state.past) return before("ask again");
  if (!yes && !no && !back && !otherwise()) return toast("Nothing is marked since this round: y or n on an image, then Enter.");
  return next();
}

async function classifyQuery() {
  const { body } = openTask("What the base would call the query", make("div", { class: "skeleton line" }), make("div", { class: "skeleton block" }));
  try {
    body.replaceChildren(drawWhy(await post(searchPath(state.search.search, "/classify")), { open: openDetail, correct, remove }, { level: 3 }));
  } catch (error) {
    body.replaceChildren(make("p", { class: "error" }, error.message));
  }
}

async function forgetThis() {
  const sid = state.search.search;
  if (!(await forget(sid))) return;
  dropMarks(sid);
  location.hash = "#/";
}

// --- the grid by mouse and touch

function clicks() {
  find("grid").addEventListener("click", (event) => {
    const cell = event.target.closest("[data-i]");
    if (!cell) return;
    const i = Number(cell.dataset.i);
    const item = itemAt(i);
    const what = event.target.closest("[data-act]")?.dataset.act;
    if (!item) return;
    theGrid().go(i);
    if (what === "yes" || what === "no") judge(item, what);
    else if (what === "stack") stack(i);
    else if (what === "like") like(item);
    else if (event.shiftKey) pick(i, { range: true });
    else if (event.ctrlKey || event.metaKey || isSelecting()) pick(i);
    else openAt(i);
  });
  find("selecting").addEventListener("click", () => (isSelecting() ? clear() : selecting(true)));
  find("grid").addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault()); // no text is selected
  find("image").addEventListener("close", () => {
    if (opened !== null) theGrid().go(opened); // where one has got to, not where one began
    opened = null;
  });
}

// --- what the address shows

function route() {
  const [, view = "", ...rest] = location.hash.replace(/^#/, "").split("/").map(decodeURIComponent);
  const shown = ["lists", "journal"].includes(view) ? view : "search";
  for (const one of ["search", "lists", "journal"]) {
    find(`${one}-view`).hidden = one !== shown;
    find(`to-${one}`).toggleAttribute("aria-current", one === shown);
    if (one === shown) find(`to-${one}`).setAttribute("aria-current", "page");
  }
  document.body.dataset.view = shown;
  clearSelection();
  selecting(false);
  dockAgain();
  if (shown === "lists") return openList(["suspects", "duplicates", "outliers"].includes(rest[0]) ? rest[0] : "suspects");
  if (shown === "journal") return openJournal();
  if (view === "search" && rest[0]) {
    find("to-search").href = location.hash;
    return open(rest[0], rest[1] === undefined ? null : Number(rest[1]));
  }
  find("to-search").href = "#/";
  const elsewhere = stale;
  stale = false;
  if (state.search || !theGrid().count || elsewhere) leave();
  else theGrid().render();
  return undefined;
}

function describe() {
  const { base } = state;
  Object.assign(find("base-name"), { textContent: base.name, title: `${base.path}, ${base.backbone}, ${base.edit}, itae ${base.itae}` });
  Object.assign(find("user"), { textContent: base.user, title: `Signed in as ${base.user}` });
  banner("kept", base.read_only, [], "quiet");
  if (state.search === null && !find("heading").textContent.includes("of")) document.title = `${base.name} · itae`;
}

function hear() {
  on("busy", (busy) => { find("progress").hidden = !busy; });
  on("apply", () => otherwise() && next());
  on("base", () => { describe(); offer(); });
  for (const name of ["edited", "newest"]) on(name, () => { stale = stale || document.body.dataset.view !== "search"; });
  on("newest", () => { if (!state.search && document.body.dataset.view === "search") browse(); });
  on("failed", (error) => {
    if (!state.search && location.hash.startsWith("#/search/")) location.hash = "#/"; // a search that is no more
    if (!state.search || state.round) return;
    find("grid").hidden = true;
    find("nothing").replaceChildren(empty("The search gave nothing.", error.message, make("p", {}, button("Try again", () => next()))));
  });
}

async function begin() {
  drawDialogs();
  try {
    state.base = await get("/base");
  } catch (error) {
    find("heading").textContent = error.status === 401 ? "Not signed in" : "The base couldn't be opened";
    find("nothing").replaceChildren(empty(error.status === 401 ? "Open the link that the terminal printed, once more." : "It may be that the server is gone.", error.message, make("p", {}, button("Try again", () => location.reload()))));
    return;
  }
  state.version = state.base.version;
  drawOptions();
  drawAsk();
  drawGrid();
  drawRound({ classify: classifyQuery, forget: forgetThis });
  drawDock({ undo: takeBack, nothingRight, labelYes, correct, remove });
  drawDetail({ mark: judge, like, correct, remove, open: openDetail, select: (item) => select(idsOf(item), !isSelected(item.row.id)) });
  drawSearches();
  drawLists();
  drawJournal();
  const on_ = (act) => () => act(current().i, current().item);
  drawKeys({
    grid: theGrid, undo: takeBack, step: stepDetail, clear, enter,
    markShown: (what) => shownItem() && judge(shownItem(), what),
    box: () => { location.hash = document.body.dataset.view === "search" ? location.hash : find("to-search").getAttribute("href"); find("words").focus(); find("words").select(); },
    yes: on_((i, item) => judge(item, "yes")), no: on_((i, item) => judge(item, "no")),
    open: on_(openAt), like: on_((i, item) => item && like(item)), select: on_((i) => pick(i)), stack: on_(stack),
  });
  clicks();
  hear();
  drawFocus();
  describe();
  watch();
  addEventListener("hashchange", route);
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); find("main").focus(); });
  route();
}

begin();
