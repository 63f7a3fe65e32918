"use strict";
for (const figure of document.querySelectorAll("figure.paste")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy: " + figure.querySelector("figcaption").textContent);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(figure.querySelector("pre").textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(figure.querySelector("pre"));
      button.textContent = "Selected";
    }
  });
  figure.append(button);
}
for (const table of document.querySelectorAll("table.long")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length > 8) {
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = "Filter";
    search.setAttribute("aria-label", "Filter the rows of the table that follows");
    search.addEventListener("input", () => {
      const words = search.value.toLowerCase().split(/\s+/);
      for (const row of rows) {
        row.classList.toggle("hidden", !words.every(word => row.textContent.toLowerCase().includes(word)));
      }
    });
    table.parentElement.before(search);
  }
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      rows.sort((a, b) => value(a).localeCompare(value(b), "en", {numeric: true}) * (up ? 1 : -1));
      table.tBodies[0].append(...rows);
    });
  });
}
for (const map of document.querySelectorAll("svg.map")) {
  const arcs = [...map.querySelectorAll(".arc")];
  const show = number => {
    for (const arc of arcs) arc.classList.toggle("dim", number !== undefined && arc.dataset.from !== number && arc.dataset.to !== number);
  };
  for (const box of map.querySelectorAll(".box")) {
    box.addEventListener("mouseenter", () => show(box.dataset.n));
    box.addEventListener("mouseleave", () => show());
  }
}
