// From what people paste and choose to requests: titles, CSV files, what is already bid on.

/** Rows of a CSV, quotes and line breaks in cells included; the separator is the one that its first line has most of. */
export function csvRows(text) {
  const plain = text.replace(/^\uFEFF/, "");
  const line = plain.slice(0, plain.search(/[\r\n]|$/));
  const separator = [",", ";", "\t"].reduce((best, each) => (line.split(each).length > line.split(best).length ? each : best));
  const rows = [];
  let cells = [], cell = "", quoted = false;
  const endCell = () => { cells.push(cell); cell = ""; };
  const endRow = () => { endCell(); if (cells.some((each) => each.trim())) rows.push(cells); cells = []; };
  for (let at = 0; at < plain.length; at++) {
    const letter = plain[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (plain[at + 1] === '"') { cell += '"'; at++; }
      else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === separator) endCell();
    else if (letter === "\n" || letter === "\r") { if (letter === "\r" && plain[at + 1] === "\n") at++; endRow(); }
    else cell += letter;
  }
  if (cell || cells.length) endRow();
  if (quoted) throw new Error("a quote is opened and never closed");
  return rows;
}

/** Objects by the names of the first row, which must have one of `needed`. */
function csvObjects(text, needed, aliases = {}) {
  const [names, ...rows] = csvRows(text);
  const columns = (names || []).map((name) => {
    const plain = name.trim().toLowerCase().replaceAll(/[\s-]+/g, "_");
    return aliases[plain] || plain;
  });
  if (!columns.includes(needed)) {
    throw new Error(`there is no column “${needed}”; its columns are: ${columns.join(", ") || "none"}`);
  }
  return rows.map((cells) => Object.fromEntries(columns.map((name, place) => [name, (cells[place] || "").trim()])));
}

// What our own CSV puts before a text that a spreadsheet would take for a formula.
const unescaped = (text) => text.replace(/^'(?=[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20])/, "");

/** Items of a CSV of titles. */
export function itemsOfCsv(text) {
  const rows = csvObjects(text, "title", { id: "item_id", category: "category_path", name: "title" });
  return rows.filter((each) => each.title).map((each) => ({
    id: unescaped(each.item_id || "") || null,
    title: unescaped(each.title),
    category_path: unescaped(each.category_path || "") || null,
    site: each.site || null,
  }));
}

/** Keyphrases of a CSV: its column `keyphrase`, or its only column, with or without a name. */
export function keyphrasesOfCsv(text) {
  const rows = csvRows(text);
  if (rows.length && rows.every((cells) => cells.length === 1) && !/^(key(phrase|word)|query)s?$/i.test(rows[0][0].trim())) {
    return rows.map(([cell]) => unescaped(cell.trim()));
  }
  const aliases = { keyword: "keyphrase", keywords: "keyphrase", keyphrases: "keyphrase", query: "keyphrase" };
  return csvObjects(text, "keyphrase", aliases).map((each) => unescaped(each.keyphrase)).filter(Boolean);
}

export const linesOf = (text) => text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);

/** One spelling of a keyphrase, to see whether two are the same. */
export const spelling = (keyphrase) => keyphrase.normalize("NFKC").toLowerCase().replaceAll(/\s+/g, " ").trim();

/** The text of a file; what is no UTF-8 is read as Windows writes it. */
export async function textOf(file) {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Items cut into requests that the service takes: few enough, and small enough. */
export function* chunks(items, limits, bodyOf) {
  let start = 0;
  while (start < items.length) {
    let count = Math.min(limits.items, items.length - start);
    while (count > 1 && size(bodyOf(items.slice(start, start + count))) > limits.body_bytes) count = Math.ceil(count / 2);
    yield items.slice(start, start + count);
    start += count;
  }
}

const size = (body) => new TextEncoder().encode(JSON.stringify(body)).length;
