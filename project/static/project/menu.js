// The side menu: beside the page on a wide window, which the cookie remembers; over it on a phone.
(function () {
  "use strict";
  const button = document.getElementById("menu-toggle");
  const menu = document.getElementById("jazzy-sidebar");
  if (!button || !menu) return;
  const body = document.body;
  // The list that this page belongs to: the longest address that ours begins with. With the
  // dashboard's all begin.
  const links = [...menu.querySelectorAll(".sidebar-menu a")];
  const here = links
    .filter((link) => link === links[0] ? location.pathname === link.pathname : location.pathname.startsWith(link.pathname))
    .sort((a, b) => b.pathname.length - a.pathname.length)[0];
  if (here) { here.classList.add("active"); here.setAttribute("aria-current", here.pathname === location.pathname ? "page" : "true"); }
  const wide = window.matchMedia("(min-width: 992px)");
  const isOpen = () => wide.matches ? !body.classList.contains("sidebar-collapse") : body.classList.contains("sidebar-open");
  const show = (open) => {
    body.classList.toggle(wide.matches ? "sidebar-collapse" : "sidebar-open", wide.matches ? !open : open);
    tell();
  };
  const tell = () => {
    button.setAttribute("aria-expanded", isOpen());
    menu.inert = !isOpen(); // what is out of sight takes no focus
  };
  button.addEventListener("click", () => {
    show(!isOpen());
    if (wide.matches) document.cookie = `jazzy_menu=${isOpen() ? "open" : "closed"};path=/;max-age=31536000;SameSite=Strict`;
    else if (isOpen()) menu.querySelector("a").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !wide.matches && isOpen()) { show(false); button.focus(); }
  });
  document.getElementById("menu-overlay").addEventListener("click", () => show(false));
  wide.addEventListener("change", () => { body.classList.remove("sidebar-open"); tell(); });
  tell();
})();
