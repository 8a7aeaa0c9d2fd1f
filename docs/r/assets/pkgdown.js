// The contents of a page, copy buttons and the search, in place of pkgdown's script and the five that it fetches
// from elsewhere.
(() => {
  "use strict";

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  function listContents(nav) {
    const list = make("ul", { class: "nav flex-column" });
    for (const heading of document.querySelectorAll("main h2, main h3")) {
      const anchor = heading.id || heading.closest(".section[id]")?.id;
      if (!anchor || heading.closest("[data-toc-skip]")) continue;
      const text = [...heading.childNodes].filter((node) => !node.classList?.contains("anchor"));
      const name = text.map((node) => node.textContent).join("").trim();
      const level = heading.tagName === "H3" ? " ps-4" : "";
      list.append(make("li", {}, make("a", { class: `nav-link${level}`, href: `#${CSS.escape(anchor)}` }, name)));
    }
    if (list.childElementCount) nav.append(list);
    else nav.hidden = true;
  }

  function addCopyButton(block) {
    const icon = make("i", { class: "fa fa-copy", "aria-hidden": "true" });
    const button = make("button", { type: "button", class: "btn btn-primary btn-copy-ex", title: "Copy" }, icon);
    button.setAttribute("aria-label", "Copy to clipboard");
    const code = block.textContent.replace(/\n#>[^\n]*/g, "").trim() + "\n";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code);
      icon.className = "fa fa-check";
      setTimeout(() => (icon.className = "fa fa-copy"), 1500);
    });
    block.classList.add("hasCopyButton");
    block.prepend(button);
  }

  const root = document.currentScript.src.replace(/[^/]*$/, "");

  function loadPages() {
    loadPages.promise ??= new Promise((resolve, reject) => {
      const script = make("script", { src: `${root}search.js` });
      script.onload = () => resolve(window.sailerxPages);
      script.onerror = reject;
      document.head.append(script);
    });
    return loadPages.promise;
  }

  // Every word must occur; those in the name of the function or the title count most.
  function find(pages, words) {
    const score = (page) => {
      const title = `${page.what} ${page.title}`.toLowerCase();
      const all = `${title} ${page.previous_headings} ${page.text} ${page.code ?? ""}`.toLowerCase();
      return words.every((word) => all.includes(word)) ? 1 + 5 * words.filter((word) => title.includes(word)).length : 0;
    };
    const scored = pages.map((page) => [score(page), page]).filter(([points]) => points > 0);
    return scored.sort((a, b) => b[0] - a[0]).slice(0, 12).map(([, page]) => page);
  }

  function setUpSearch(input) {
    const results = make("div", { class: "dropdown-menu dropdown-menu-end search-results", "aria-live": "polite" });
    const holder = make("div", { class: "dropdown" });
    input.form.addEventListener("submit", (event) => event.preventDefault());
    input.parentNode.insertBefore(holder, input);
    holder.append(input, results);
    input.addEventListener("input", async () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = words.length ? find(await loadPages(), words) : [];
      const entry = (page) => {
        const within = page.what === page.title ? page.dir : page.title;
        const href = root + page.path.replace(/^\//, "") + (page.id ? `#${page.id}` : "");
        return make("a", { class: "dropdown-item text-wrap", href }, make("small", {}, `${within}: `), page.what);
      };
      const none = make("span", { class: "dropdown-item-text" }, "Nothing found.");
      results.replaceChildren(...(found.length ? found.map(entry) : [none]));
      results.classList.toggle("show", words.length > 0);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") results.querySelector("a")?.click();
      if (event.key === "Escape") results.classList.remove("show");
    });
    document.addEventListener("click", (event) => {
      if (!holder.contains(event.target)) results.classList.remove("show");
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const nav = document.getElementById("toc");
    if (nav) listContents(nav);
    if (navigator.clipboard) document.querySelectorAll("div.sourceCode").forEach(addCopyButton);
    const input = document.getElementById("search-input");
    if (input) setUpSearch(input);
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || !input || /INPUT|TEXTAREA/.test(event.target.tagName)) return;
      event.preventDefault();
      input.focus();
    });
  });
})();
