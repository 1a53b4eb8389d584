// Making elements. Texts become text nodes and nothing else, so that no keyphrase is ever read as markup.

/** An element with attributes and children; `on…` names are listeners, and what is null or false is left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (id) => document.getElementById(id);

/** Shows a message in an alert region, or none. */
export function alertIn(id, message) {
  byId(id).replaceChildren(...(message ? [element("p", { class: "alert" }, message)] : []));
}

/** A table whose roles are written out, since a style that makes cards of its rows would take them away. */
export function table(caption, columns, rows, kind = "") {
  const head = columns.map(([name, kinds]) => element("th", { role: "columnheader", scope: "col", class: kinds }, name));
  return element(
    "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption.label },
    element(
      "table", { role: "table", class: kind },
      caption.text ? element("caption", {}, caption.text) : element("caption", { class: "visually-hidden" }, caption.label),
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)),
      element("tbody", { role: "rowgroup" }, rows),
    ),
  );
}

/** A row of a table; cells are [content, class]. */
export function row(cells, kind = null) {
  return element("tr", { role: "row", class: kind }, cells.map(([content, kinds]) => element("td", { role: "cell", class: kinds }, content)));
}

export const whole = (number) => (typeof number === "number" ? number.toLocaleString("en-US") : "");

/** A time as the reader's machine writes it. */
export function moment(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso || "–" : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
