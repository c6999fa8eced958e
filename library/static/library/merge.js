// Merging books: whichever record stays, its values are chosen, until one of them is chosen by hand.
(function () {
  "use strict";
  const form = document.querySelector("[data-merge]").form;
  const own = JSON.parse(document.getElementById("merge-values").textContent);
  const byHand = new Set();
  form.addEventListener("change", ({ target }) => {
    if (target.name !== "keep") {
      byHand.add(target.name);
      return;
    }
    for (const [name, value] of Object.entries(own[target.value])) {
      const choices = form.elements[name];
      if (choices instanceof RadioNodeList && !byHand.has(name)) choices.value = value;
    }
  });
})();
