// One search from its question to its last round. What is on the screen is drawn by others, who hear "round" and "busy".

import { get, post, searchPath } from "./api.js";
import { closeMarks, marked, openMarks, takeMarks } from "./marks.js";
import { blame, chosenRule, filters, ruleName, setFilters, setRule, view } from "./options.js";
import { know, state, tell } from "./state.js";
import { calm, failed, say } from "./status.js";
import { count } from "./dom.js";

let asked = null; // what the shown round was asked with, marks apart
let work = 0; // requests under way; the answer to an old question is thrown away
const filtersOf = new Map(); // of rounds asked on this page: the server tells them as one condition
let busy = false; // whether one of them is awaited
let loading = false; // whether more of the round is on its way

const settings = () => JSON.stringify([chosenRule(), filters()]);

/** What is another than in the round that is shown: "rule", "filters", or null where nothing is. */
export function otherwise() {
  if (state.search === null || state.past || asked === null || asked === settings()) return null;
  return JSON.stringify(JSON.parse(asked)[0]) === JSON.stringify(chosenRule()) ? "filters" : "rule";
}

async function during(task) {
  const mine = (work += 1);
  busy = true;
  tell("busy", true);
  try {
    return await task(() => mine === work);
  } catch (error) {
    const told = state.search !== null && state.round === null; // in the place of the results
    if (mine === work && !blame(error) && !told) failed(error);
    tell("failed", error);
    return null;
  } finally {
    if (mine === work) {
      busy = false;
      tell("busy", false);
    }
  }
}

/** Begin a search: `{text}`, `{id}`, or a picture's file; returns whether it was. */
export function start(question) {
  return during(async (current) => {
    const search = question instanceof Blob
      ? await post(`/searches/picture?name=${encodeURIComponent(question.name || "pasted picture")}`, question)
      : await post("/searches", question);
    if (!current()) return false;
    calm();
    enter(search);
    openMarks(search.search, null);
    location.hash = `#/search/${encodeURIComponent(search.search)}`;
    await ask(current);
    return true;
  });
}

function enter(search) {
  Object.assign(state, { search, round: null, past: false });
  asked = null;
  tell("search");
}

/** Open a search of the list, at a round that it had, or at the last. */
export function open(sid, n = null) {
  if (state.search?.search === sid && n === null && state.round && !state.past) return tell("round", { again: true });
  if (state.search?.search === sid && n === null && !state.round && work) return undefined; // it is just being asked
  return during(async (current) => {
    const search = await get(searchPath(sid));
    if (!current()) return false;
    const last = search.rounds.length - 1;
    const other = state.search?.search !== sid;
    enter(search);
    if (last < 0) {
      openMarks(sid, null);
      await ask(current);
      return true;
    }
    const at = n === null ? last : Math.min(n, last);
    const round = await get(searchPath(sid, `/rounds/${at}`));
    if (!current()) return false;
    know(round.judged);
    if (other || n === null) openMarks(sid, at === last ? round : null);
    settle(round);
    if (at === last) asked = settings();
    show(round, at < last);
    return true;
  });
}

/** Set rule and filters as they were in a round. */
function settle(round) {
  setRule(round.rule);
  setFilters(filtersOf.get(`${round.search}/${round.round}`) ?? { where: round.where });
}

function show(round, past = false, told = true) {
  know(round.results);
  know(round.judged);
  Object.assign(state, { round, past });
  tell("round");
  if (told) say(spoken(round, past));
}

function spoken(round, past) {
  const parts = [
    `Round ${round.round}${past ? " as it was" : ""} by ${ruleName(round.rule)}: ${count(round.results.length, "image")}, ${round.left.toLocaleString("en")} more may come.`,
    round.round > 0 && `${moved(round)}.`,
    ...round.notes,
  ];
  return parts.filter(Boolean).join(" ");
}

/** How many rows of a round are new, and how many went up or down, in words; nothing of the first. */
export function moved({ round, results }) {
  if (round === 0) return "";
  const told = { fresh: 0, up: 0, down: 0 };
  for (const row of results) {
    if (row.was === null) told.fresh += 1;
    else if (row.was > row.rank) told.up += 1;
    else if (row.was < row.rank) told.down += 1;
  }
  return [["fresh", "new"], ["up", "up"], ["down", "down"]].filter(([name]) => told[name]).map(([name, word]) => `${told[name]} ${word}`).join(", ") || "the order is unchanged";
}

/** Rank by all marks: the next round. */
export function next({ diverse = false } = {}) {
  if (!state.search || busy) return null; // a key that is pressed twice asks once
  return during((current) => ask(current, { diverse }));
}

async function ask(current, { diverse = false } = {}) {
  const sid = state.search.search;
  const now = settings();
  const { labels, sources, where } = filters();
  const round = await post(searchPath(sid, "/rounds"), {
    yes: marked("yes"), no: marked("no"), rule: chosenRule(), labels, sources, where, count: view().count, diverse,
  });
  if (!current() || state.search?.search !== sid) return false;
  calm();
  asked = now;
  filtersOf.set(`${sid}/${round.round}`, { labels, sources, where });
  state.search.rounds = [...state.search.rounds.filter((one) => one.round < round.round), {
    round: round.round, version: round.version, rule: round.rule, where: round.where, count: round.count,
    yes: round.yes.length, no: round.no.length, shown: round.results.length, diverse, time: new Date().toISOString(),
  }];
  show(round);
  tell("ranked");
  return true;
}

/** Go on from the round that is shown: its marks and its rule, as a new round. */
export async function goOn() {
  const round = state.round;
  takeMarks(round);
  settle(round);
  state.past = false;
  const done = await next();
  if (done) location.hash = `#/search/${encodeURIComponent(state.search.search)}`;
  else state.past = true;
  return done;
}

/** Have more of the round, as the end of the grid comes into sight. */
export async function more() {
  const round = state.round;
  if (loading || !round || state.past || round.left <= 0) return;
  loading = true;
  try {
    const longer = await post(searchPath(state.search.search, "/more"), { count: Math.max(120, view().count) });
    if (state.round !== round) return;
    know(longer.results);
    const results = [...round.results.slice(0, longer.start), ...longer.results];
    Object.assign(round, { results, left: longer.results.length ? longer.left : 0, command: longer.command ?? round.command });
    tell("more");
  } catch (error) {
    failed(error);
    if (state.round === round) round.left = 0; // asked again by the next round only
  } finally {
    loading = false;
  }
}

/** Leave the search: the whole base is shown. */
export function leave() {
  calm();
  work += 1;
  busy = false;
  Object.assign(state, { search: null, round: null, past: false });
  asked = null;
  closeMarks();
  tell("busy", false);
  tell("search");
}
