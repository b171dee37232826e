// What the scripts of a knowledge base's pages share: lines for a shell, with a button that copies them.

const said = make("p", { class: "unseen", role: "status" });
document.body.append(said);

/** Copy text; where the browser forbids it, select it, so that a key does. */
function copy(code) {
  const by_hand = () => {
    getSelection().selectAllChildren(code);
    said.textContent = "Selected: copy it with the keyboard.";
  };
  if (!navigator.clipboard) return by_hand();
  return navigator.clipboard.writeText(code.textContent).then(() => {
    const button = code.parentElement.querySelector(".copy");
    button.textContent = "Copied";
    said.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 1500);
  }, by_hand);
}

function withCopy(box) {
  const code = box.querySelector("code");
  box.append(make("button", { type: "button", class: "copy", "aria-label": "Copy the command", onclick: () => copy(code) }, "Copy"));
  return box;
}

/** A line for a shell. */
function shell(line) {
  return withCopy(make("div", { class: "shell" }, make("code", { tabindex: "0" }, line)));
}

document.querySelectorAll(".shell").forEach(withCopy);
