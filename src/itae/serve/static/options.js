// How a search ranks and what it looks at: the rule with its numbers, filters, images a page, folding, size.

import { chips } from "./chips.js";
import { button, details, find, make } from "./dom.js";
import { on, state, tell } from "./state.js";
import { wrong } from "./status.js";

const KEPT = "itae.view"; // what is a matter of taste is kept: page, folding, size
const taste = { count: 60, fold: true, size: 150 };
try { Object.assign(taste, JSON.parse(localStorage.getItem(KEPT) ?? "{}")); } catch { /* as it comes */ }

const rule = make("select", { id: "rule" });
const says = make("p", { class: "note", id: "rule-says" });
const numbers = make("div", { class: "numbers" });
const where = make("input", { id: "where", placeholder: "label <> '3' and time > timestamp '2026-01-01'", spellcheck: "false", autocomplete: "off", "aria-describedby": "where-wrong" });
const whereWrong = make("p", { class: "problem", id: "where-wrong", role: "alert", hidden: true });
const page = make("input", { id: "count", type: "number", min: 1, max: 500, step: 1, value: taste.count, inputmode: "numeric" });
const fold = make("input", { id: "fold", type: "checkbox", checked: taste.fold });
const size = make("select", { id: "size" }, [["small", 104], ["medium", 150], ["large", 230]].map(([name, least]) => make("option", { value: least, selected: least === taste.size }, name)));
const label = chips("label", { changed: () => change() });
const source = chips("source", { changed: () => change() });

/** The form; its parts tell "options" when a search or a list is another now, "view" when only its looks are. */
export function drawOptions() {
  const field = (id, name, input, ...more) => make("div", { class: "field" }, make("label", { for: id }, name), input, ...more);
  rule.append(...state.base.rules.map((one) => make("option", { value: one.name, title: one.says, selected: one.name === state.base.default_rule }, one.name)));
  rule.setAttribute("aria-describedby", "rule-says");
  rule.setAttribute("aria-label", "rule");
  find("rule-place").append(make("label", { for: "rule" }, "rule"), rule);
  find("options").append(
    make("fieldset", { class: "for-search of-round" }, make("legend", {}, "Rule"), says, numbers,
      make("details", {}, make("summary", {}, "What each rule does"), details(state.base.rules.map((one) => [one.name, one.says])))),
    make("fieldset", { class: "of-round" }, make("legend", {}, "Only rows with"), make("div", { class: "fields" }, label.element, source.element, make("div", { class: "field wide" }, make("label", { for: "where" }, "condition (SQL)"), where, whereWrong))),
    make("fieldset", {}, make("legend", {}, "Show"), make("div", { class: "fields" },
      field("count", "images a page", page), field("size", "size", size),
      make("label", { class: "check" }, fold, " fold nearly identical images"))),
    make("div", { class: "acts" }, button("Apply", () => tell("apply"), { id: "apply", class: "main ready", hidden: true }), button("Without filters", () => { setFilters({}); change(); }, { id: "unfilter" })),
  );
  rule.addEventListener("change", () => { drawRule(); change(); });
  numbers.addEventListener("change", () => change());
  where.addEventListener("change", () => change());
  where.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    change();
    tell("apply");
  });
  page.addEventListener("change", () => { taste.count = Math.max(1, Math.min(500, Math.round(page.valueAsNumber) || 60)); page.value = taste.count; save(); tell("options"); });
  fold.addEventListener("change", () => { taste.fold = fold.checked; save(); tell("view"); });
  size.addEventListener("change", () => { taste.size = Number(size.value); save(); tell("view"); });
  find("options-button").addEventListener("click", () => toggle(find("options").hidden));
  // Of a round of before it is shown how it ranked, which is over.
  for (const name of ["round", "search"]) on(name, () => [rule, ...find("options").querySelectorAll(".of-round")].forEach((one) => { one.disabled = state.past; }));
  offer();
  drawRule();
  summary();
}

export function toggle(open) {
  find("options").hidden = !open;
  find("options-button").setAttribute("aria-expanded", String(open));
}

/** Offer the labels and sources that the base has now. */
export function offer() {
  label.offer([...state.base.labels].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })));
  source.offer(state.base.sources);
}

function save() {
  try { localStorage.setItem(KEPT, JSON.stringify(taste)); } catch { /* as it comes next time */ }
}

function change() {
  wrong(whereWrong);
  where.removeAttribute("aria-invalid");
  summary();
  tell("options");
}

function summary() {
  const { labels, sources, where: condition } = filters();
  const n = labels.length + sources.length + (condition ? 1 : 0);
  find("options-button").replaceChildren("Filters", make("span", { class: "wide-only" }, " and settings"), n ? ` (${n})` : "");
  find("unfilter").hidden = n === 0;
}

function drawRule(values = {}) {
  const one = state.base.rules.find((each) => each.name === rule.value);
  says.textContent = `${one.name}: ${one.says}`;
  rule.title = one.says;
  const kinds = {
    "true or false": (given) => ({ type: "checkbox", checked: given === true }),
    number: () => ({ type: "number", step: "any", inputmode: "decimal" }),
    integer: () => ({ type: "number", step: 1, inputmode: "numeric" }),
    text: () => ({ type: "text" }),
  };
  numbers.replaceChildren(...one.options.map((option) => {
    const id = `rule-${option.name}`;
    const given = values[option.name] ?? option.default;
    const told = { id, name: option.name, "aria-describedby": `${id}-says` };
    const input = option.type === "one of"
      ? make("select", told, ...option.choices.map((name) => make("option", { value: name, selected: name === given }, name)))
      : make("input", { ...told, value: given, ...kinds[option.type](given) });
    return make("div", { class: "field" }, make("label", { for: id }, option.name), input, make("span", { class: "note", id: `${id}-says` }, option.says));
  }));
}

/** The rule as a round takes it: `{name, option: value}`. */
export function chosenRule() {
  const told = { name: rule.value };
  for (const input of numbers.querySelectorAll("input, select")) {
    const value = input.type === "checkbox" ? input.checked : input.type === "number" ? input.valueAsNumber : input.value;
    if (value !== "" && !Number.isNaN(value)) told[input.name] = value;
  }
  return told;
}

export const filters = () => ({ labels: label.values(), sources: source.values(), where: where.value.trim() || null });
export const view = () => ({ ...taste });

export function setFilters({ labels = [], sources = [], where: condition = null }) {
  label.set(labels);
  source.set(sources);
  where.value = condition ?? "";
  wrong(whereWrong);
  summary();
}

/** Show the rule of a round; one that isn't offered leaves the choice as it is. */
export function setRule(told) {
  const name = ruleName(told);
  if (!state.base.rules.some((one) => one.name === name)) return;
  rule.value = name;
  drawRule(told);
}

export const ruleName = (told) => (typeof told === "string" ? told : told?.name ?? String(told?._target_ ?? "?").split(".").pop());

/** Tell the field what is wrong with a condition; returns whether the sentence is about it. */
export function blame(error) {
  if (!filters().where || error.status !== 400 || !/where|condition|sql|column/i.test(error.message)) return false;
  toggle(true);
  wrong(whereWrong, error.message);
  where.setAttribute("aria-invalid", "true");
  where.focus();
  return true;
}
