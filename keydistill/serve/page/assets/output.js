// What people take along: the clipboard, and a CSV.

import { categoryOf, differences, pairKey } from "./lists.js";

const FORMULA_STARTS = /^[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/;

/** Puts texts into the clipboard; also where the address is not a secure one, and there is no `navigator.clipboard`. */
export async function copyText(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed: the old way may be.
    }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  before?.focus();
  return copied;
}

/** The lists as a CSV with a row for each keyphrase of each generation. */
export function csvOf(results, desk, escape) {
  const names = ["item_id", "title", "site", "collection", "rank", "keyphrase", "score", "search_volume", "category", "already_bid", "difference", "accepted", "note"];
  const rows = results.flatMap(({ item, live, other }) => {
    const sides = other ? [[live, other], [other, live]] : [[live, null]];
    return sides.flatMap(([list, against]) => {
      const marks = against && differences(list.keyphrases, against.keyphrases);
      return list.keyphrases.map((each, place) => {
        const verdict = desk.verdictOf(pairKey(item, each.keyphrase));
        return [
          item.id, item.title, item.site, list.generation.collection, place + 1, each.keyphrase, each.score,
          each.payload.search_volume, categoryOf(each), desk.isBid(each.keyphrase) ? "yes" : "no",
          marks ? (marks[place].only ? "only" : marks[place].moved) : null,
          verdict?.relevant === undefined ? null : verdict.relevant ? "yes" : "no", verdict?.note,
        ];
      });
    });
  });
  return [names, ...rows].map((cells) => cells.map((value) => cell(value, escape)).join(",")).join("\r\n") + "\r\n";
}

function cell(value, escape) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (escape && typeof value === "string" && FORMULA_STARTS.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Has the browser keep a text as a file; the mark at its beginning tells spreadsheets that it is UTF-8. */
export function save(name, text) {
  const address = URL.createObjectURL(new Blob(["\uFEFF", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
