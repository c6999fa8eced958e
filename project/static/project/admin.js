// Filters apply at once; "/" goes to the search, Ctrl+S or Cmd+S saves.
(function () {
  "use strict";
  const form = document.getElementById("changelist-search");
  if (form) {
    const filters = form.querySelectorAll("[data-filter]");
    const name = (select) => {
      const chosen = select.selectedOptions[0];
      if (chosen && chosen.dataset.name) select.name = chosen.dataset.name;
      else select.removeAttribute("name");
    };
    filters.forEach((select) => {
      name(select);
      select.addEventListener("change", () => { name(select); form.submit(); });
    });
    form.addEventListener("submit", () => {
      const search = form.querySelector("[name=q]");
      if (search && !search.value.trim()) search.removeAttribute("name");
    });
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const search = document.getElementById("searchbar");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    }
    if (event.key.toLowerCase() === "s" && (event.ctrlKey || event.metaKey) && !event.altKey) {
      const save = document.querySelector("#content-main [name=_save], form [name=_save]");
      if (save) { event.preventDefault(); save.click(); }
    }
  });
})();

// Buttons that copy the text of a field beside them.
document.querySelectorAll("[data-copy]").forEach((button) => {
  const field = document.getElementById(button.dataset.copy);
  button.addEventListener("click", async () => {
    field.select();
    try { await navigator.clipboard.writeText(field.value); } catch { document.execCommand("copy"); }
    button.textContent = button.dataset.copied;
  });
});
