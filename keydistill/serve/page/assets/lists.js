// The lists of an item: one, or two side by side with their differences marked.

import { element, row, table, whole } from "./elements.js";
import { spelling } from "./input.js";

/** The deepest categories of a keyphrase: its payload has all above them as well. */
export function categoryOf(keyphrase) {
  const all = keyphrase.payload.category_ids || [];
  const paths = Array.isArray(all) ? all.map(String) : [String(all)];
  return paths.filter((path) => !paths.some((other) => other !== path && other.startsWith(`${path} > `))).join(" | ");
}

/** How a keyphrase of one list stands in the other: "only", or the number of places that it is higher. */
export function differences(list, other) {
  const places = new Map(other.map((each, place) => [spelling(each.keyphrase), place]));
  return list.map((each, place) => {
    const there = places.get(spelling(each.keyphrase));
    return there === undefined ? { only: true, moved: 0 } : { only: false, moved: there - place };
  });
}

export function pairKey(item, keyphrase) {
  return JSON.stringify([item.id, item.title, item.site, spelling(keyphrase)]);
}

/** The card of an item's result; `desk` has `isBid`, `verdictOf` and `judge`. */
export function itemCard(result, number, desk) {
  const { item, live, other } = result;
  const heading = element("h3", { id: `item-${number}` }, item.title);
  const about = [item.id && `item ${item.id}`, item.category_path, item.site && `site ${item.site}`].filter(Boolean).join(" · ");
  const copy = element("button", { type: "button", "aria-describedby": `item-${number}`, onclick: () => desk.copy([result]) }, "Copy list");
  const header = element("header", {}, heading, about ? element("span", { class: "hint" }, about) : null, copy);
  if (!other) {
    return element("article", { class: "card item", "aria-labelledby": `item-${number}` }, header, singleList(result, desk));
  }
  const [ours, theirs] = [differences(live.keyphrases, other.keyphrases), differences(other.keyphrases, live.keyphrases)];
  return element(
    "article", { class: "card item", "aria-labelledby": `item-${number}` }, header,
    element("p", { class: "hint" }, summary(ours, theirs)),
    element(
      "div", { class: "sides" },
      side("Live", live, ours, "only live", item, desk),
      side("Compared", other, theirs, "only compared", item, desk),
    ),
  );
}

function summary(ours, theirs) {
  const both = ours.filter((each) => !each.only).length;
  const moved = ours.filter((each) => !each.only && each.moved).length;
  return `${both} in both, ${moved} of them at another place; ${ours.length - both} only live; ${theirs.length - both} only compared.`;
}

function singleList({ item, live }, desk) {
  if (!live.keyphrases.length) return nothing(item);
  const columns = [["#", "rank"], ["Keyphrase"], ["Score", "number"], ["Searches", "number"], ["Category"], ["Bid"], ["Verdict"], ["Note"]];
  const rows = live.keyphrases.map((each, place) => row([
    [String(place + 1), "number rank"],
    phrase(each),
    [each.score.toFixed(3), "number score"],
    [whole(each.payload.search_volume), "number searches"],
    [categoryOf(each), "category"],
    [desk.isBid(each.keyphrase) ? badge("already bid", "bid") : "", "marks"],
    ...judging(item, each, live.generation, desk),
  ]));
  return table({ label: `Keyphrases for ${item.title}` }, columns, rows, "list");
}

function side(name, list, marks, onlyText, item, desk) {
  const columns = [["#", "rank"], ["Keyphrase"], ["Score", "number"], ["Searches", "number"], ["Difference"], ["Verdict"], ["Note"]];
  const rows = list.keyphrases.map((each, place) => row([
    [String(place + 1), "number rank"],
    phrase(each, categoryOf(each)),
    [each.score.toFixed(3), "number score"],
    [whole(each.payload.search_volume), "number searches"],
    [[difference(marks[place], onlyText), desk.isBid(each.keyphrase) ? [" ", badge("already bid", "bid")] : []].flat(), "marks"],
    ...judging(item, each, list.generation, desk),
  ], marks[place].only ? "only" : null));
  return element(
    "div", { class: "side" },
    element("h4", {}, name),
    element("p", { class: "hint" }, element("code", {}, list.generation.collection)),
    list.keyphrases.length ? table({ label: `${name}: keyphrases for ${item.title}` }, columns, rows, "list") : nothing(item),
  );
}

function nothing(item) {
  return element("p", { class: "hint" }, "No keyphrase passes. Try ", item.category_path ? "all categories, or " : "", "a lower search volume.");
}

function difference({ only, moved }, onlyText) {
  if (only) return badge(onlyText, "only");
  if (!moved) return badge("same place", "same");
  return badge(`${Math.abs(moved)} ${moved > 0 ? "higher ↑" : "lower ↓"}`, "moved");
}

const badge = (text, kind) => element("span", { class: `badge ${kind}` }, text);

function phrase(each, category = "") {
  const more = [
    each.variants && `also: ${each.variants.join(", ")}`,
    each.fallback && `from ${each.fallback}`,
    category,
  ].filter(Boolean);
  return [[each.keyphrase, ...more.map((text) => element("small", {}, text))], "phrase"];
}

/** The cells by which a person judges a pair: two buttons that are pressed or not, and a note. */
function judging(item, each, generation, desk) {
  const key = pairKey(item, each.keyphrase);
  const current = desk.verdictOf(key);
  const button = (relevant, text, kind) => element("button", {
    type: "button", class: kind, "data-pair": key, "data-relevant": String(relevant),
    "aria-pressed": String(current?.relevant === relevant), "aria-label": `${text} ${each.keyphrase}`,
    onclick: () => desk.judge(item, each.keyphrase, generation, relevant, null),
  }, text);
  const note = element("input", {
    type: "text", maxlength: 1000, "data-note": key, value: current?.note || null,
    placeholder: "Note", "aria-label": `Note on ${each.keyphrase}`,
    onchange: (event) => desk.judge(item, each.keyphrase, generation, null, event.target.value),
  });
  return [[[button(true, "Accept", "yes"), button(false, "Reject", "no")], "verdict"], [note, "note"]];
}
