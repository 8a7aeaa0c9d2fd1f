// The contents of a page and copy buttons, in place of pkgdown's script and those that it fetches from elsewhere.
document.addEventListener("DOMContentLoaded", () => {
  const make = (tag, attributes, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };

  const contents = document.getElementById("toc");
  if (contents) {
    const headings = [...document.querySelectorAll("main h2, main h3")].filter((h) => !h.closest("[data-toc-skip]"));
    const links = headings.map((h) => {
      const level = h.tagName === "H3" ? "ps-4" : "";
      return make("a", { className: `nav-link ${level}`, href: `#${h.id || h.closest("[id]").id}` }, h.textContent.trim());
    });
    contents.append(make("div", { className: "nav flex-column" }, ...links));
    contents.hidden = links.length === 0;
  }

  // As in TeX, plain brackets are as high as the text; pandoc lets all of them grow.
  for (const bracket of document.querySelectorAll("mo[stretchy]")) bracket.setAttribute("stretchy", "false");

  for (const block of document.querySelectorAll("div.sourceCode")) {
    const code = block.textContent.replace(/^#>.*\n?/gm, "");
    const icon = make("i", { className: "fa fa-copy", ariaHidden: "true" });
    const button = make("button", { type: "button", className: "btn btn-primary btn-copy-ex", title: "Copy" }, icon);
    button.ariaLabel = "Copy to clipboard";
    button.onclick = async () => {
      await navigator.clipboard.writeText(code);
      icon.className = "fa fa-check";
      setTimeout(() => (icon.className = "fa fa-copy"), 1500);
    };
    block.classList.add("hasCopyButton");
    block.prepend(button);
  }
});
