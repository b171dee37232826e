// The journal: every edit, by whom, when and why, each with its way back; and tags, names for versions.

import { call, get, query } from "./api.js";
import { openTask } from "./dialogs.js";
import { button, count, empty, find, make, moment } from "./dom.js";
import { restore, undoEdit } from "./edit.js";
import { on, state } from "./state.js";
import { failed, toast } from "./status.js";

const PAGE = 50; // edits that are asked for at a time

let turn = 0;
let edits = [];
let tags = {};
let last = false; // whether the first edit is among them

export function drawJournal() {
  const again = () => document.body.dataset.view === "journal" && openJournal();
  on("edited", again);
  on("newest", again);
}

export async function openJournal() {
  const mine = (turn += 1);
  const view = find("journal-view");
  if (!view.children.length) view.replaceChildren(make("h1", {}, "Journal"), ...Array.from({ length: 5 }, () => make("div", { class: "skeleton line" })));
  try {
    const [told, named] = await Promise.all([get(query("/journal", { count: PAGE })), get("/tags")]);
    if (mine !== turn) return;
    edits = told.edits;
    tags = named.tags;
    last = told.edits.length < PAGE;
    draw(told.version);
  } catch (error) {
    if (mine === turn) view.replaceChildren(make("h1", {}, "Journal"), empty("The journal couldn't be read.", error.message, make("p", {}, button("Try again", openJournal))));
  }
}

function draw(version) {
  const { base } = state;
  const view = find("journal-view");
  const held = view.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") ?? "" : null;
  view.replaceChildren(...[
    make("h1", {}, "Journal"),
    make("p", { class: "note" }, `${base.name}, version ${version}, ${count(base.rows, "row")}.`),
    tagPart(version),
    make("h2", {}, "Edits"),
    edits.length ? table(version) : empty("No edit yet.", "What is added, corrected or deleted will stand here."),
    last || !edits.length ? null : button("Earlier edits", () => earlier(version), { class: "more" }),
  ].filter(Boolean));
  if (held !== null) ([...view.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === held) ?? view.querySelector("tbody button") ?? find("main")).focus();
}

async function earlier(version) {
  try {
    const told = await get(query("/journal", { count: PAGE, before: edits.at(-1).edit }));
    last = told.edits.length < PAGE;
    const at = edits.length;
    edits = [...edits, ...told.edits];
    draw(version);
    find("journal-view").querySelectorAll("tbody tr")[at]?.querySelector("button")?.focus();
  } catch (error) {
    failed(error);
  }
}

const tagsOf = (version) => Object.entries(tags).filter(([, at]) => at === version).map(([name]) => name);

function table(version) {
  const head = [["edit", ""], ["what", "left"], ["rows", "left"], ["who", "left"], ["when", "left"], ["why", "left"], ["", "left"]]
    .map(([name, kind]) => (name ? make("th", { scope: "col", class: kind || null }, name) : make("td", {}, make("span", { class: "unseen" }, "acts"))));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Edits" }, make("table", { class: "scores told journal" }, make("thead", {}, make("tr", {}, head)), make("tbody", {}, edits.map((edit) => line(edit, version)))));
}

function line(edit, version) {
  const { counts } = edit;
  const sums = [[counts.added, "+"], [counts.changed, "~"], [counts.deleted, "−"]].filter(([n]) => n).map(([n, sign]) => `${sign}${n.toLocaleString("en")}`);
  const told = [[counts.added, "added"], [counts.changed, "changed"], [counts.deleted, "deleted"]].filter(([n]) => n).map(([n, word]) => `${n} ${word}`).join(", ");
  const acts = state.base.read_only ? [] : [
    edit.undone_by ? null : button("Undo…", () => undoEdit(edit.edit), { "aria-label": `Undo edit ${edit.edit}` }),
    edit.edit === version ? null : button("Go back here…", () => restore(edit.edit), { "aria-label": `Go back here: to version ${edit.edit}` }),
    button("Tag…", () => tagTask(edit.edit), { "aria-label": `Tag version ${edit.edit}` }),
  ];
  return make("tr", { class: edit.undone_by ? "undone" : null },
    make("th", { scope: "row" }, String(edit.edit), tagsOf(edit.edit).map((name) => [" ", make("span", { class: "tag" }, name)])),
    make("td", { class: "left time" }, edit.verb, edit.undone_by ? make("span", { class: "state" }, `undone by ${edit.undone_by}`) : null),
    make("td", { class: "left time", title: told, "aria-label": told || "nothing" }, sums.join(" ")),
    make("td", { class: "left" }, edit.who), make("td", { class: "left time" }, moment(edit.when)), make("td", { class: "left wrap" }, edit.why ?? ""),
    make("td", { class: "left" }, make("div", { class: "acts" }, acts)));
}

// --- tags

function tagPart(version) {
  const names = Object.keys(tags).sort((a, b) => tags[b] - tags[a] || a.localeCompare(b));
  const items = names.map((name) => make("li", {}, make("span", { class: "tag" }, name), ` version ${tags[name]}`,
    state.base.read_only ? null : [" ", button("Move…", () => tagTask(tags[name], name), { "aria-label": `Move tag ${name}` }), " ", button("Remove", () => untag(name), { "aria-label": `Remove tag ${name}` })]));
  return make("section", { class: "tags" }, make("h2", {}, "Tags"),
    names.length ? make("ul", { class: "plain-list" }, items) : make("p", { class: "note" }, "No version has a name yet."),
    state.base.read_only ? null : button(`Tag version ${version}…`, () => tagTask(version)));
}

/** Give a version a name, or a name another version. */
function tagTask(version, name = "") {
  const called = make("input", { id: "tag-name", value: name, readonly: name !== "", required: true, autocomplete: "off", spellcheck: "false" });
  const at = make("input", { id: "tag-version", type: "number", min: 0, max: state.version, step: 1, value: version, required: true });
  const problem = make("p", { class: "problem", role: "alert", hidden: true });
  const form = make("form", { class: "fields" },
    make("div", { class: "field" }, make("label", { for: "tag-name" }, "name"), called), make("div", { class: "field" }, make("label", { for: "tag-version" }, "version"), at),
    problem, make("div", { class: "acts end" }, button("Cancel", () => find("task").close()), make("button", { type: "submit", class: "main ready" }, name ? "Move it" : "Tag it")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await call("PUT", `/tags/${encodeURIComponent(called.value.trim())}`, { version: at.valueAsNumber });
      find("task").close();
      toast(`${called.value.trim()} is version ${at.value} now.`);
      openJournal();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
    }
  });
  openTask(name ? `Move the tag ${name}` : "Tag a version", make("p", { class: "note" }, "A tag is a name for a version: --at takes it, and purge keeps what it names."), form);
  (name ? at : called).focus();
}

async function untag(name) {
  const version = tags[name];
  try {
    await call("DELETE", `/tags/${encodeURIComponent(name)}`);
    await openJournal();
    toast(`The tag ${name} is removed.`, [["Put it back", async () => {
      try {
        await call("PUT", `/tags/${encodeURIComponent(name)}`, { version });
        openJournal();
      } catch (error) {
        failed(error);
      }
    }]]);
  } catch (error) {
    failed(error);
  }
}
