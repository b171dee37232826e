// Earlier searches: open one again, forget it, or take one over from a session file.

import { get, post, searchPath } from "./api.js";
import { openTask } from "./dialogs.js";
import { button, count, empty, find, make, moment, picture } from "./dom.js";
import { dropMarks } from "./marks.js";
import { forget } from "./round.js";
import { state } from "./state.js";
import { toast } from "./status.js";

export function drawSearches() {
  find("searches-button").addEventListener("click", openSearches);
}

async function openSearches() {
  const chosen = make("input", { type: "file", id: "session-file", accept: ".jsonl,.json,application/x-ndjson", hidden: true });
  chosen.addEventListener("change", () => chosen.files[0] && take(chosen.files[0]));
  const problem = make("p", { class: "problem", role: "alert", hidden: true });
  const list = make("div", {}, make("div", { class: "skeleton line" }), make("div", { class: "skeleton line" }));
  openTask("Earlier searches", list, problem, make("div", { class: "acts end" }, chosen, button("Import a session…", () => chosen.click())));
  await fill(list);
}

async function fill(list) {
  try {
    const { searches } = await get("/searches");
    if (!searches.length) return list.replaceChildren(empty("No search yet.", "What you ask is kept here, with all its rounds; each user has searches of their own."));
    list.replaceChildren(make("ul", { class: "searches" }, searches.map((one) => line(one, list))));
  } catch (error) {
    list.replaceChildren(make("p", { class: "error" }, error.message));
  }
  return undefined;
}

function line(one, list) {
  const name = one.kind === "text" ? `“${one.name}”` : `Like ${one.name}`;
  const told = [...(one.rounds ? [count(one.rounds, "round"), `${one.yes} yes`, `${one.no} no`] : ["not asked yet"]), one.time && moment(one.time)].filter(Boolean).join(", ");
  const shot = one.kind === "text" ? make("span", { class: "no-shot", "aria-hidden": "true" }, "abc") : one.number !== null ? picture(one.number, 44, "") : picture(null, 44, "", { source: `/api${searchPath(one.search, "/picture")}` });
  const item = make("li", {}, make("a", { href: `#/search/${encodeURIComponent(one.search)}`, onclick: () => find("task").close(), "aria-current": state.search?.search === one.search ? "true" : null }, shot, make("span", {}, make("b", {}, name), make("span", { class: "note" }, told))),
    button("Forget", async () => {
      if (!(await forget(one.search))) return;
      dropMarks(one.search);
      if (state.search?.search === one.search) location.hash = "#/";
      const after = item.nextElementSibling ?? item.previousElementSibling;
      item.remove();
      if (after) after.querySelector("button").focus();
      else await fill(list);
    }, { "aria-label": `Forget ${name}` }));
  return item;
}

async function take(file) {
  const problem = find("task").querySelector(".problem");
  problem.hidden = true;
  try {
    const search = await post("/searches/import", file);
    find("task").close();
    location.hash = `#/search/${encodeURIComponent(search.search)}`;
    toast(`${file.name} is imported, ${count(search.rounds.length, "round")}.`);
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
}
