// Tables sort by the button in a column's head: a click, or Enter and Space on the keyboard.
document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.sort ?? "";
      const rows = Array.from(body.rows);
      const numeric = head.classList.contains("num");
      const value = (row) => (key(row) === "" ? NaN : Number(key(row)));
      rows.sort((a, b) => {
        if (!numeric) return key(a).localeCompare(key(b)) * (down ? -1 : 1);
        const x = value(a), y = value(b);
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return x === y ? 0 : (x < y ? -1 : 1) * (down ? -1 : 1);
      });
      body.append(...rows);
    });
  });
});
// On paper everything folded is shown.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
