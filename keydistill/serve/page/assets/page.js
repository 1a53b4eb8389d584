// The page: what its form asks, what its buttons do.

import { Refusal, call } from "./api.js";
import { alertIn, byId } from "./elements.js";
import { chunks, itemsOfCsv, keyphrasesOfCsv, linesOf, spelling, textOf } from "./input.js";
import { itemCard, pairKey } from "./lists.js";
import { copyText, csvOf, save } from "./output.js";
import { showState } from "./state.js";

const MOST_TITLES = 2_000;
const SHOWN_AT_ONCE = 25;

let limits = null;
let results = [];
let shown = 0;
let wanted = SHOWN_AT_ONCE;
let bids = new Set();
let running = null;
const verdicts = new Map();

const desk = {
  isBid: (keyphrase) => bids.has(spelling(keyphrase)),
  verdictOf: (key) => verdicts.get(key),
  judge,
  copy,
};

function say(text) {
  byId("status").textContent = text;
}

/** What is wrong with the form, and the field that it is wrong in. */
class FormError extends Error {
  constructor(field, message) {
    super(message);
    this.field = byId(field);
  }
}

/** Shows what went wrong where it is to be seen; whose session is over signs in again. */
function failed(error, where = "results-alert") {
  if (error.name === "AbortError") return;
  if (error instanceof FormError) {
    alertIn("form-alert", error.message);
    error.field.setAttribute("aria-invalid", "true");
    error.field.focus();
    return;
  }
  if (error instanceof Refusal && error.status === 401) {
    showLogin();
    alertIn("login-alert", "The session is over. Sign in again.");
    return;
  }
  alertIn(where, error.message);
}

function show(id) {
  for (const each of ["login", "tool", "loading"]) byId(each).hidden = each !== id;
  byId("sections").hidden = id !== "tool";
}

function showLogin() {
  show("login");
  byId("session").hidden = true;
  byId("live-line").textContent = "";
  byId("key").focus();
}

async function start() {
  alertIn("page-alert", "");
  try {
    const overview = await call("/v1/page/overview");
    limits = overview.limits;
    byId("limit").max = limits.keyphrases;
    byId("session").hidden = overview.key === null;
    byId("key-name").textContent = overview.key === null ? "" : `Signed in by key ${overview.key}`;
    showState(overview);
    show("tool");
  } catch (error) {
    if (error.status === 401) {
      showLogin();
      return;
    }
    byId("loading").hidden = true;
    failed(error, "page-alert");
  }
}

// Signing in and out

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = byId("key").value.trim();
  alertIn("login-alert", key ? "" : "Enter an API key.");
  if (!key) return;
  try {
    await call("/page/login", { key });
    byId("key").value = "";
    await start();
    byId("titles").focus();
  } catch (error) {
    alertIn("login-alert", error.status === 401 ? "This key is not known." : error.message);
  }
});

byId("logout").addEventListener("click", async () => {
  try {
    await call("/page/logout", {});
    running?.abort();
    results = [];
    verdicts.clear();
    render();
    showLogin();
  } catch (error) {
    failed(error);
  }
});

byId("refresh").addEventListener("click", async () => {
  try {
    showState(await call("/v1/page/overview"));
    say("What is live was read again.");
  } catch (error) {
    failed(error, "page-alert");
  }
});

// Asking

async function fromFile(id, read, what) {
  const [file] = byId(id).files;
  if (!file) return [];
  try {
    return read(await textOf(file));
  } catch (error) {
    throw new FormError(id, `${what} ${file.name} cannot be used: ${error.message}.`);
  }
}

/** What the form asks: items, and the rest of the body. */
async function question() {
  const category = byId("category").value.trim() || null;
  const pasted = linesOf(byId("titles").value).map((title) => ({ id: null, title, category_path: null, site: null }));
  const read = await fromFile("titles-file", itemsOfCsv, "The CSV");
  const items = [...pasted, ...read].map((item) => ({ ...item, category_path: item.category_path || category }));
  if (!items.length) throw new FormError("titles", "Paste a title, or choose a CSV of titles.");
  if (items.length > MOST_TITLES) {
    throw new FormError("titles", `These are ${items.length} titles; the page takes ${MOST_TITLES}. For more there is “keydistill recommend”.`);
  }
  const long = items.find((item) => item.title.length > limits.title_chars);
  if (long) throw new FormError("titles", `A title has ${long.title.length} characters; at most ${limits.title_chars} are allowed.`);
  const given = [...linesOf(byId("bids").value), ...(await fromFile("bids-file", keyphrasesOfCsv, "The CSV of bids"))];
  const leaveOut = byId("leave-out").checked;
  if (leaveOut && given.length > limits.exclude) {
    throw new FormError("bids", `${given.length} keyphrases are bid on; at most ${limits.exclude} can be left out. Without that they are marked.`);
  }
  const limit = Number(byId("limit").value);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= limits.keyphrases)) {
    throw new FormError("limit", `The number of keyphrases per title must be a whole one from 1 to ${limits.keyphrases}.`);
  }
  const match = byId("match").value;
  if (match === "below" && !category) throw new FormError("category", "Name the category whose keyphrases you want.");
  const filters = match === "below" ? { category } : { match_category: match };
  if (byId("site").value.trim()) filters.site = byId("site").value.trim();
  if (byId("volume").value) filters.min_search_volume = Math.max(0, Math.floor(Number(byId("volume").value)));
  const bodyOf = (some) => ({
    items: some.map((item) => ({ ...item, ...(leaveOut ? { exclude: given } : {}) })),
    limit,
    filters,
    options: { merge_variants: byId("merge").checked },
  });
  return { items, bids: new Set(given.map(spelling)), bodyOf, compared: byId("compare").value };
}

