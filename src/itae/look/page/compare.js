// --- before and after

for (const figure of document.querySelectorAll("figure.compare")) {
  const slider = figure.querySelector("input[type=range]");
  const stack = figure.querySelector(".stack");
  const other = figure.querySelector("input[type=checkbox]");
  const show = () => {
    figure.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % of the width blurred`);
  };
  const choose = () => {
    figure.querySelector(".restored").classList.toggle("back", other.checked);
    figure.querySelector(".sharp").classList.toggle("back", !other.checked);
  };
  const follow = (event) => {
    const box = stack.getBoundingClientRect();
    slider.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
    show();
  };
  slider.addEventListener("input", show);
  stack.addEventListener("pointerdown", (event) => {
    stack.setPointerCapture(event.pointerId);
    follow(event);
  });
  stack.addEventListener("pointermove", (event) => event.buttons && follow(event));
  if (other) {
    other.addEventListener("change", choose);
    choose();
  }
  show();
  figure.classList.add("slides");
}
