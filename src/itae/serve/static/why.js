// An answer explained: shares of labels, the neighbours that voted, and the fewest rows without which it is another.

import { button, called, count, make, percent, thumb } from "./dom.js";
import { state } from "./state.js";

const SHOWN = 8; // labels, and rows that turn an answer; the others are folded
const UNUSUAL = 0.05; // the p below which a picture is called unusual
const FEW = 20; // rows that one would still judge together

/** Draw what a classification says, of a row of the base or of a query, with headings of a level; `acts`: `{open(item), correct(ids), remove(ids)}`. */
export function drawWhy(why, acts, { level = 4, row = null } = {}) {
  const known = (why.known ?? []).filter((one) => one.id !== row?.id); // that a row knows itself is no news
  const scores = Object.entries(why.scores).sort(([, a], [, b]) => b - a);
  const unusual = (why.p ?? 1) < UNUSUAL; // then it comes before the shares, which may be as high as they like
  return make("div", { class: "answer-part" },
    make("p", { class: "verdict-line" }, make("b", {}, why.label ?? "No answer"), why.label === null && scores.length ? ` Its neighbours would say ${scores[0][0]}.` : ""),
    unusual ? make("p", { class: "warns" }, usual(why.p)) : null,
    bars(scores, why.label),
    unusual ? null : make("p", {}, usual(why.p)),
    known.length ? make("p", { class: "known" }, `The base knows these very bytes: ${known.map((one) => `${called(one.label)} (${one.id})`).join(", ")}. Those rows had no say.`) : null,
    turn(why, acts, level),
    make(`h${level}`, {}, "Neighbours that voted"),
    neighbours(why, acts),
    why.notes?.length ? make("ul", { class: "notes" }, why.notes.map((note) => make("li", {}, note))) : null);
}

function usual(p) {
  if (p === null || p === undefined) return "";
  const share = `of the base's own rows at most ${percent(p)} are as far from their nearest`;
  if (p < UNUSUAL) return `The picture is ${p < 0.01 ? "very " : ""}unusual for this base (p = ${p.toPrecision(2)}): ${share}. The answer may mean little.`;
  return `The picture is usual for this base (p = ${p.toFixed(2)}): ${share}.`;
}

function bars(scores, won) {
  const most = Math.max(...scores.map(([, share]) => share), 1e-9);
  const line = ([name, share]) => {
    const bar = make("i");
    bar.style.width = `${(100 * share) / most}%`;
    return make("tr", { class: name === won ? "won" : null }, make("th", { scope: "row", title: name }, make("bdi", {}, name)), make("td", { "aria-hidden": "true" }, bar), make("td", {}, percent(share)));
  };
  const table = (some) => make("table", { class: "bars", "aria-label": "The share of each label" }, make("tbody", {}, some.map(line)));
  const rest = scores.slice(SHOWN);
  return make("div", {}, table(scores.slice(0, SHOWN)), rest.length ? make("details", {}, make("summary", {}, count(rest.length, "more label")), table(rest)) : null);
}

function turn(why, acts, level) {
  if (!why.turn) return null;
  const { rows, label, fewest } = why.turn;
  const ids = rows.map((row) => row.id);
  const which = rows.length === 1 ? "this one row" : `these ${count(rows.length, "row")}`;
  return make("div", { class: "turn" },
    make(`h${level}`, {}, "What turns it"),
    make("p", {}, `Without ${which} the answer would be `, make("b", {}, label ?? "none"), `. ${fewest ? (rows.length > 1 ? "Fewer don't turn it." : "") : "Whether fewer would do is not known."}`),
    make("div", { class: "tiles" }, rows.slice(0, SHOWN).map((row) => figure(row, acts, called(row.label)))),
    rows.length > SHOWN ? make("details", {}, make("summary", {}, `${rows.length - SHOWN} more of them`), make("div", { class: "tiles" }, rows.slice(SHOWN).map((row) => figure(row, acts, called(row.label))))) : null,
    state.base.read_only || rows.length > FEW ? null : make("div", { class: "acts" }, button(rows.length === 1 ? "Label it…" : "Label these…", () => acts.correct(ids)), button(rows.length === 1 ? "Delete it…" : "Delete these…", () => acts.remove(ids))));
}

function neighbours(why, acts) {
  if (!why.neighbours.length) return make("p", { class: "note" }, "No single rows voted.");
  const taken = new Set((why.turn?.rows ?? []).map((row) => row.id));
  const most = Math.max(...why.neighbours.map((row) => row.share), 1e-9);
  return make("ol", { class: "voters" }, why.neighbours.map((row) => {
    const bar = make("i");
    bar.style.width = `${(100 * row.share) / most}%`;
    const agrees = row.label === why.label || row.label?.includes?.(why.label);
    const one = figure(row, acts, called(row.label), make("span", { class: "vote", "aria-hidden": "true" }, bar), make("span", { class: "note" }, percent(row.share)));
    return make("li", { class: [agrees && "agrees", taken.has(row.id) && "taken"].filter(Boolean).join(" ") || null }, one);
  }));
}

function figure(row, acts, name, ...more) {
  const item = { row: { ...row, labels: row.label === null ? [] : [row.label].flat() } };
  return make("figure", {}, thumb(row, 72, `${name}, ${row.id}`, () => acts.open(item)), make("figcaption", {}, make("b", { title: name }, name), ...more));
}
