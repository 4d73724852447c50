// A click on a heading sorts its table by that column, a second one the other way round; undefined figures stay last.
for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const isNumber = heading.classList.contains("number");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const first = isNumber ? "descending" : "ascending";
      const direction = heading.ariaSort === first ? (isNumber ? "ascending" : "descending") : first;
      headings.forEach((other) => (other.ariaSort = null));
      heading.ariaSort = direction;
      const sign = direction === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => {
        if (!isNumber) return sign * value(a).localeCompare(value(b), "en", { numeric: true });
        const [x, y] = [Number(value(a)), Number(value(b))];
        return Number.isNaN(x) - Number.isNaN(y) || sign * (x - y);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    });
  });
}
