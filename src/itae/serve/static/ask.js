// The box: words, an id, or a picture that is typed, picked, pasted or dropped anywhere on the page.

import { get, query } from "./api.js";
import { find, make } from "./dom.js";
import { start } from "./search.js";
import { on, state } from "./state.js";
import { calm, toast } from "./status.js";

const ID = /^id:\s*/i;

export function drawAsk() {
  const words = find("words");
  const { text } = state.base;
  words.placeholder = text === null ? "Search in words, or paste a picture" : "Paste a picture, or type the id of a row";
  find("words-label").textContent = text === null ? "Words, or the id of a row after id:" : "The id of a row";
  find("ask-says").replaceChildren(...(text === null
    ? ["Or paste or drop a picture anywhere on this page, or type id: and the id of a row, or its end."]
    : ["This space has no words: paste or drop a picture anywhere on this page, or give the id of a row.", make("details", {}, make("summary", {}, "Why no words"), make("span", {}, text))]));
  find("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    submit(words.value.trim());
  });
  find("pick-picture").addEventListener("click", () => find("picture-file").click());
  find("picture-file").addEventListener("change", (event) => {
    const [picked] = event.target.files;
    if (picked) take(picked);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const [pasted] = event.clipboardData?.files ?? [];
    if (!pasted) return;
    event.preventDefault();
    take(pasted);
  });
  on("search", () => { words.value = state.search?.kind === "text" ? state.search.name : ""; });
  drops();
}

async function submit(said) {
  calm();
  if (!said) return find("words").focus();
  if (ID.test(said) || state.base.text !== null) return byId(said.replace(ID, ""));
  if (await start({ text: said })) return find("words").blur();
  const [id, ...others] = await endingIn(said);
  if (id && !others.length) toast(`No search in these words, but a row's id ends in “${said}”.`, [[`Search like ${id}`, () => start({ id })]]);
  return undefined;
}

async function byId(said) {
  const found = await endingIn(said);
  const exact = found.includes(said);
  if (!exact && found.length > 1) return toast(`More than one row's id ends in “${said}”, ${found[0]} and ${found[1]} among them: type more of it.`, [], { error: true });
  if (await start({ id: exact ? said : found[0] ?? said })) find("words").blur();
  return undefined;
}

/** Ids that end in what was typed, as the tiles show but the end of one; a few where there are more. */
async function endingIn(said) {
  if (/\s/.test(said)) return [];
  try {
    const { rows } = await get(query("/rows", { where: `id LIKE '%${said.replaceAll("'", "''")}'`, count: 20 }));
    return rows.map((row) => row.id).filter((id) => id.endsWith(said));
  } catch {
    return []; // what was asked tells of it
  }
}

/** Search by a picture's file. */
export function take(picture) {
  const most = state.base.limits?.bytes;
  if (picture.type && !picture.type.startsWith("image/")) return toast(`${picture.name} is no picture: ${picture.type}.`, [], { error: true });
  if (most && picture.size > most) {
    const size = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
    return toast(`${picture.name} has ${size(picture.size)}, and this server takes up to ${size(most)}: make it smaller first.`, [], { error: true });
  }
  return start(picture);
}

function drops() {
  const veil = find("drop");
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0; // elements that were entered and not left
  const lift = () => { depth = 0; veil.hidden = true; };
  addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (depth === 0) veil.hidden = true;
  });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    lift();
    const [dropped] = event.dataTransfer?.files ?? [];
    if (!dropped) return;
    event.preventDefault();
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    take(dropped);
  });
}
