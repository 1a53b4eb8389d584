import csv
import json
import sys
from pathlib import Path

import pytest

from keydistill.encoders import Student
from tests.cli.conftest import Command


@pytest.fixture
def options(tmp_path: Path, tiny_folder: Path) -> list[object]:
    """A training on the scores of 20 items and 10 keyphrases: the item's own one, and others."""
    items, scores = tmp_path / "items.csv", tmp_path / "scores.csv"
    items.write_text(
        "item_id,title,category_path,brand\n"
        + "".join(f"{number},red shoe {number},A > B,{'acme' if number % 2 else ''}\n" for number in range(20)),
        encoding="utf-8",
    )
    scores.write_text(
        "item_id,keyphrase,score\n"
        + "".join(
            f"{number},shoe {other},{0.9 if number % 10 == other else 0.1}\n"
            for number in range(20)
            for other in range(10)
        ),
        encoding="utf-8",
    )
    return ["--items", items, "--scores", scores, "--base", tiny_folder, "--epochs", 1, "--held-out", 0.2]


def test_a_student_is_published_or_written(keydistill: Command, options: list[object], tmp_path: Path) -> None:
    result = keydistill("train", "student", *options, "--json")
    assert result.status == 0, result.err
    assert result.err == ""
    trained = json.loads(result.out)
    assert trained["version"].startswith("student/")
    assert trained["pairs"] == {"assistant": 160, "approved": 16}
    assert Student.load(trained["folder"], device="cpu").item_text.template == "{leaf}: {title}"
    assert list((tmp_path / "home" / "training").iterdir()) == []

    with_brand = ["--item-text", "{leaf}: {title} {brand}"]
    written = keydistill("train", "student", *options, *with_brand, "--out", tmp_path / "student")
    assert written.status == 0, written.err
    assert Student.load(str(tmp_path / "student"), device="cpu").item_text.free_fields == ("brand",)
    misspelt = keydistill("train", "student", *options, "--item-text", "{title} {brnd}", "--dry-run")
    found = "found: item_id, title, category_path, brand"
    assert (misspelt.status, misspelt.err) == (1, f"error: {options[1]} has no column 'brnd'; {found}\n")
    assert f"Wrote {tmp_path / 'student'}" in written.out
    again = keydistill("train", "student", *options, "--out", tmp_path / "student")
    assert (again.status, again.err) == (
        1,
        f"error: {tmp_path / 'student'} exists already; name another folder, or remove it\n",
    )


