// Whether the base is still what the page shows: others may edit it, and the server may go away.

import { get, onAnswer, query } from "./api.js";
import { count } from "./dom.js";
import { on, state, tell } from "./state.js";
import { banner } from "./status.js";

const EVERY = 5000; // ms
const own = new Set(); // edits that this page has made
const seenAt = new Map(); // of rows that it has edited, the version since when it knows them

export function watch() {
  onAnswer((status) => {
    if (status === 0) banner("gone", "The server doesn't answer: is `itae serve` still running? Marks are kept.", [["Try again", poll]], "wrong");
    else banner("gone");
    if (status === 401) banner("door", "You are not signed in any more: open the link that the terminal printed, once more.", [], "wrong");
  });
  on("round", () => {
    if (state.past || state.round.version <= state.version) return;
    state.version = state.round.version; // all that is shown is of this version now
    banner("edited");
    recount();
  });
  setInterval(() => document.visibilityState === "visible" && poll(), EVERY);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && poll());
}

/** Ask whether the base has changed, and tell. */
export async function poll() {
  let told;
  try {
    told = await get(query("/version", { seen: state.version }));
  } catch {
    return; // `onAnswer` has told
  }
  const others = told.edits.filter((edit) => !own.has(edit.edit) && edit.edit > state.version);
  if (!others.length) {
    if (told.version > state.version && told.edits.length < 20) state.version = told.version; // all of them are our own
    return banner("edited");
  }
  const [last] = others;
  const who = [...new Set(others.map((edit) => edit.who))].join(", ");
  const what = others.length === 1 ? `edit ${last.edit}, ${last.verb}${last.why ? `: ${last.why}` : ""}` : `${count(others.length, "edit")}, the last ${last.edit}, ${last.verb}`;
  banner("edited", `The base was edited by ${who} (${what}). What you see is of version ${state.version}.`, [["Show the newest", newest]]);
}

/** Read what the base has, as of the version that is shown already. */
async function recount() {
  try {
    state.base = await get("/base");
    tell("base");
  } catch { /* `onAnswer` has told */ }
}

/** Show the newest version. */
export async function newest() {
  await refresh();
  banner("edited");
  tell("newest");
}

/** Read anew what the base is; the version that the page shows is that one then. */
export async function refresh() {
  state.base = await get("/base");
  state.version = state.base.version;
  tell("base");
}

/** The version as of which the page has seen all these rows: one that it has edited itself it knows as it left it. */
export function seenOf(ids) {
  const edited = ids.length ? ids.reduce((least, id) => Math.min(least, seenAt.get(id) ?? 0), Infinity) : 0;
  return Math.max(state.version, edited);
}

/** Take note of an edit of rows that this page has made: before anything is awaited, as the next may be of the same. */
export function made(done, ids) {
  own.add(done.edit);
  for (const id of ids) seenAt.set(id, done.version);
  if (state.version + 1 === done.version) state.version = done.version; // else others were in between, and `poll` tells
}

/** Have the page tell what the base is after an edit of its own. */
export async function committed(done) {
  await poll();
  await recount();
  tell("edited", done);
}
