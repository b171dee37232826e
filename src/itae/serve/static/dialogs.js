// Dialogs: one for an image, one for a task over it. What opened them has the focus again when they close.

import { button, find, make } from "./dom.js";

function fill(dialog, id, title, parts) {
  const close = button("Close", () => dialog.close(), { class: "close" });
  const body = make("div", { class: "body" }, ...parts);
  const said = messages(dialog);
  dialog.replaceChildren(make("header", {}, make("h2", { id, tabindex: -1 }, make("bdi", {}, title)), close), body, make("div", { class: "toasts" }, said));
  return { dialog, body, close };
}

/** Messages that are shown in a dialog: they outlive what is in it, with their ways back. */
const messages = (dialog) => [...dialog.querySelectorAll(".toasts > *")];

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
    dialog.addEventListener("close", () => {
      const said = messages(dialog);
      dialog.replaceChildren();
      if (said.length) (document.querySelector("dialog[open] .toasts") ?? find("toasts")).replaceChildren(...said);
    });
  }
}
