// Light or dark, before the page is painted; and the menu that chooses it.
(function () {
  "use strict";
  const KEY = "jazzmin-theme-mode";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem(KEY) || "auto";
  const apply = () => {
    const mode = chosen() === "auto" ? (dark.matches ? "dark" : "light") : chosen();
    document.documentElement.setAttribute("data-bs-theme", mode);
    document.documentElement.classList.toggle("dark-mode", mode === "dark"); // Swagger UI's
  };
  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    const buttons = document.querySelectorAll("[data-theme-mode]");
    const mark = () => buttons.forEach((button) => {
      const active = button.dataset.themeMode === chosen();
      button.classList.toggle("active", active);
      button.setAttribute("aria-pressed", active);
    });
    buttons.forEach((button) => button.addEventListener("click", () => {
      localStorage.setItem(KEY, button.dataset.themeMode);
      apply();
      mark();
    }));
    mark();
  });
})();
