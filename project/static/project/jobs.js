// Shows how far a worker is, and loads the page anew when the state changes.
(function () {
  "use strict";
  const INTERVAL_MS = 1000;
  const box = document.querySelector("[data-progress]");
  if (!box) return;
  const bar = box.querySelector("progress");
  const text = box.querySelector("[data-progress-text]");
  const poll = async () => {
    try {
      const answer = await fetch(box.dataset.progress, { headers: { Accept: "application/json" } });
      if (answer.redirected) return location.reload(); // signed out
      const { state, percent, text: words } = await answer.json();
      if (state !== box.dataset.state) return location.reload();
      bar.value = percent;
      if (text.textContent !== words) text.textContent = words;
    } catch { /* the desk restarts: ask again */ }
    setTimeout(poll, INTERVAL_MS);
  };
  setTimeout(poll, INTERVAL_MS);
})();
