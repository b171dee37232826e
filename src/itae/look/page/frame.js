// What the scripts of all pages share. Whatever comes from the data reaches the document as text, never as markup.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#777777", "#8C564B", "#882255", "#44AA99"];
const SYMBOLS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon"];
const MOST_NAMES = 24; // in a legend
const redraw = []; // what has to be drawn anew in other colours

/** Make an element; children are elements or text. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A name that fits into a legend. */
function short(text) {
  return String(text).length > 26 ? `${String(text).slice(0, 25)}…` : String(text);
}

/** Text as Plotly shows it, which takes some markup. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function option(select, names, chosen) {
  select.replaceChildren(...names.map((name) => make("option", { value: name, selected: name === chosen }, name)));
}

// --- light and dark

function theme(dark) {
  document.documentElement.classList.toggle("dark", dark);
  document.getElementById("theme").setAttribute("aria-pressed", String(dark));
  redraw.forEach((draw) => draw());
}

const wanted = matchMedia("(prefers-color-scheme: dark)");
wanted.addEventListener("change", () => theme(wanted.matches));
document.getElementById("theme").addEventListener("click", () => {
  theme(!document.documentElement.classList.contains("dark"));
});
document.addEventListener("DOMContentLoaded", () => theme(wanted.matches)); // when all has been drawn once

// --- plots

function layout(more) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
  const axes = Object.keys(more).filter((name) => /^[xy]axis/.test(name));
  const merged = Object.fromEntries(axes.map((name) => [name, { ...axis, ...more[name] }]));
  return {
    paper_bgcolor: colour("--ground"),
    plot_bgcolor: colour("--ground"),
    font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 },
    margin: { l: 60, r: 20, t: 30, b: 64 },
    hovermode: "closest",
    legend: { itemsizing: "constant" },
    ...more,
    ...merged,
  };
}

const PLOT = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d"] };

/** Split positions by value: [[name, positions], ...], numbers in their order. */
function grouped(positions, valueOf) {
  const groups = new Map();
  for (const i of positions) {
    const value = valueOf(i) ?? "none";
    if (!groups.has(value)) groups.set(value, []);
    groups.get(value).push(i);
  }
  return [...groups].sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true })));
}

function marker(i, size) {
  return { color: COLOURS[i % COLOURS.length], symbol: SYMBOLS[Math.floor(i / COLOURS.length) % SYMBOLS.length], size, opacity: 0.8 };
}

// --- one image

const dialog = document.getElementById("image");

/** Show elements in the page's dialog, over everything else. */
function openDialog(title, ...children) {
  const close = make("button", { type: "button", class: "close", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(make("header", {}, make("h3", { id: "image-title" }, title), close), ...children);
  if (!dialog.open) dialog.showModal();
  close.focus();
  dialog.scrollTop = 0;
}

/** An image of the page; a tiny one shows its pixels. A lazy one is decoded when it comes into sight. */
function sharp(source, name, lazy = false) {
  const image = make("img", { loading: lazy && "lazy", decoding: "async", src: source, alt: name });
  image.addEventListener("load", () => image.classList.toggle("pixels", Math.max(image.naturalWidth, image.naturalHeight) <= 40));
  return image;
}

if (dialog) dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
