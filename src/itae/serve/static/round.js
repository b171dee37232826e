// Above the grid: what was asked, what the round gave, the rounds before it, and what else can be done with a search.

import { call, post, searchPath } from "./api.js";
import { button, count, find, make, moment, picture } from "./dom.js";
import { marked } from "./marks.js";
import { ruleName } from "./options.js";
import { goOn, moved, next } from "./search.js";
import { on, state } from "./state.js";
import { copy, failed, toast } from "./status.js";
import { openTask } from "./dialogs.js";

/** `acts` are what others do with the query: `{classify, nothingRight}`. */
export function drawRound(acts) {
  on("search", () => {
    question();
    history();
    find("offers").replaceChildren();
    find("round-says").textContent = "";
    noted(state.search ? notesOf(state.search) : []);
    actsOf(acts);
    document.body.classList.remove("past");
    find("search-view").classList.toggle("searching", state.search !== null);
    if (state.search) find("heading").textContent = title();
  });
  on("round", () => {
    said();
    history();
    actsOf(acts);
    document.body.classList.toggle("past", state.past);
    offers(acts);
  });
  on("more", said);
  on("marks", () => offers(acts));
}

/** What was asked, in words. */
export function title() {
  const { kind, name } = state.search;
  return kind === "text" ? `“${name}”` : `Like ${name}`;
}

function question() {
  const { search } = state;
  const shown = search === null || search.kind === "text" ? [] : [
    search.kind === "row" ? picture(search.number, 56, "", { lazy: false })
      : picture(null, 56, "", { lazy: false, source: `/api${searchPath(search.search, "/picture")}` }),
  ];
  find("question").replaceChildren(...shown);
  document.title = search ? `${title()} · ${state.base.name} · itae` : `${state.base.name} · itae`;
}

function said() {
  const { round, search } = state;
  const all = round.results.length + round.left;
  const parts = [
    `Round ${round.round} by ${ruleName(round.rule)}: ${round.results.length.toLocaleString("en")} of ${count(all, "image")}`,
    moved(round),
    round.where && `where ${round.where}`,
    `version ${round.version}`,
  ];
  noted([...notesOf(search), ...round.notes]);
  find("round-says").textContent = parts.filter(Boolean).join(" · ");
}

/** What is to be known of a search or a round, such as a word that is unknown: it is no small print. */
function noted(notes) {
  find("notes").textContent = [...new Set(notes)].join(" ");
  find("notes").hidden = notes.length === 0;
}

/** The notes of a search: the server tells them when it begins, so they are kept with it. */
function notesOf({ search: sid, notes }) {
  const key = `itae.notes.${sid}`;
  try {
    if (notes.length) sessionStorage.setItem(key, JSON.stringify(notes));
    return JSON.parse(sessionStorage.getItem(key) ?? "[]");
  } catch {
    return notes;
  }
}

function history() {
  const place = find("history");
  const held = place.contains(document.activeElement) ? document.activeElement.dataset.round : null;
  const rounds = state.search?.rounds ?? [];
  place.hidden = state.search === null; // its line is there before the first round is, so that nothing moves
  if (!rounds.length) return place.replaceChildren(make("span", { class: "note" }, "rounds"));
  const sid = encodeURIComponent(state.search.search);
  const items = rounds.map((one, i) => {
    const here = state.round?.round === one.round;
    const told = `Round ${one.round}: ${one.yes} yes, ${one.no} no, by ${ruleName(one.rule)}${one.diverse ? ", a diverse page" : ""}${one.where ? `, where ${one.where}` : ""}, ${moment(one.time)}`;
    const text = one.round === 0 ? "start" : news(one, rounds[i - 1]);
    return make("li", {}, make("a", { href: `#/search/${sid}${i === rounds.length - 1 ? "" : `/${one.round}`}`, title: told, "aria-current": here ? "step" : null, "data-round": one.round },
      make("span", { class: "number" }, String(one.round)), make("span", { class: "unseen" }, "round, "), ` ${text}`));
  });
  place.replaceChildren(make("span", { class: "note", "aria-hidden": "true" }, "rounds"), make("ol", {}, ...items));
  const here = place.querySelector("[aria-current]");
  if (held) place.querySelector(`[data-round="${held}"]`)?.focus({ preventScroll: true });
  if (here) place.scrollLeft = here.offsetLeft - place.clientWidth / 2;
  return undefined;
}