byId("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  running?.abort();
  const mine = new AbortController();
  running = mine;
  for (const place of ["results-alert", "form-alert"]) alertIn(place, "");
  for (const field of event.target.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  byId("submit").disabled = true;
  byId("stop").hidden = false;
  try {
    const { items, bids: given, bodyOf, compared } = await question();
    [results, bids] = [[], given];
    render();
    for (const some of chunks(items, limits, bodyOf)) {
      say(`Asking … ${results.length} of ${items.length} titles are answered.`);
      const body = bodyOf(some);
      const [live, other] = await Promise.all([
        call("/v1/recommend", body, mine.signal),
        compared ? call("/v1/page/compare", { ...body, collection: compared }, mine.signal) : null,
      ]);
      some.forEach((item, place) => results.push({ item, live: listOf(live, place), other: other && listOf(other, place) }));
      showMore();
    }
    const found = results.reduce((sum, each) => sum + each.live.keyphrases.length, 0);
    say(`${count(results.length, "title")}, ${count(found, "keyphrase")}, by ${collections()}.`);
    byId("results-title").focus();
  } catch (error) {
    if (!(error instanceof FormError)) say(`${error.name === "AbortError" ? "Stopped" : "It ended"} after ${count(results.length, "title")}.`);
    failed(error);
  } finally {
    if (running === mine) {
      byId("submit").disabled = false;
      byId("stop").hidden = true;
      running = null;
    }
  }
});

byId("stop").addEventListener("click", () => running?.abort());

const listOf = (answer, place) => ({ generation: answer.generation, keyphrases: answer.results[place].keyphrases });
const count = (number, word) => `${number.toLocaleString("en-US")} ${word}${number === 1 ? "" : "s"}`;
const collections = () => [...new Set(results.map((each) => each.live.generation.collection))].join(" and then ");

// Showing

function render() {
  byId("results").replaceChildren();
  [shown, wanted] = [0, SHOWN_AT_ONCE];
  showMore();
}

/** Shows what is there and not shown yet, up to the number of titles that are wanted. */
function showMore() {
  const next = results.slice(shown, wanted);
  byId("results").append(...next.map((each, place) => itemCard(each, shown + place, desk)));
  shown += next.length;
  byId("tools").hidden = !results.length;
  byId("more").hidden = shown >= results.length;
  byId("more").textContent = `Show more (${shown} of ${results.length} titles are shown)`;
}

byId("more").addEventListener("click", () => {
  const first = shown;
  wanted += SHOWN_AT_ONCE;
  showMore();
  const heading = byId(`item-${first}`);
  heading.tabIndex = -1;
  heading.focus();
});

// Judging

/** Keeps a verdict, or the note of one; what is given as null stays as it is. */
async function judge(item, keyphrase, generation, relevant, note) {
  const key = pairKey(item, keyphrase);
  const before = verdicts.get(key);
  const after = { relevant: relevant ?? before?.relevant, note: note ?? before?.note ?? noteIn(key) };
  verdicts.set(key, after);
  mark(key);
  if (after.relevant === undefined) return say("The note is kept together with a verdict: accept or reject.");
  const body = {
    items: [{ id: item.id, title: item.title, category_path: item.category_path, site: item.site }],
    keyphrase,
    relevant: after.relevant,
    note: after.note || null,
    ...generation,
  };
  try {
    await call("/v1/page/judgments", body);
    say(`${after.relevant ? "Accepted" : "Rejected"}: ${keyphrase}. It is kept.`);
  } catch (error) {
    // Only what is kept is shown as such.
    if (verdicts.get(key) === after) {
      if (before) verdicts.set(key, before);
      else verdicts.delete(key);
      mark(key);
    }
    say(`Not kept: ${keyphrase}.`);
    failed(error);
  }
}

const marked = (name, key) => [...document.querySelectorAll(`[data-${name}]`)].filter((each) => each.dataset[name] === key);

const noteIn = (key) => marked("note", key).map((each) => each.value.trim()).find(Boolean) || "";

/** Shows a verdict wherever its pair stands: two lists may have it. */
function mark(key) {
  const verdict = verdicts.get(key);
  for (const button of marked("pair", key)) {
    button.setAttribute("aria-pressed", String(String(verdict?.relevant) === button.dataset.relevant));
  }
  for (const field of marked("note", key)) if (verdict?.note !== undefined && field !== document.activeElement) field.value = verdict.note;
}

// Taking along

async function copy(some) {
  const lines = [...new Set(some.flatMap((each) => each.live.keyphrases.map((found) => found.keyphrase)))];
  say((await copyText(lines.join("\n"))) ? `${count(lines.length, "keyphrase")} copied.` : "The browser did not allow copying.");
}

byId("copy").addEventListener("click", () => copy(results));
byId("download").addEventListener("click", () => {
  save("keyphrases.csv", csvOf(results, desk, byId("escape").checked));
  say("The CSV is being saved.");
});

await start();
