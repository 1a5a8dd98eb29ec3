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

  for (const holder of document.querySelectorAll(".chart")) {
    draw(holder).catch((error) => {
      holder.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    });
  }
})();
