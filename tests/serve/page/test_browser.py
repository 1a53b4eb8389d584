"""The page as people use it, in a headless Chromium, against a service of two processes with an API key."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from keydistill.encoders import Student
from keydistill.runs import AliasChange, open_store
from keydistill.serve import KeyFile
from keydistill.settings import load_settings
from keydistill.vectorstore import CollectionSpec, PointBatch, payload_indexes
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.runs.records import reindex_run
from tests.serve.conftest import ALIAS, Home, swap
from tests.support.chromium import Browser, chromium
from tests.support.corpus import point_id
from tests.support.service_process import ServiceProcess

PROGRAM = chromium()
if PROGRAM is None:
    pytest.skip("there is no Chromium (on Debian: apt-get install chromium)", allow_module_level=True)

# Keyphrases come from whoever searches.
MARKUP = "<img src=x onerror=\"document.title='owned'\">"
FORMULA = '=hyperlink("http://elsewhere.example","a, b")'
KEYPHRASES = [MARKUP, FORMULA, "iphone 13 case", "iphone case clear", "phone case", "lamp black", "desk lamp", "+lamp"]
TITLES = ["Apple iPhone 13 <b>clear</b> case", "Desk lamp, black"]
WIDE, NARROW = (1440, 900), (390, 844)


@dataclass
class World:
    """A service, what is live there and what else is ready, and a browser."""

    browser: Browser
    url: str
    key: str
    live: str
    other: str
    judgments: Path

    def ask(self, limit: int = 8) -> None:
        """Send the form, and wait for the answer."""
        self.browser.run("document.querySelector('#status').textContent = ''")
        self.browser.fill("#limit", str(limit))
        self.browser.run("document.querySelector('#submit').click()")
        self.browser.wait("/keyphrases?, by/.test(document.querySelector('#status').textContent)")

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.browser.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.innerText.trim())"
        )
        return found


def build(engine: EmbeddedEngine, student: Student) -> str:
    name = f"{ALIAS}-{uuid4().hex[:12]}"
    spec = CollectionSpec(student.dimension, payload_indexes({}), quantization="none")
    engine.create(name, spec, {"student": student.source, "student_version": student.version})
    payloads: list[dict[str, Any]] = [
        {"keyphrase": text, "category_ids": ["Goods", "Goods > Things"], "search_volume": 1_000 * place}
        for place, text in enumerate(KEYPHRASES, 1)
    ]
    engine.upsert(
        name, PointBatch([point_id(text) for text in KEYPHRASES], student.embed_keyphrases(KEYPHRASES), payloads)
    )
    engine.finish(name)
    return name


@pytest.fixture(scope="module")
def world(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    assert PROGRAM is not None
    folder = tmp_path_factory.mktemp("page")
    with EmbeddedEngine(folder / "home") as engine:
        live, other = (build(engine, home.students[name]) for name in "ab")
        swap(engine, live)
    settings = load_settings(home=folder / "home")
    store = open_store(settings)
    store.note(AliasChange.made("swap", ALIAS, None, live, why="<i>because</i>"))
    row = {"name": "recall@10 <u>", "value": 0.9, "live": None, "rule": ">=", "threshold": 0.95, "verdict": "fail"}
    gate = {"verdict": "refused", "collection": other, "against": "the live one", "rows": [row]}
    store.add(replace(reindex_run(), gate=gate))
    key = KeyFile.of(settings).add("people")
    (folder / "browser").mkdir()
    with (
        ServiceProcess(settings.home, "--processes", "2") as service,
        Browser(PROGRAM, folder / "browser") as browser,
    ):
        browser.look(*WIDE, "light")
        browser.open(service.url, "document.querySelector('#login:not([hidden])')")
        yield World(browser, service.url, key, live, other, settings.home / "judgments")


def test_a_login_by_keyboard_opens_the_page(world: World) -> None:
    browser = world.browser
    assert browser.run("document.activeElement.id") == "key"
    assert not browser.run("document.querySelector('#tool:not([hidden])')")
    for key, shown in (("kd_wrong", "This key is not known."), (world.key, "")):
        browser.run("document.querySelector('#key').value = ''; document.querySelector('#key').focus()")
        browser.send("Input.insertText", text=key)
        browser.press("Enter")
        if shown:
            browser.wait(f"document.querySelector('#login-alert').innerText.includes({json.dumps(shown)})")
    browser.wait("document.querySelector('#tool:not([hidden])')")
    assert browser.run("document.cookie") == ""
    assert world.texts("#key-name") == ["Signed in by key people"]
    assert world.texts("#state-live code")[0] == world.live
    # Either process knows the session, whichever a connection comes to.
    statuses = browser.run(
        "Promise.all(Array.from({length: 30}, () => fetch('/v1/page/overview').then((answer) => answer.status)))"
    )
    assert set(statuses) == {200}


def test_the_state_of_things_is_shown_as_text(world: World) -> None:
    assert "refused" in world.texts("#state-gate")[0]
    assert "recall@10 <u>" in world.texts("#state-gate")[0]
    assert "<i>because</i>" in world.texts("#state-history")[0]
    assert not world.browser.run("Boolean(document.querySelector('#state u, #state i'))")


def test_lists_with_what_is_bid_on(world: World, tmp_path: Path) -> None:
    bids = tmp_path / "bids.csv"
    bids.write_text("\ufeffkeyword;bid\nIPHONE  13 case;0,5\n", encoding="utf-8")
    world.browser.fill("#titles", "\n".join(TITLES))
    world.browser.fill("#bids", "Desk Lamp\n")
    world.browser.choose_file("#bids-file", bids)
    world.ask()
    assert world.texts(".item h3") == TITLES
    assert len(world.texts(".list tbody tr")) == 2 * len(KEYPHRASES)
    assert sorted(world.texts(".item:first-child .phrase")) == sorted(KEYPHRASES)
    marked = world.browser.run(
        "[...document.querySelectorAll('.item:first-child tbody tr')].filter((each) => each.querySelector('.bid'))"
        ".map((each) => each.querySelector('.phrase').textContent)"
    )
    assert sorted(marked) == ["desk lamp", "iphone 13 case"]
    assert "3,000" in world.texts(".item:first-child tbody")[0]
    assert set(world.texts(".item:first-child .list td.category")) == {"Goods > Things"}
    assert world.browser.run("document.activeElement.id") == "results-title"
    # What could be markup is text.
    assert world.browser.run("document.querySelectorAll('.item img, .item b').length") == 0
    assert "owned" not in world.browser.run("document.title")
    world.browser.run("document.querySelector('#leave-out').click()")
    world.ask()
    assert len(world.texts(".item:first-child .phrase")) == len(KEYPHRASES) - 2
    world.browser.run("document.querySelector('#leave-out').click(); document.querySelector('#bids-file').value = ''")


def test_a_csv_of_titles(world: World, tmp_path: Path) -> None:
    file = tmp_path / "titles.csv"
    file.write_text('item_id,Title,category\nx1,"A lamp, ""new""\nand bright",Goods > Things\nx2,,\n', encoding="utf-8")
    world.browser.fill("#titles", "")
    world.browser.choose_file("#titles-file", file)
    world.browser.run("document.querySelector('#match').value = 'leaf'")
    world.ask(limit=2)
    assert world.texts(".item h3") == ['A lamp, "new" and bright']
    assert "item x1 · Goods > Things" in world.texts(".item header")[0]
    assert len(world.texts(".list tbody tr")) == 2
    world.browser.run("document.querySelector('#match').value = 'none'")
    file.write_text("name_of_it\nlamp\n", encoding="utf-8")
    world.browser.choose_file("#titles-file", file)
    world.browser.run("document.querySelector('#submit').click()")
    world.browser.wait("document.querySelector('#form-alert').innerText.includes('there is no column “title”')")
    assert world.browser.run("document.activeElement.id") == "titles-file"
    world.browser.run("document.querySelector('#titles-file').value = ''")


def test_two_generations_side_by_side_judged_and_taken_along(world: World) -> None:
    browser = world.browser
    browser.fill("#titles", "\n".join(TITLES))
    browser.fill("#compare", world.other)
    world.ask(limit=4)
    assert world.texts(".item:first-child .side code") == [world.live, world.other]
    phrases = [world.texts(f".item:first-child .side:nth-child({number}) .phrase") for number in (1, 2)]
    lists = [[text.splitlines()[0] for text in side] for side in phrases]
    for number in (1, 2):
        side, against = lists[number - 1], lists[2 - number]
        badges = world.texts(f".item:first-child .side:nth-child({number}) .marks .badge:not(.bid)")
        right = []
        for place, keyphrase in enumerate(side):
            if keyphrase not in against:
                right.append("only live" if number == 1 else "only compared")
                continue
            moved = against.index(keyphrase) - place
            direction = "higher ↑" if moved > 0 else "lower ↓"
            right.append(f"{abs(moved)} {direction}" if moved else "same place")
        assert badges == right

    # By keyboard: the first keyphrase is rejected, with a note.
    first = lists[0][0]
    browser.run("document.querySelector('.list tbody .no').focus()")
    browser.press("Enter")
    browser.wait("/It is kept/.test(document.querySelector('#status').textContent)")
    assert browser.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    browser.press("Tab")
    browser.run("document.querySelector('#status').textContent = ''")
    browser.send("Input.insertText", text="not <ours>")
    browser.press("Tab")
    browser.wait("/It is kept/.test(document.querySelector('#status').textContent)")
    kept = [json.loads(line) for line in (world.judgments / "judgments.jsonl").read_text().splitlines()]
    assert [(each["keyphrase"], each["label"], each["judge"]) for each in kept] == [(first, False, "page:people")] * 2
    assert (kept[-1]["note"], kept[-1]["collection"]) == ("not <ours>", world.live)

    for escaped in (True, False):
        browser.run("document.querySelector('#download').click()")
        rows = list(csv.DictReader(io.StringIO(browser.downloaded("keyphrases.csv").decode("utf-8-sig"))))
        assert {row["collection"] for row in rows} == {world.live, world.other}
        starts = {row["keyphrase"][:1] for row in rows} | {"'"}
        assert (starts.isdisjoint("=+")) is escaped
        rejected = [row for row in rows if row["accepted"] == "no"]
        assert rejected[0]["note"] == "not <ours>"
        browser.run("document.querySelector('#escape').click()")


def test_labels_roles_and_width(world: World) -> None:
    """What a screen reader is told, in both layouts; nothing is wider than a telephone."""
    for size, scheme in ((WIDE, "dark"), (NARROW, "light")):
        world.browser.look(*size, scheme)
        nodes = world.browser.send("Accessibility.getFullAXTree")["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]
        for role in ("button", "textbox", "combobox", "checkbox", "spinbutton", "table", "region", "heading"):
            names = [name for each, name in named if each == role]
            assert names, role
            assert all(names), role
        assert any(name.startswith("Reject ") for role, name in named if role == "button")
        assert "status" in {role for role, _ in named}
        assert len([role for role, _ in named if role == "cell"]) > 30
        assert world.browser.run("document.documentElement.scrollWidth") <= size[0]
    world.browser.look(*WIDE, "light")
    order = world.browser.run(
        "[...document.querySelectorAll('#ask input, #ask select, #ask textarea, #submit')].map((each) => each.tabIndex)"
    )
    assert set(order) == {0}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(world: World, scheme: str) -> None:
    """Texts against their grounds by WCAG 2: at least 4.5 to 1; borders of fields 3 to 1."""
    world.browser.look(*WIDE, scheme)
    ratios = world.browser.run(
        """(() => {
          const style = getComputedStyle(document.documentElement);
          const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
          const light = (name) => {
            canvas.fillStyle = style.getPropertyValue(name);
            canvas.fillRect(0, 0, 1, 1);
            const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255)
              .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
          };
          const ratio = (one, two) => {
            const [dark, bright] = [light(one), light(two)].sort((a, b) => a - b);
            return (bright + 0.05) / (dark + 0.05);
          };
          const texts = [["ink", "ground"], ["ink", "card"], ["soft", "ground"], ["soft", "card"], ["accent", "card"],
            ["accent-ink", "accent"], ["accent", "accent-soft"], ["yes", "yes-soft"], ["no", "no-soft"],
            ["mark", "mark-soft"]];
          return [...texts.map(([one, two]) => [one, two, ratio(`--${one}`, `--${two}`), 4.5]),
            ["field", "card", ratio("--field", "--card"), 3]];
        })()"""
    )
    assert [each for each in ratios if each[2] < each[3]] == []


def test_at_the_end_nothing_is_left_of_the_session(world: World) -> None:
    # 401 before the login and for the wrong key is all that the browser had to complain of.
    assert all("401" in each for each in world.browser.complaints), world.browser.complaints
    world.browser.run("document.querySelector('#logout').click()")
    world.browser.wait("document.querySelector('#login:not([hidden])')")
    assert world.texts(".item") == []
    assert world.browser.run("fetch('/v1/page/overview').then((answer) => answer.status)") == 401
