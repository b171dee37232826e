// Light or dark before anything is drawn: a plain script in the head, so that nothing flashes.
"use strict";

(() => {
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => { try { return localStorage.getItem("itae.theme"); } catch { return null; } };
  const show = () => document.documentElement.classList.toggle("dark", chosen() ? chosen() === "dark" : wanted.matches);
  show();
  wanted.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const told = () => button.setAttribute("aria-pressed", String(document.documentElement.classList.contains("dark")));
    told();
    wanted.addEventListener("change", told);
    button.addEventListener("click", () => {
      const dark = !document.documentElement.classList.contains("dark");
      try { localStorage.setItem("itae.theme", dark ? "dark" : "light"); } catch { /* a browser that keeps nothing */ }
      document.documentElement.classList.toggle("dark", dark);
      told();
    });
  });
})();
