// The search box of every page: a combobox of what the server finds. "/" goes to it.
(function () {
  "use strict";
  const box = document.getElementById("desk-box");
  if (!box) return;
  const input = box.querySelector("input");
  const list = box.querySelector("[role=listbox]");
  const status = box.querySelector("[role=status]");
  const DELAY = 150; // ms after the last key
  let timer, request, shown = "";

  const options = () => [...list.querySelectorAll("[role=option]")];
  const chosen = () => list.querySelector("[aria-selected=true]");

  function choose(option) {
    const before = chosen();
    if (before) before.setAttribute("aria-selected", "false");
    if (option) {
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", option.id);
    } else input.removeAttribute("aria-activedescendant");
  }

  function open(isOpen) {
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) choose(null);
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function option(url, title, detail) {
    const made = element("a", "desk-box-hit");
    made.href = url;
    made.id = "desk-box-hit-" + options().length;
    made.tabIndex = -1;
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", "false");
    made.append(element("span", "desk-box-title", title));
    if (detail) made.append(element("span", "desk-box-detail", detail));
    return made;
  }

  function show(groups) {
    list.replaceChildren();
    for (const group of groups) {
      const part = element("div", "");
      part.setAttribute("role", "group");
      part.setAttribute("aria-label", group.name);
      const head = element("div", "desk-box-head", group.name);
      head.setAttribute("role", "presentation");
      list.append(part);
      part.append(head);
      for (const hit of group.hits) part.append(option(hit.url, hit.title, hit.detail));
      part.append(option(group.url, box.dataset.all, ""));
    }
    if (!groups.length) list.append(element("div", "desk-box-none", box.dataset.none));
    const count = groups.reduce((sum, group) => sum + group.hits.length, 0);
    status.textContent = count ? String(count) : box.dataset.none;
    open(true);
  }

  async function ask() {
    const text = input.value.trim();
    if (request) request.abort();
    if (text.length < 2) { shown = ""; open(false); return; }
    if (text === shown) { open(true); return; }
    request = new AbortController();
    try {
      const address = box.dataset.hits + "?" + new URLSearchParams({ q: text });
      const answer = await fetch(address, { signal: request.signal });
      if (!answer.ok || answer.redirected) return; // logged out: Enter leads to the login
      const groups = (await answer.json()).groups;
      if (document.activeElement !== input) return;
      shown = text;
      show(groups);
    } catch { /* aborted, or offline: Enter still searches */ }
  }

  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, DELAY); });
  input.addEventListener("focus", () => { if (input.value.trim()) ask(); });
  input.addEventListener("keydown", (event) => {
    const all = list.hidden ? [] : options();
    const at = all.indexOf(chosen());
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) { ask(); return; }
      const step = event.key === "ArrowDown" ? 1 : -1;
      // One step past either end, nothing is chosen: Enter searches.
      const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step;
      choose(all[next] || null);
    } else if (event.key === "Enter") {
      clearTimeout(timer);
      if (at >= 0) { event.preventDefault(); all[at].click(); }
      else if (!input.value.trim()) event.preventDefault();
    } else if (event.key === "Escape") {
      if (!list.hidden) { event.preventDefault(); open(false); }
      else { input.value = ""; input.blur(); }
    }
  });
  list.addEventListener("mousedown", (event) => event.preventDefault()); // keeps the focus
  box.addEventListener("focusout", (event) => {
    if (!box.contains(event.relatedTarget)) { clearTimeout(timer); if (request) request.abort(); open(false); }
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    const alone = !event.ctrlKey && !event.metaKey && !event.altKey;
    // By its place, whatever the layout, or where the layout has it: Shift+7 in German.
    const slash = event.key === "/" || (event.code === "Slash" && !event.shiftKey);
    if (slash && alone && !typing) { event.preventDefault(); input.focus(); input.select(); }
  });
})();
