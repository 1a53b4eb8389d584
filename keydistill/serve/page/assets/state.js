// What is live, the last gate, the history: to be read, and no more.

import { byId, element, moment, row, table, whole } from "./elements.js";

/** Shows the overview of the service. */
export function showState(overview) {
  const { live, collections, gate, history } = overview;
  byId("live-line").textContent = live ? `Live: ${live.collection}` : "Nothing is live yet";
  byId("state-live").replaceChildren(live ? liveFacts(live, collections) : hint("Nothing is live yet."));
  byId("state-gate").replaceChildren(...gateReport(gate));
  byId("state-history").replaceChildren(historyTable(history));
  showChoices(overview);
}

function showChoices({ live, collections }) {
  const select = byId("compare");
  const chosen = select.value;
  const others = (collections || []).filter((each) => each.collection !== live?.collection);
  select.replaceChildren(
    element("option", { value: "" }, others.length ? "nothing" : "nothing (there is no other generation)"),
    ...others.map((each) => element("option", { value: each.collection }, `${each.collection} – ${each.student_version}`)),
  );
  select.value = others.some((each) => each.collection === chosen) ? chosen : "";
  select.disabled = !others.length;
}

const hint = (text) => element("p", { class: "hint" }, text);

const facts = (pairs) => element(
  "dl", { class: "facts" },
  pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
);

function liveFacts(live, collections) {
  const own = (collections || []).find((each) => each.collection === live.collection);
  return facts([
    ["Alias", live.alias],
    ["Collection", element("code", {}, live.collection)],
    ["Student", element("code", {}, live.student_version)],
    ["Keyphrases", whole(own?.points)],
    ["Built", own?.created_at ? moment(own.created_at) : null],
    ["Answers since", moment(live.since)],
    ["Following the alias", live.following ? "yes" : element("span", { class: "badge bad" }, "not at the moment; see the log")],
  ]);
}

function gateReport(gate) {
  if (gate === null) return [hint("It cannot be read at the moment.")];
  if (!gate.run) return [hint("No collection was before the gate yet.")];
  const refused = gate.verdict === "refused";
  const rows = (gate.rows || []).map((each) => row([
    [each.name, null], [number(each.value), "number"], [number(each.live), "number"], [mustBe(each), null],
    [element("span", { class: `badge ${{ pass: "good", fail: "bad" }[each.verdict] || "same"}` }, each.verdict), null],
    [each.note, null],
  ]));
  return [
    facts([
      ["Run", `${gate.run}: ${gate.state}, begun ${moment(gate.at)}`],
      ["Verdict", element("span", { class: `badge ${refused ? "bad" : "good"}` }, gate.verdict)],
      ["Forced", gate.forced],
      ["Collection", element("code", {}, gate.collection)],
      ["Compared with", gate.against],
      ["Queries", gate.items],
    ]),
    table({ label: "Checks of the last gate" }, [["Check"], ["Value", "number"], ["Live", "number"], ["Must be"], ["Verdict"], ["Note"]], rows),
  ];
}

function number(value) {
  if (typeof value !== "number") return "–";
  return Number.isInteger(value) && Math.abs(value) >= 10 ? whole(value) : value.toFixed(3);
}

function mustBe({ rule, threshold }) {
  if (!rule || threshold === null) return "–";
  return rule === "+-" ? `within ${number(threshold)}` : `${rule === ">=" ? "at least" : "at most"} ${number(threshold)}`;
}

function historyTable(history) {
  if (history === null) return hint("It cannot be read at the moment.");
  if (!history.length) return hint("Nothing was swapped yet.");
  const rows = history.map((each) => row([
    [moment(each.at), null], [each.by, null], [each.action, null],
    [element("code", {}, each.before || "nothing"), null], [each.after ? element("code", {}, each.after) : "–", null],
    [each.why || "–", null],
  ]));
  return table({ label: "Changes of the alias, the latest first" }, [["At"], ["By"], ["Action"], ["From"], ["To"], ["Why"]], rows);
}
