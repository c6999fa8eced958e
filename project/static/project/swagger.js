// Folds the guide's sections on Swagger UI's page, so that the operations stay near.
(function () {
  "use strict";
  const fold = () => {
    const guide = document.querySelector("#swagger-ui .info .renderedMarkdown");
    if (!guide || guide.querySelector("details")) return;
    guide.querySelectorAll(":scope > h1").forEach((heading) => {
      const section = document.createElement("details");
      const summary = document.createElement("summary");
      heading.before(section);
      while (section.nextSibling && (section.nextSibling === heading || section.nextSibling.nodeName !== "H1")) section.append(section.nextSibling);
      const title = document.createElement("h2"); // the page has its h1
      title.append(...heading.childNodes);
      heading.replaceWith(summary);
      summary.append(title);
    });
  };
  new MutationObserver(fold).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });
})();
