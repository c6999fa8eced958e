// Forms lose nothing: leaving one with unsaved changes asks first, and what was sent to a session that had
// ended comes back after the login.
(function () {
  "use strict";
  const DRAFT = "desk-draft";
  const AGAIN_MILLISECONDS = 5000; // until a second submission is no second click on the first
  const form = document.querySelector(".change-form #content-main form[method=post]");

  // The draft of a form lives from its submission to the next page of the desk. A login or an error in
  // between has no menu and leaves it alone.
  let draft = null;
  if (document.getElementById("jazzy-sidebar")) {
    draft = JSON.parse(sessionStorage.getItem(DRAFT));
    sessionStorage.removeItem(DRAFT);
  }
  if (form) {
    const entries = () => [...new FormData(form)].filter(([name, value]) =>
      name !== "csrfmiddlewaretoken" && typeof value === "string" && form.elements[name].type !== "password");
    const error = form.querySelector(".errorlist, .alert-danger");
    const answered = error || document.querySelector(".alert-success");
    const untouched = JSON.stringify(entries());
    let sent = false, sentAt = -Infinity;

    if (draft && draft.path === location.pathname && !answered) {
      restore(form, draft.entries);
      const note = document.getElementById("draft-restored");
      if (note) note.hidden = false;
    }
    form.addEventListener("submit", (event) => {
      if (event.timeStamp < sentAt + AGAIN_MILLISECONDS) return event.preventDefault();
      sentAt = event.timeStamp;
      sent = true;
      sessionStorage.setItem(DRAFT, JSON.stringify({ path: location.pathname, entries: entries() }));
    });
    addEventListener("beforeunload", (event) => {
      if (!sent && (error || JSON.stringify(entries()) !== untouched)) event.preventDefault();
    });
    addEventListener("pageshow", () => { sent = false; sentAt = -Infinity; }); // back from the next page
    if (error) {
      const group = error.closest(".form-group") || form.querySelector(".errorlist")?.closest(".form-group");
      group?.querySelector("input:not([type=hidden]), select, textarea")?.focus();
    }
  }

  function restore(form, entries) {
    const values = new Map();
    entries.forEach(([name, value]) => values.set(name, [...(values.get(name) || []), value]));
    for (const field of form.elements) {
      const given = values.get(field.name) || [];
      if (field.type === "checkbox" || field.type === "radio") field.checked = given.includes(field.value);
      else if (field.multiple) for (const option of field.options) option.selected = given.includes(option.value);
      else if (given.length) field.value = given.shift();
    }
  }
})();
