// Filters apply at once, and suggest what is there; Ctrl+S or Cmd+S saves.
(function () {
  "use strict";
  const suggest = (input) => {
    let timer, request;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      if (request) request.abort();
      if (input.value.trim().length < 2) return;
      timer = setTimeout(async () => {
        request = new AbortController();
        const address = input.dataset.suggestions + "?" + new URLSearchParams({ q: input.value });
        try {
          const answer = await fetch(address, { signal: request.signal });
          const values = (await answer.json()).values;
          input.list.replaceChildren(...values.map((value) => new Option(value, value)));
        } catch { /* aborted, or offline: no suggestions */ }
      }, 150);
    });
  };
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
    form.querySelectorAll(".desk-filter input").forEach((input) => {
      // A number is complete when the field is left or Enter pressed; so is a suggestion chosen.
      input.addEventListener("change", () => { if (input.reportValidity()) form.requestSubmit(); });
      if (input.dataset.suggestions) suggest(input);
    });
    form.addEventListener("submit", () => {
      form.querySelectorAll("input[name]").forEach((input) => {
        if (!input.value.trim()) input.removeAttribute("name");
      });
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.code === "KeyS" && (event.ctrlKey || event.metaKey) && !event.altKey) {
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