def test_an_interrupted_training_goes_on(
    keydistill: Command, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # The package exports a function of the module's name.
        patched.setattr(sys.modules["keydistill.distillation.student.trainings"], "replace_json", interrupt)
        result = keydistill("train", "student", *options)
    assert result.status == 130
    assert result.err == "interrupted; the same command goes on from the last checkpoint, if there is one\n"
    assert list((tmp_path / "home" / "training").glob(".student-*.training/checkpoints/all-tasks/checkpoint-*"))
    assert keydistill("train", "student", *options).status == 0
    assert list((tmp_path / "home" / "training").iterdir()) == []


def test_a_student_of_clicks_alone_is_averaged_in(keydistill: Command, options: list[object], tmp_path: Path) -> None:
    clicks = tmp_path / "clicks.csv"
    clicks.write_text(
        "item_id,keyphrase,position,impressions,clicks\n"
        # Every second pair is clicked more often than its position explains.
        + "".join(f"{number},shoe {number % 10},1,50,{40 if number % 2 else 1}\n" for number in range(20)),
        encoding="utf-8",
    )
    scores = tmp_path / "scores.csv"
    scores.write_text("".join(scores.read_text(encoding="utf-8").splitlines(keepends=True)[:41]), encoding="utf-8")
    options = [*options[:-4], "--epochs", 5, "--batch-size", 4, "--held-out", 0, "--clicks", clicks]
    trained = json.loads(keydistill("train", "student", *options, "--clicks-share", 0.2, "--json").out)
    assert trained["clicks_share"] == trained["recipe"]["clicks_share"] == 0.2
    shown = json.loads(keydistill("models", "show", trained["version"], "--json").out)
    assert shown["metrics"]["clicks_share"] == 0.2
    alone = keydistill("train", "student", *options, "--clicks-share", 0, "--no-int8", "--out", tmp_path / "alone")
    assert "clicks alone" not in alone.out
    assert "int8" not in alone.out
    both = keydistill("train", "student", *options, "--out", tmp_path / "both")
    assert "clicks alone      30% of the weights" in both.out
    assert "int8              weights are rounded for it" in both.out


def test_a_dry_run_changes_nothing(keydistill: Command, options: list[object], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = keydistill("train", "student", *options, "--dry-run")
    assert result.status == 0, result.err
    assert "dry run: nothing was changed" in result.out
    plan = json.loads(keydistill("train", "student", *options, "--dry-run", "--json").out)
    assert plan["pairs"] == {"assistant": 160, "approved": 16}
    assert sorted(tmp_path.rglob("*")) == before


def test_keyphrases_may_be_as_long_as_the_setting_says(
    keydistill: Command, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "scores.csv").open("a", encoding="utf-8") as file:
        file.write(f"1,{'shoe ' * 50},0.9\n")
    assert "1 rows of the scores" in keydistill("train", "student", *options, "--dry-run").err
    monkeypatch.setenv("KEYDISTILL_MAX_KEYPHRASE_CHARS", "300")
    assert keydistill("train", "student", *options, "--dry-run").err == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("clicks=much", "expected TASK=NUMBER"),
        ("taps=1", "tasks are clicks, judged_yes, search_relevance, judgments, assistant, approved"),
        ("clicks=-1", "numbers are not negative"),
        ("clicks=nan", "numbers are not negative"),
    ],
)
def test_weights_that_cannot_be(keydistill: Command, options: list[object], given: str, message: str) -> None:
    result = keydistill("train", "student", *options, "--weight", given)
    assert result.status == 2
    assert message in result.err


def test_a_static_student_from_its_training_to_its_recommendations(
    keydistill: Command, options: list[object], static_folder: Path, tmp_path: Path
) -> None:
    base = options.index("--base") + 1
    options[base] = static_folder
    trained = json.loads(keydistill("train", "student", *options, "--shape", "static", "--json").out)
    assert trained["recipe"]["shape"] == "static"
    shown = json.loads(keydistill("models", "show", trained["version"], "--json").out)
    assert shown["lineage"]["settings"]["shape"] == "static"
    assert "| shape | static |" in Path(trained["folder"], "README.md").read_text(encoding="utf-8")

    inventory = tmp_path / "inventory.csv"
    inventory.write_text("keyphrase\n" + "".join(f"shoe {number}\n" for number in range(20)), encoding="utf-8")
    built = keydistill("reindex", inventory, "--student", trained["version"], "--dimension", 16)
    assert built.status == 0, built.err
    out = tmp_path / "recommended.csv"
    result = keydistill("recommend", tmp_path / "items.csv", "--out", out, "--limit", 3)
    assert result.status == 0, result.err
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60

    student = Student.load(trained["folder"], device="cpu", dimension=16)
    texts = [f"shoe {number}" for number in range(20)]
    cosines = student.embed_items(["red shoe 7"], ["A > B"]) @ student.embed_keyphrases(texts).T
    nearest = [texts[place] for place in (-cosines[0]).argsort()[:3]]
    assert [row["keyphrase"] for row in rows if row["item_id"] == "7"] == nearest


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--shape", "five"), "'five' is not one of 'six', 'three', 'static'"),
        (("--shape", "three", "--layers", 2), "layers is 2; expected 3, or none given, with shape three"),
    ],
)
def test_shapes_that_cannot_be(
    keydistill: Command, options: list[object], given: tuple[str, str] | tuple[str, str, str, int], message: str
) -> None:
    result = keydistill("train", "student", *options, *given)
    assert result.status != 0
    assert message in result.err