/** What tells a round from the one before it. */
function news(one, before) {
  const by = (word) => one[word] !== before[word] && `${one[word] > before[word] ? "+" : "−"}${Math.abs(one[word] - before[word])} ${word}`;
  const filter = one.where !== before.where && (one.where ? "filtered" : "no filter");
  const rule = JSON.stringify(one.rule) !== JSON.stringify(before.rule) && `by ${ruleName(one.rule)}`;
  return [by("yes"), by("no"), rule, filter, one.diverse && "unlike all"].filter(Boolean).join(", ") || "as before";
}

function offers(acts) {
  const place = find("offers");
  const { round, past } = state;
  if (past) {
    return place.replaceChildren(make("div", { class: "offer" },
      make("p", {}, make("b", {}, `This is round ${round.round} as it was.`), " Marks can't be made in it."),
      button("Go on from here", goOn, { class: "main" }),
      make("a", { href: `#/search/${encodeURIComponent(state.search.search)}` }, "Back to the last round")));
  }
  if (!round || round.round === 0 || round.diverse || marked("yes").length || !marked("no").length) return place.replaceChildren();
  if (place.querySelector(".offer.diverse")) return undefined;
  return place.replaceChildren(make("div", { class: "offer diverse" },
    make("p", {}, make("b", {}, "Nothing is marked yes so far."), " More of the same order may not help."),
    button("Show a diverse page", () => next({ diverse: true }), { class: "main", title: "Images unlike what was shown and unlike each other" })));
}

// --- what else can be done

function actsOf(acts) {
  const place = find("round-acts");
  if (!state.search) return place.replaceChildren();
  const held = place.contains(document.activeElement);
  const menu = make("details", { class: "menu" }, make("summary", {}, "More"), make("div", { class: "items" },
    make("a", { class: "narrow-only", href: "#/" }, "New search"),
    state.search.kind !== "text" && button("Classify the query", acts.classify),
    state.round && button("Copy the command", () => copy(state.round.command)),
    make("a", { href: `/api${searchPath(state.search.search, "/session")}`, download: "" }, "Export the session"),
    state.round && !state.past && button("Show a diverse page", () => next({ diverse: true }), { title: "Images unlike what was shown and unlike each other" }),
    button("Replay all rounds", replay),
    button("Forget this search", acts.forget)));
  menu.addEventListener("click", (event) => { if (event.target.closest(".items")) menu.open = false; });
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape" && menu.open) { event.stopPropagation(); menu.open = false; menu.firstChild.focus(); } });
  menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget)) menu.open = false; });
  menu.open = place.querySelector(".menu")?.open ?? false; // a round that comes doesn't close it
  place.replaceChildren(make("a", { class: "button wide-only", href: "#/" }, "New search"), menu);
  if (held) menu.firstChild.focus();
  return undefined;
}

/** Rank all rounds again and tell whether they come out the same. */
async function replay() {
  const { body } = openTask("Replay", make("p", { class: "note" }, "Every round is asked again of its own version of the base, by its own rule and marks."), make("div", { class: "skeleton line" }));
  try {
    const { rounds } = await post(searchPath(state.search.search, "/replay"));
    const same = rounds.every((one) => one.same);
    const rows = rounds.map((one) => make("tr", {}, make("th", { scope: "row" }, String(one.round)), make("td", {}, String(one.version)), make("td", { class: "left" }, ruleName(one.rule)),
      make("td", {}, make("span", { class: `state${one.same ? "" : " changed"}` }, one.same ? "the same" : "not the same"))));
    const head = ["round", "version", "rule", "replayed"].map((name) => make("th", { scope: "col", class: name === "rule" ? "left" : null }, name));
    body.replaceChildren(make("p", {}, same ? (rounds.length === 1 ? "The one round came out the same." : `All ${rounds.length} rounds came out the same.`) : "Some rounds have other images, or the same in another order."),
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Rounds, replayed" }, make("table", { class: "scores told replayed" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
  } catch (error) {
    body.replaceChildren(make("p", { class: "error" }, error.message));
  }
}

/** Forget a search of the list, this one or another. */
export async function forget(sid) {
  try {
    await call("DELETE", searchPath(sid));
    toast("The search is forgotten.");
    return true;
  } catch (error) {
    failed(error);
    return false;
  }
}

