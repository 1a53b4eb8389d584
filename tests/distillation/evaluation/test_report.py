import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from keydistill.distillation.evaluation import (
    MIN_JUDGED_PAIRS,
    Evaluation,
    LabelJudge,
    SearchFilter,
    evaluate,
    read_evaluation,
    write_report,
)
from keydistill.encoders import Student
from keydistill.errors import InputError
from tests.support.present import present

NASTY = "<script>alert(1)</script> & \"$x_1$\" 'x'"
KEYPHRASES = [f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("shoes", "phone", "case", "lamp")]


@pytest.fixture(scope="module")
def measured(tiny_student: Student) -> Callable[..., Evaluation]:
    items = pa.table(
        {
            "item_id": [f"item {n}" for n in range(12)],
            "title": [f"{keyphrase} of 2026" for keyphrase in KEYPHRASES[:11]] + [NASTY],
            "category_path": ["Fashion > Shoes"] * 6 + ["Phones & $ales > <b>Cases</b>"] * 5 + [None],
        }
    )
    inventory = pa.table({"keyphrase": [*KEYPHRASES, NASTY], "search_volume": range(13)})
    labels = pa.table(
        {
            "item_id": [f"item {n}" for n in range(12) for _ in range(10)],
            "keyphrase": [KEYPHRASES[(n + step) % 12] for n in range(12) for step in range(10)],
            "label": [step == 0 for _ in range(12) for step in range(10)],
            "judge": [NASTY] * 120,
        }
    )
    # The search filter lets most pairs through, so that most of the lists are judged.
    passed = labels.select(["item_id", "keyphrase", "judge"]).append_column(
        "passed", pa.array([step < 9 for _ in range(12) for step in range(10)])
    )

    def measure(dimension: int | None = None, *, plain: bool = False) -> Evaluation:
        student = tiny_student if dimension is None else Student.load(tiny_student.source, dimension=dimension)
        more = {"labels": labels, "dimensions": [8], "search_filter": SearchFilter(passed)}
        options = {"judge": LabelJudge(labels), "k": (1, 3, 10), "resamples": 100, **({} if plain else more)}
        return evaluate(student, items, inventory, **options)

    return measure


class Page(HTMLParser):
    """Tags, their attributes, and whether every tag is closed."""

    VOID = frozenset({"meta", "br", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_needs_nothing_else_and_is_well_formed(measured: Any, tmp_path: Path) -> None:
    write_report(tmp_path / "report", measured(), measured(16))
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert names & {"script", "link", "img", "iframe", "object"} == set()
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                assert present(value).startswith("#"), (tag, name, value)
    assert "url(http" not in text
    assert "@import" not in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'xlink:href="#([^"]+)"', text))
    assert referred <= set(ids)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_page_says_what_was_found_and_who_judged(measured: Any, tmp_path: Path) -> None:
    mine, other = measured(), measured(16)
    comparison = write_report(tmp_path / "report", mine, other)
    page = Page((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    text = " ".join(" ".join(page.text).split())
    assert mine.judge.sentence() in text
    assert NASTY in text
    for evaluation in (mine, other):
        assert evaluation.student in text
        assert f"{evaluation.estimates['recall@10'].value:.1%}" in text
    gap = present(comparison).differences["auc"]
    assert f"{100 * present(gap.difference):+.1f}" in text
    assert (present(comparison).a, present(comparison).b) == (other.student, mine.student)
    titles = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert "Judged relevant by list length" in titles
    assert "Quality by Matryoshka dimension" in titles
    assert "Scores of labelled pairs" in titles
    assert "Judged relevant@10 by category" in titles


def test_no_colour_is_left_that_the_page_does_not_decide(measured: Any, tmp_path: Path) -> None:
    write_report(tmp_path / "report", measured())
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    plots = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b", plots)) == set()
    assert "var(--first)" in plots


def test_the_same_evaluation_is_the_same_report_byte_for_byte(measured: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(tmp_path / name, measured(), measured(16))
    names = ["against.json", "comparison.json", "evaluation.json", "index.html"]
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_a_report_can_be_read_back_and_written_again(measured: Any, tmp_path: Path) -> None:
    write_report(tmp_path / "report", measured(), measured(16))
    back = read_evaluation(tmp_path / "report")
    write_report(tmp_path / "again", back, read_evaluation(tmp_path / "report" / "against.json"))
    for path in (tmp_path / "report").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_report_replaces_a_report_and_nothing_else(measured: Any, tmp_path: Path) -> None:
    evaluation, other = measured(plain=True), measured(16)
    write_report(tmp_path / "report", measured(), other)
    write_report(tmp_path / "report", evaluation)
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["evaluation.json", "index.html"]
    assert other.student not in (tmp_path / "report" / "index.html").read_text("utf-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds no evaluation\.json"):
        write_report(tmp_path / "mine", evaluation)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_no_evaluation_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_evaluation(tmp_path / "nothing.json")
    for text in ("{", "[]", "{}", json.dumps({"format": 1, "student": "x"})):
        (tmp_path / "evaluation.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError):
            read_evaluation(tmp_path)


def test_a_minimal_evaluation_makes_a_page(measured: Any, tmp_path: Path) -> None:
    evaluation = measured(plain=True)
    write_report(tmp_path, evaluation)
    page = Page(Path(tmp_path / "index.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert "none was given" in " ".join(page.text)


def test_a_category_with_few_judged_pairs_is_not_drawn_and_counted(measured: Any, tmp_path: Path) -> None:
    evaluation = measured()
    supports = {each.name: each.supports["relevant@10"] for each in evaluation.categories}
    assert supports["(no category)"].pairs < MIN_JUDGED_PAIRS <= supports["Fashion"].pairs
    write_report(tmp_path, evaluation)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"Fashion ({supports['Fashion'].pairs} / {supports['Fashion'].keyphrases})" in text
    assert "(no category) (" not in text
    assert "categories have too few judged pairs" in text
    whole = evaluation.supports["relevant@10"]
    assert whole.pairs == evaluation.measures["relevant@10"].denominators.sum()
    assert f"{whole.pairs} pairs, {whole.keyphrases} keyphrases, {whole.items} items" in text


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("pairs", [0, 1, 12])
@pytest.mark.parametrize("category", [None, "Shoes"])
def test_what_rests_on_next_to_nothing_is_not_drawn(
    tiny_student: Student, tmp_path: Path, label: bool, pairs: int, category: str | None
) -> None:
    items = pa.table(
        {
            "item_id": [f"item {n}" for n in range(12)],
            "title": KEYPHRASES,
            "category_path": pa.array([category] * 11 + ["Phones"], pa.string()),
        }
    )
    labels = pa.table(
        {
            "item_id": pa.array([f"item {n}" for n in range(pairs)], pa.string()),
            "keyphrase": pa.array(KEYPHRASES[:pairs], pa.string()),
            "label": pa.array([label] * pairs, pa.bool_()),
        }
    )
    evaluation = evaluate(
        tiny_student,
        items,
        pa.table({"keyphrase": KEYPHRASES}),
        judge=LabelJudge(labels),
        labels=labels,
        k=(1, 10),
        dimensions=[8],
        resamples=20,
    )
    write_report(tmp_path, evaluation)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    titles = {attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"}
    assert titles <= {"Scores of labelled pairs"}
    if pairs and label:
        assert f"Recall@10 rests on {pairs} judged pairs" in " ".join(page.text)
        assert "Less than 50% of the lists was judged" in " ".join(page.text)
        assert page.text.index("Recall@10") < page.text.index("Judged relevant@10")
