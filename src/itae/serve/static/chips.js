// A field for several names out of many: what is chosen stands before it, each with a button that takes it away.

import { button, count, make } from "./dom.js";

let made = 0;

/** Make a field; `changed()` is called when what is chosen is another. Has `values()`, `set(names)`, `offer(list)`. */
export function chips(label, { changed = () => {}, placeholder = "any", free = false } = {}) {
  made += 1;
  const id = `chips-${made}`;
  const chosen = new Set();
  let known = [];
  const list = make("datalist", { id: `${id}-names` });
  const input = make("input", { id, list: list.id, placeholder, autocomplete: "off", spellcheck: "false" });
  const shown = make("span", { class: "chosen" });
  const problem = make("p", { class: "problem", role: "alert", hidden: true });
  const element = make("div", { class: "field chips" }, make("label", { for: id }, label), make("div", { class: "box" }, shown, input), list, problem);

  const draw = () => {
    shown.replaceChildren(...[...chosen].map((name) => make("span", { class: "chip" }, make("bdi", {}, name), button("✕", () => take(name), { class: "plain", "aria-label": `Take away ${name}` }))));
    input.placeholder = chosen.size ? "" : placeholder;
  };
  const take = (name) => {
    chosen.delete(name);
    draw();
    input.focus();
    changed();
  };
  const add = () => {
    const name = input.value.trim();
    problem.hidden = true;
    if (!name) return true;
    if (!free && !known.includes(name)) {
      problem.textContent = `There is no ${label} “${name}”: choose one of the ${count(known.length, label)} offered.`;
      problem.hidden = false;
      return false;
    }
    chosen.add(name);
    input.value = "";
    draw();
    changed();
    return true;
  };
  input.addEventListener("change", add);
  input.addEventListener("input", (event) => { if (event.inputType === "insertReplacementText" || (!event.inputType && known.includes(input.value))) add(); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.value.trim()) {
      event.preventDefault();
      add();
    } else if (event.key === "Backspace" && !input.value && chosen.size) take([...chosen].at(-1));
  });
  return {
    element,
    input,
    commit: add,
    values: () => [...chosen],
    set: (names) => { chosen.clear(); names.forEach((name) => chosen.add(name)); draw(); },
    offer: (some) => {
      known = some.map((one) => one.name);
      list.replaceChildren(...some.slice(0, 2000).map((one) => make("option", { value: one.name }, count(one.rows, "row"))));
      element.hidden = !free && some.length < 2 && !chosen.size;
    },
  };
}
