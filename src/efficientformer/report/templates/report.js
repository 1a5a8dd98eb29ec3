(() => {
  "use strict";
  const options = { renderer: "svg", actions: false, ast: true, tooltip: { disableDefaultStyle: true } };

  const describe = (tooltip) =>
    typeof tooltip === "object" ? Object.entries(tooltip).map(([name, value]) => `${name}: ${value}`).join(" · ") : String(tooltip);

  const draw = async (holder) => {
    const spec = JSON.parse(document.getElementById(holder.dataset.spec).textContent);
    const { view } = await vegaEmbed(holder, spec, options);
    const readout = document.createElement("p");
    readout.className = "readout";
    readout.setAttribute("aria-live", "polite");
    holder.after(readout);
    view.addEventListener("click", (_, item) => {
      readout.textContent = item && item.tooltip ? describe(item.tooltip) : "";
    });
    holder.dataset.drawn = "yes";
  };

  // A heading of the last header row, or one that spans all header rows, sorts by its column: first up, then down.
  const sortable = (table) => {
    const rows = [...table.tHead.rows];
    const columns = [...rows[0].cells].flatMap((cell) => cell.colSpan > 1 ? Array(cell.colSpan).fill(null) : [cell]);
    let next = 0;
    for (let index = 0; rows.length > 1 && index < columns.length; index += 1) {
      if (columns[index] === null) columns[index] = rows.at(-1).cells[next++];
    }
    const value = (row, index) => {
      const cell = row.cells[index];
      const text = cell.dataset.value ?? cell.textContent.trim();
      return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
    };
    const before = (a, b) => typeof a === typeof b
      ? (a < b ? -1 : a > b ? 1 : 0)
      : typeof a === "number" ? -1 : 1;
    columns.forEach((heading, index) => {
      const button = document.createElement("button");
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const up = heading.getAttribute("aria-sort") !== "ascending";
        columns.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        const sorted = [...body.rows].sort((a, b) => {
          const [one, other] = [value(a, index), value(b, index)];
          const order = before(one, other);
          return up || typeof one !== typeof other ? order : -order;
        });
        body.append(...sorted);
      });
    });
  };
  document.querySelectorAll("table.sortable").forEach(sortable);

  for (const holder of document.querySelectorAll(".chart")) {
    draw(holder).catch((error) => {
      holder.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    });
  }
})();
