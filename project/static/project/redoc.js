// ReDoc, in the dark with colours of its own.
(function () {
  "use strict";
  const page = document.getElementById("redoc");
  const dark = {
    colors: {
      primary: { main: "#5eead4" },
      success: { main: "#5eead4" },
      error: { main: "#f1aeb5" },
      text: { primary: "#dee2e6", secondary: "#adb5bd" },
      border: { dark: "#495057", light: "#343a40" },
      responses: { success: { color: "#5eead4", backgroundColor: "#23383a" }, error: { color: "#f1aeb5", backgroundColor: "#3a2a2d" } },
    },
    schema: { nestedBackground: "#2b3035", linesColor: "#5eead4", typeNameColor: "#adb5bd", typeTitleColor: "#adb5bd" },
    typography: { code: { color: "#f1aeb5", backgroundColor: "#2b3035" }, links: { color: "#5eead4" } },
    sidebar: { backgroundColor: "#1b1e21", textColor: "#dee2e6", activeTextColor: "#5eead4" },
    rightPanel: { backgroundColor: "#16191c" },
  };
  // The logo at its foot would come from a third party, whom our policy refuses.
  const { prototype } = HTMLImageElement, { setAttribute } = prototype;
  prototype.setAttribute = function (name, value) {
    if (name !== "src" || new URL(value, location).origin === location.origin) setAttribute.call(this, name, value);
  };
  Object.defineProperty(prototype, "src", { set(value) { this.setAttribute("src", value); }, get() { return this.getAttribute("src") || ""; } });
  const isDark = document.documentElement.classList.contains("dark-mode");
  Redoc.init(page.dataset.schema, isDark ? { theme: dark } : {}, page);
})();
