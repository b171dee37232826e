// Dialogs: one for an image, one for a task over it. What opened them has the focus again when they close.

import { button, find, make } from "./dom.js";

function fill(dialog, id, title, parts) {
  const close = button("Close", () => dialog.close(), { class: "close" });
  const body = make("div", { class: "body" }, ...parts);
  dialog.replaceChildren(make("header", {}, make("h2", { id, tabindex: -1 }, make("bdi", {}, title)), close), body, make("div", { class: "toasts" }));
  return { dialog, body, close };
}

function show(dialog, focus) {
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  (dialog.querySelector("[autofocus]") ?? focus).focus();
}

/** The dialog of an image. */
export function openImage(title, ...parts) {
  const made = fill(find("image"), "image-title", title, parts);
  const again = find("image").open;
  if (!again) show(made.dialog, made.close);
  return made;
}

/** The dialog of a task. */
export function openTask(title, ...parts) {
  const made = fill(find("task"), "task-title", title, parts);
  show(made.dialog, made.close);
  return made;
}

export function drawDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    // A press that began inside, such as one that selects text, doesn't close.
    dialog.addEventListener("pointerdown", (event) => { dialog.dataset.outside = String(event.target === dialog); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog && dialog.dataset.outside === "true") dialog.close(); });
    dialog.addEventListener("close", () => dialog.replaceChildren());
  }
}
