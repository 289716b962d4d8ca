
"use strict";
(() => {
  const number = new Intl.NumberFormat("en");

  // Tables: a button in each header cell sorts, and a field above the table filters. Tables work without this script.
  const key = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.trim();
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b, "en", { numeric: true });
  };
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const head = heads[column];
    const isNumber = head.classList.contains("n");
    const was = head.getAttribute("aria-sort");
    const down = was ? was === "ascending" : isNumber; // numbers are sorted in descending order first
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => {
      if (isNumber && typeof a !== typeof b) return compare(a, b); // missing values stay last
      return down ? compare(b, a) : compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table.data")) {
    if (table.tBodies[0].rows.length < 2 || "ordered" in table.dataset) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column));
      head.append(button);
    });
    if (!("filter" in table.dataset)) continue;
    const row = document.createElement("div");
    const label = document.createElement("label");
    const field = document.createElement("input");
    const status = document.createElement("span");
    row.className = "filter";
    field.type = "search";
    status.setAttribute("role", "status");
    label.append("Filter: ", field);
    row.append(label, status);
    const rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => [...row.cells].map((cell) => cell.firstElementChild?.matches("button.ids") ? cell.firstElementChild.textContent : cell.textContent).join(" ").toLowerCase());
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      rows.forEach((one, i) => {
        one.hidden = !words.every((word) => texts[i].includes(word));
        left += !one.hidden;
      });
      status.textContent = words.length ? `${number.format(left)} of ${number.format(rows.length)} rows` : "";
    });
    table.closest(".scroll").before(row);
  }

  // Images: a click opens a larger view with the facts about the image.
  const dialog = document.getElementById("zoom");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.zoom");
    if (!button) {
      if (event.target === dialog) dialog.close();
      return;
    }
    const images = document.createElement("div");
    images.className = "images";
    for (const image of button.querySelectorAll("img")) {
      const larger = image.cloneNode();
      images.append(larger);
    }
    const facts = button.parentElement.querySelector("dl").cloneNode(true);
    facts.hidden = false;
    facts.className = "facts";
    dialog.querySelector("h2").textContent = button.querySelector("img").alt;
    dialog.querySelector(".zoomed").replaceChildren(images, facts);
    dialog.showModal();
  });

  // Lists of counted items: a thumbnail before each image that the page has one of.
  const thumbnails = new Map();
  for (const image of document.querySelectorAll("#thumbnails img")) thumbnails.set(image.dataset.image, image);
  document.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open" || !event.target.matches("div.ids")) return;
    for (const line of event.target.querySelectorAll("li[data-image]")) {
      const image = thumbnails.get(line.dataset.image);
      if (image && !line.querySelector("img")) line.prepend(image.cloneNode());
    }
  }, true); // the event does not bubble

  // Open all details for printing.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });
})();
