// What an ISBN stands for is said while it is typed; of a new book the empty fields are filled in, where that
// is set up.
(function () {
  "use strict";
  const POLL_MILLISECONDS = 500;
  const isbn = document.querySelector("[data-isbn-check]");
  if (!isbn) return;
  const form = isbn.form;
  const says = document.createElement("div");
  says.className = "form-text";
  says.setAttribute("role", "status");
  isbn.after(says);
  let timer = 0, asked = "";

  async function ask(url, options) {
    const response = await fetch(url, options).catch(() => null);
    return response?.ok && !response.redirected ? response.json() : null;
  }

  async function check(finished) {
    const text = isbn.value.trim();
    const number = text.replace(/[^0-9xX]/g, "");
    const length = /^97[89]/.test(number) ? 13 : 10;
    if (text && text === asked) return;
    asked = text;
    if (!text || (!finished && number.length < length)) return says.replaceChildren();
    const answer = await ask(`${isbn.dataset.isbnCheck}&isbn=${encodeURIComponent(text)}`);
    if (!answer || asked !== text) return;
    document.getElementById("id_isbn_error")?.remove(); // of what was sent before
    isbn.removeAttribute("aria-invalid");
    says.classList.toggle("text-danger-emphasis", !answer.ok);
    says.replaceChildren(answer.text);
    if (answer.url) {
      const link = document.createElement("a");
      link.href = answer.url;
      link.textContent = answer.title;
      says.append(" ", link);
    }
    if (answer.ok && isbn.dataset.isbnLookup && !form.elements.title.value) lookUp(text, answer.text);
  }

  async function lookUp(text, checked) {
    const say = (words) => { if (asked === text) says.replaceChildren(`${checked} ${words || ""}`); };
    const url = isbn.dataset.isbnLookup;
    const body = new URLSearchParams({ isbn: text, csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value });
    const begun = await ask(url, { method: "POST", body });
    say(begun?.text);
    if (!begun?.task) return;
    const end = Date.now() + 1000 * begun.seconds;
    let answer = null;
    while (!answer?.text && asked === text && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
      answer = await ask(`${url}?task=${begun.task}`);
    }
    if (asked !== text) return;
    say(answer?.text || begun.late);
    for (const [name, value] of Object.entries(answer?.found || {})) {
      if (!form.elements[name].value) form.elements[name].value = value;
    }
  }

  isbn.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(check, 200); });
  isbn.addEventListener("change", () => { clearTimeout(timer); check(true); });
  const refused = isbn.getAttribute("aria-invalid"); // the form says why
  if (isbn.dataset.isbnLookup && isbn.value && !refused) check(true); // from the search box, by a scanner
})();
