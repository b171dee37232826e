// Elements. Whatever comes from the base reaches the document as text, never as markup.

/** Make an element; children are elements or text, and null is left out. */
export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const find = (id) => document.getElementById(id);

/** A button; `what` is its text. */
export function button(what, act, attributes = {}) {
  return make("button", { type: "button", onclick: act, ...attributes }, what);
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const file = (id) => id.split("/").pop();
export const called = (labels) => (Array.isArray(labels) ? labels.join(", ") : labels) || "no label";

/** A moment, in the reader's own time. */
export function moment(text) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? String(text ?? "") : date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

const SIDES = [96, 160, 320, 1024]; // of the thumbnails that the server makes

/** A row's picture, as many pixels as `width` takes on this screen; where there is none, it says so. */
export function picture(number, width, name, { lazy = true, source = null } = {}) {
  if (!source && !(Number.isInteger(number) && number >= 0)) return make("span", { class: "gone" }, "no picture");
  const wanted = width * Math.min(window.devicePixelRatio || 1, 2);
  const side = SIDES.find((one) => one >= wanted * 0.9) ?? SIDES.at(-1);
  const from = source ? `${source}?side=${Math.max(side, 160)}` : `/api/pictures/${number}?side=${side}`;
  const image = make("img", { alt: name, width, height: width, decoding: "async", loading: lazy && "lazy", draggable: "false" });
  image.addEventListener("load", () => image.classList.toggle("pixels", Math.max(image.naturalWidth, image.naturalHeight) <= 40));
  image.addEventListener("error", () => {
    const holder = image.closest("button[aria-label]");
    if (holder) holder.setAttribute("aria-label", `${holder.getAttribute("aria-label")}, no picture`);
    image.replaceWith(make("span", { class: "gone" }, "no picture"));
  });
  image.src = from;
  return image;
}

/** A small picture that is a button. */
export function thumb(row, width, name, act, attributes = {}) {
  return make("button", { type: "button", class: "tile thumb", title: name, "aria-label": name, onclick: act, ...attributes }, picture(row.number, width, ""));
}

/** A definition list of what is known; what is null or empty is left out. */
export function details(pairs) {
  const list = make("dl", { class: "details" });
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    list.append(make("dt", {}, name), make("dd", {}, value instanceof Node ? value : String(value)));
  }
  return list;
}

/** Nothing is here, and what to do about it. */
export function empty(head, text, ...more) {
  return make("div", { class: "empty" }, make("p", {}, make("b", {}, head), " ", text), ...more);
}

/** Whether a key that was pressed belongs to a field that takes text. */
export function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("select, textarea, input:not([type=checkbox], [type=radio], [type=file])"));
}
