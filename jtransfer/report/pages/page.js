"use strict";
(() => {
  document.documentElement.classList.add("js");

  // What a cell sorts by: a number, a text, or null where there is nothing.
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return text === "\u2013" ? null : text;
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };

  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    // Ranks and texts start with the smallest, scores with the highest.
    const numeric = rows.some(([value]) => typeof value === "number");
    const first = column > 1 && numeric ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = heads[column].ariaSort === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", order);
  };

  document.querySelectorAll("table").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => sort(table, column));
    });
  });

  // A source under the pointer is marked in every chart and in the table.
  let marked = null;
  document.addEventListener("pointerover", (event) => {
    const source = event.target.closest("[data-s]")?.dataset.s ?? null;
    if (source === marked) return;
    const toggle = (index, on) =>
      document.querySelectorAll(`[data-s="${Number(index)}"]`).forEach((element) => {
        element.classList.toggle("on", on);
      });
    if (marked !== null) toggle(marked, false);
    if (source !== null) toggle(source, true);
    marked = source;
  });
})();
