// The script of the page of a knowledge base. A row is told by its position in `rows`, a label by its own in `labels`.

const { rows, labels } = data;
const PAGE = 60; // cards or groups that are made at a time
const GONE = {
  moved: ["moved", "Its file isn't where it was; itae knowledge relink says where it is now."],
  changed: ["changed", "Its file has other bytes now, so it isn't shown; itae knowledge relink finds the right one."],
  none: ["no picture", "Only its vector came into the base."],
  unreadable: ["unreadable", "Its file can't be decoded."],
  "left out": ["not shown", "This page has room for the pictures that matter most."],
};

const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const labelsOf = (i) => rows.labels[i].map((label) => rows.names[label]);
const called = (i) => labelsOf(i).join(", ") || "no label";
const file = (i) => rows.ids[i].split("/").pop();
const word = (of, names, i) => of.words[i] ?? names[i];

/** A verb of the command, as a shell takes it: a label first if there is one, then rows. `none` would take labels away. */
function line(verb, label, some) {
  const none = label !== null && labels.names[label] === "none" ? ["--labels", "none"] : [];
  const dashes = some.some((i) => rows.misread.includes(i)) || (label !== null && labels.misread.includes(label));
  const first = label === null || none.length ? [] : [word(labels, labels.names, label)];
  return ["itae knowledge", verb, data.kb, ...none, ...(dashes ? ["--"] : []), ...first, ...some.map((i) => word(rows, rows.ids, i))].join(" ");
}

// --- pictures

function picture(i) {
  const { source, gone } = rows.pictures[i];
  if (source) return sharp(source, rows.ids[i], true);
  return make("span", { class: `gone ${gone.replace(" ", "-")}` }, GONE[gone][0]);
}

/** A picture that opens when it is asked for. */
function tile(i, { kind = "", told = [], badge = null } = {}) {
  const { gone } = rows.pictures[i];
  const name = [rows.ids[i], called(i), ...told, gone ? GONE[gone][1] : null].filter((text) => text !== null).join(", ");
  const parts = [picture(i), ...(badge === null ? [] : [make("span", { class: "badge" }, badge)])];
  return make("button", { type: "button", class: `tile ${kind}`, title: name, "aria-label": name, onclick: () => open(i) }, ...parts);
}

const suspectOf = new Map(data.suspects.map((suspect) => [suspect.row, suspect]));

/** Everything that is known of a row. */
function open(i) {
  const details = make("dl", { class: "details" });
  const detail = (name, text) => text !== null && details.append(make("dt", {}, name), make("dd", {}, text));
  const suspect = suspectOf.get(i);
  detail(rows.labels[i].length > 1 ? "labels" : "label", called(i));
  if (suspect && suspect.suggested !== null) detail("suggested", labels.names[suspect.suggested]);
  detail("source", rows.names[rows.sources[i]]);
  detail("group", rows.groups[i]);
  detail("place", rows.places[i]);
  detail("added", rows.times[i]);
  const { gone } = rows.pictures[i];
  if (gone) detail("picture", GONE[gone][1]);
  const near = suspect?.near.length ? [make("h4", {}, "Nearest"), make("div", { class: "tiles" }, ...suspect.near.map(([j, similarity]) =>
    tile(j, { told: [`similarity ${similarity}`], badge: called(j) })))] : [];
  const why = suspect ? [reasons(suspect)] : [];
  const one = make("div", { class: "one" }, make("div", { class: "large" }, picture(i)), make("div", {}, details, ...why));
  openDialog(rows.ids[i], one, pick(i), ...near);
}

function reasons(suspect) {
  return make("ul", { class: "reasons" }, ...suspect.reasons.map((reason) => make("li", {}, reason)));
}

/** Show items some at a time. */
function paged(list, items, draw, noun) {
  list.replaceChildren();
  const more = make("button", { type: "button", class: "more" });
  let shown = 0;
  const next = () => {
    const made = items.slice(shown, shown + PAGE).map(draw);
    shown += made.length;
    list.append(...made);
    if (shown < items.length) {
      more.textContent = `Show ${Math.min(PAGE, items.length - shown)} more of ${count(items.length, noun)}`;
      list.append(more);
    } else more.remove();
    return made;
  };
  more.addEventListener("click", () => next()[0].querySelector("button, input").focus());
  next();
}

// --- picked rows, and the commands for them

const picked = new Set();
let last; // box that was used
const tray = document.getElementById("tray");
const SUGGESTED = "the suggested label", DELETE = "delete";

function pick(i) {
  const box = make("input", { type: "checkbox", "data-row": i, checked: picked.has(i) });
  box.addEventListener("change", () => {
    last = box;
    picked[box.checked ? "add" : "delete"](i);
    document.querySelectorAll(`input[data-row="${i}"]`).forEach((other) => { other.checked = box.checked; });
    showTray();
  });
  return make("label", { class: "pick" }, box, " pick", make("span", { class: "unseen" }, ` ${rows.ids[i]}`));
}

function unpick() {
  picked.clear();
  document.querySelectorAll("input[data-row]").forEach((box) => { box.checked = false; });
  showTray();
  last.focus();
}

const what = make("select", { onchange: showTray });
what.append(make("option", { value: SUGGESTED }, SUGGESTED), make("option", { value: DELETE }, "delete them"),
  make("optgroup", { label: "this label" }, ...labels.names.map((name, i) => make("option", { value: i }, name))));