def test_a_retrain_is_ordered_with_a_shape() -> None:
    from keydistill.execution.retrain_order import RetrainOrder

    order = {"signals": Path("signals"), "shape": "static", "clicks_share": 0.1, "int8": False, "hard_negatives": 3}
    recipe = RetrainOrder.of(order).recipe()
    assert recipe.student.hard_negatives == 3
    assert recipe.student.clicks_share == 0.1
    assert not recipe.student.int8
    assert (recipe.student.shape, recipe.student.kept_layers) == ("static", None)


def test_scores_of_an_assistant_at_chance_level_are_refused(
    keydistill: Command, options: list[object], tmp_path: Path
) -> None:
    trust = "auc,auc_low,auc_high,approved_right,rejected_right,held_out_pairs"
    scores = tmp_path / "scores.csv"
    header, *rows = scores.read_text(encoding="utf-8").splitlines()

    def plan(*more: object, auc_low: float = 0.9, approved_right: float = 0.9) -> object:
        metrics = f"0.95,{auc_low},0.99,{approved_right},0.9,480"
        scores.write_text("\n".join([f"{header},{trust}", *(f"{row},{metrics}" for row in rows)]) + "\n")
        result = keydistill("train", "student", *options, "--dry-run", "--json", *more)
        return json.loads(result.out)["pairs"] if result.status == 0 else result.err

    assert plan() == {"assistant": 160, "approved": 16}
    # What the assistant can be trusted with comes with its scores.
    assert plan(approved_right=0.5) == {"assistant": 160}
    assert "error: the assistant is no better than chance: held-out AUC 0.950 (0.480 to 0.990, 480 pairs)" in str(
        plan(auc_low=0.48)
    )
    assert plan("--trust-assistant", "a trial", auc_low=0.48) == {"assistant": 160}


def test_lists_of_items_with_nothing_to_teach_are_refused(keydistill: Command, tmp_path: Path) -> None:
    items, scores = tmp_path / "items.csv", tmp_path / "scores.csv"
    titles = [f"{number},lamp {number}" for number in range(40)]
    items.write_text("\n".join(["item_id,title", *titles]) + "\n", encoding="utf-8")

    def plan(*more: object, low: float = 0.55, gain: str = ",,,") -> object:
        header = "item_id,keyphrase,score,auc,auc_low,auc_high,auc_within,auc_within_low,auc_within_high,held_out_lists"
        beside = "auc_within_student,auc_within_gain,auc_within_gain_low,auc_within_gain_high"
        header = f"{header},{beside}"
        rows = [
            f"{number},lamp {number % 4},0.{number + 10},0.8,0.7,0.9,0.6,{low},0.7,12,{gain}" for number in range(40)
        ]
        scores.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        result = keydistill("train", "student", "--items", items, "--scores", scores, "--dry-run", "--json", *more)
        return json.loads(result.out)["pairs"] if result.status == 0 else result.err

    assert "assistant" in plan()  # type: ignore[operator]
    nothing = "error: the scores have nothing to teach of the order of a keyphrase's items: AUC within held-out"
    assert f"{nothing} keyphrases 0.600 (0.480 to 0.700, 12 keyphrases), which may be chance" in str(plan(low=0.48))
    assert "assistant" in plan(gain="0.52,0.08,0.02,0.14")  # type: ignore[operator]
    no_better = str(plan(gain="0.61,-0.01,-0.05,0.03"))
    assert no_better.startswith(nothing)
    assert "less the untrained student's 0.610 it is -0.010 (-0.050 to +0.030)" in no_better
    assert "assistant" in plan("--trust-assistant", "a trial", low=0.48)  # type: ignore[operator]


def test_each_of_several_seeds_is_a_version_of_its_own(keydistill: Command, options: list[object]) -> None:
    result = keydistill("train", "student", *options, "--seeds", 2, "--json")
    assert result.status == 0, result.err
    mean = json.loads(result.out)
    assert mean["averaged_seeds"] == 2
    versions = json.loads(keydistill("models", "list", "--json").out)
    assert len(versions) == 3
    names = {version["version"] for version in versions}
    shown = json.loads(keydistill("models", "show", mean["version"], "--json").out)
    assert set(shown["metrics"]["seeds"]) == {"0", "1"}
    assert {*shown["metrics"]["seeds"].values(), mean["version"]} == names