const lines = make("div", { class: "lines" });
const heading = make("b", { role: "status" });
tray.append(
  make("div", { class: "controls" }, heading, make("label", {}, "give them ", what), make("button", { type: "button", onclick: unpick }, "Clear")),
  lines,
);

/** Show the commands for what is picked: one for each label that is given. */
function showTray() {
  tray.hidden = picked.size === 0;
  heading.textContent = `${count(picked.size, "row")} picked`;
  if (what.value === DELETE) return lines.replaceChildren(shell(line("delete", null, [...picked])));
  const given = new Map();
  let without = 0;
  for (const i of picked) {
    const label = what.value === SUGGESTED ? suspectOf.get(i)?.suggested ?? null : Number(what.value);
    if (label === null) without += 1;
    else given.set(label, [...(given.get(label) ?? []), i]);
  }
  lines.replaceChildren(...[...given].map(([label, some]) => shell(line("correct", label, some))));
  if (without) lines.append(make("p", { class: "note" }, `No label is suggested for ${without === picked.size ? "them" : `${without} of them`}: choose one.`));
  return undefined;
}

// --- suspects

function suspectCard(suspect) {
  const { row, suggested } = suspect;
  const to = suggested === null ? [] : [make("span", { class: "arrow", "aria-hidden": "true" }, " → "), make("span", { class: "unseen" }, " suggested: "), make("b", { class: "to" }, labels.names[suggested])];
  const near = make("div", { class: "near", role: "group", "aria-label": "Its nearest rows" }, ...suspect.near.map(([j, similarity]) =>
    make("figure", {}, tile(j, { kind: "small", told: [`similarity ${similarity}`] }), make("figcaption", { title: called(j), class: suggested !== null && labelsOf(j).includes(labels.names[suggested]) && "to" }, called(j)))));
  const score = make("span", { class: "score", title: "Score: how likely it is wrong, as the ranking counts" }, suspect.score.toFixed(2));
  const act = suggested === null ? line("delete", null, [row]) : line("correct", suggested, [row]);
  return make("article", { class: "card" },
    tile(row, { kind: "big" }),
    make("div", { class: "told" },
      make("p", { class: "labels" }, make("span", { class: "from" }, called(row)), ...to, score),
      make("p", { class: "id" }, rows.ids[row]),
      reasons(suspect)),
    near,
    make("div", { class: "act" }, pick(row), shell(act)));
}

function suspects() {
  const list = document.getElementById("suspect-list");
  const form = document.getElementById("suspects-form");
  const all = "all";
  const told = {
    label: (suspect) => called(suspect.row),
    suggested: (suspect) => (suspect.suggested === null ? "none" : labels.names[suspect.suggested]),
    source: (suspect) => rows.names[rows.sources[suspect.row]],
  };
  const values = {};
  for (const name of Object.keys(told)) {
    values[name] = [...new Set(data.suspects.map(told[name]))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    const options = values[name].map((value, i) => make("option", { value: i }, value));
    form.elements[name].append(make("option", { value: all }, all), ...options);
    form.elements[name].parentElement.hidden = values[name].length < 2;
  }
  const draw = () => {
    const left = data.suspects.filter((suspect) => Object.keys(told).every((name) =>
      form.elements[name].value === all || values[name][form.elements[name].value] === told[name](suspect)));
    form.elements.left.textContent = left.length < data.suspects.length ? `${left.length.toLocaleString("en")} of ${count(data.suspects.length, "suspect")}` : "";
    paged(list, left, suspectCard, "suspect");
  };
  form.hidden = data.suspects.length < 9;
  form.addEventListener("change", draw);
  draw();
}

// --- duplicates and outliers

function member(i, odd) {
  return make("figure", { class: odd ? "odd" : null }, tile(i, { told: odd ? ["another label"] : [] }), make("figcaption", { title: rows.ids[i] }, make("b", {}, called(i)), make("span", {}, file(i)), pick(i)));
}

function duplicateCard({ rows: members, similarity, odd }) {
  const how = similarity === null ? "the same bytes" : `nearly the same: similarity ${similarity.toFixed(4)} or more`;
  const title = make("h3", {}, `${count(members.length, "picture")}, ${how}`, ...(odd.length ? [make("span", { class: "state changed" }, "more than one label")] : []));
  const list = make("div", { class: "tiles members" });
  paged(list, members, (i) => member(i, odd.includes(i)), "picture");
  const act = make("details", {}, make("summary", {}, "Keep the first, delete the others"), shell(line("delete", null, members.slice(1))));
  return make("article", { class: "group" }, title, list, act);
}

function outliers(list) {
  for (const [title, some] of [["Of all rows", data.outliers.filter((one) => one.within === null)], ["Within their own label", data.outliers.filter((one) => one.within !== null)]]) {
    if (!some.length) continue;
    const tiles = make("div", { class: "tiles members" });
    list.append(make("h3", {}, title), tiles);
    paged(tiles, some, ({ row, distance }) => make("figure", {}, tile(row, { told: [`distance ${distance}`] }),
      make("figcaption", { title: rows.ids[row] }, make("b", {}, called(row)), make("span", { class: "far" }, `distance ${distance.toFixed(3)}`), make("span", {}, file(row)), pick(row))), "picture");
  }
}

if (document.getElementById("suspect-list")) suspects();
const duplicates = document.getElementById("duplicate-list");
if (duplicates) paged(duplicates, data.duplicates, duplicateCard, "group");
const apart = document.getElementById("outlier-list");
if (apart) outliers(apart);
if (document.getElementById("growth-plot")) growth(data.growth);
if (data.map) map(data.map);
