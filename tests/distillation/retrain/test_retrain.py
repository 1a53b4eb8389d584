"""A whole retrain with tiny models on a tiny marketplace."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.evaluation import MIN_JUDGED_PAIRS
from keydistill.distillation.pairs import MiningRecipe, mine
from keydistill.distillation.pairs.mining import STRATA
from keydistill.distillation.registry import Registry
from keydistill.distillation.retrain import Retrain, RetrainInputs, RetrainRecipe, RetrainResult, steps
from keydistill.distillation.retrain.division import held_out_names
from keydistill.distillation.signals import load_clicks, load_items, load_search_relevance
from keydistill.distillation.student import StudentData, student_data
from keydistill.encoders import Assistant, Student
from keydistill.simulation import MarketplaceSettings, SimulatedJudge, simulate
from keydistill.tables import RejectLog, normalize_keyphrase
from tests.support.present import present

HELD_OUT = 0.05


class Silence:
    def start(self, step: str, total: int | None, unit: str) -> None:
        pass

    def advance(self, count: int) -> None:
        pass


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "market"
    simulate(folder, MarketplaceSettings(items=40, keyphrases=300, seed=3))
    return folder


@pytest.fixture(scope="module")
def inputs(market: Path) -> RetrainInputs:
    with RejectLog() as rejects:
        items = load_items([market / "items.parquet"], rejects)
        clicks = load_clicks([market / "clicks.parquet"], rejects)
        search = load_search_relevance([market / "search_relevance.parquet"], rejects)
    table = pq.read_table(market / "inventory.parquet")
    inventory = pa.table(
        {
            "keyphrase": [normalize_keyphrase(text) for text in table["keyphrase"].to_pylist()],
            "category_ids": table["category_path"],
            "site": table["site"],
        }
    )
    return RetrainInputs(items, inventory, clicks, search, files={"items": [market / "items.parquet"]})


def held_out_of(inputs: RetrainInputs) -> tuple[set[str], set[str]]:
    """The items and the keyphrases that are held out."""
    present_tables = [inputs.inventory, present(inputs.clicks), present(inputs.search_relevance)]
    keyphrases = held_out_names([table["keyphrase"] for table in present_tables], HELD_OUT)
    return set(held_out_names([inputs.items["item_id"]], HELD_OUT).to_pylist()), set(keyphrases.to_pylist())


def check_nothing_is_held_out(tables: Mapping[str, pa.Table], inputs: RetrainInputs) -> None:
    items, keyphrases = held_out_of(inputs)
    assert items
    assert keyphrases
    assert {"items", "clicks", "search_relevance", "assistant", "near_misses"} <= set(tables)
    for name, table in tables.items():
        assert len(table), name
        assert not items & set(table["item_id"].to_pylist()), name
        if "keyphrase" in table.column_names:
            assert not keyphrases & set(table["keyphrase"].to_pylist()), name


@pytest.fixture
def recipe(tiny_folder: Path) -> RetrainRecipe:
    base = RetrainRecipe(
        # A tenth as many again for the lists of held-out items, which are two.
        judged_pairs=300,
        held_out=HELD_OUT,
        trust_assistant="it is a test",
        mining=MiningRecipe(student_top=6, near_miss=4, random=2),
    )
    return replace(
        base,
        assistant=replace(base.assistant, base=str(tiny_folder), layers=1, epochs=1, held_out=0.3, precision="fp32"),
        student=replace(
            base.student, base=str(tiny_folder), dimensions=(32,), epochs=1.5, batch_size=8, precision="fp32"
        ),
    )


def test_mined_pairs_come_once_and_from_every_stratum(inputs: RetrainInputs, tiny_student: Student) -> None:
    mined = mine(tiny_student, inputs.items, inputs.inventory, MiningRecipe(items=20, student_top=5, near_miss=3))
    pairs = list(zip(mined.pairs["item_id"].to_pylist(), mined.pairs["keyphrase"].to_pylist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert len({item for item, _ in pairs}) == 20
    assert mined.strata["student_top"] == 100
    assert mined.strata["random"] > 0
    # Lists only where they are asked for.
    assert set(mined.strata) == set(STRATA) - {"listed"}


def test_a_near_miss_keeps_its_distance_from_the_positives_of_its_item(
    inputs: RetrainInputs, tiny_student: Student
) -> None:
    keyphrases, titles = inputs.inventory["keyphrase"].to_pylist(), inputs.items["title"].to_pylist()
    vectors = tiny_student.embed_items(titles, inputs.items["category_path"].to_pylist())
    cosines = vectors @ tiny_student.embed_keyphrases(keyphrases).T
    # Of the first item the median keyphrase is right; nothing is known of the others.
    place = int(np.argsort(cosines[0])[len(keyphrases) // 2])
    judged_yes = pa.table({"item_id": inputs.items["item_id"].slice(0, 1), "keyphrase": [keyphrases[place]]})
    inventory = pa.table({"keyphrase": keyphrases})
    recipe = MiningRecipe(student_top=0, near_miss=8, clicked=0, random=0, depth=len(keyphrases))

    def near_misses(margin: float | None) -> dict[str, list[str]]:
        mined = mine(tiny_student, inputs.items, inventory, replace(recipe, margin=margin), judged_yes=judged_yes).pairs
        names, texts = mined["title"].to_pylist(), mined["keyphrase"].to_pylist()
        return {title: [text for name, text in zip(names, texts, strict=True) if name == title] for title in titles}

    free, kept = near_misses(None), near_misses(0.95)
    of_first = [float(cosines[0, keyphrases.index(text)]) for text in kept[titles[0]]]
    assert len(of_first) == 8
    assert max(of_first) <= 0.95 * cosines[0, place] + 1e-5
    assert max(float(cosines[0, keyphrases.index(text)]) for text in free[titles[0]]) > 0.95 * cosines[0, place]
    assert {title: kept[title] for title in titles[1:]} == {title: free[title] for title in titles[1:]}


def test_a_list_holds_the_nearest_items_of_a_recommended_keyphrase(
    inputs: RetrainInputs, tiny_student: Student
) -> None:
    recipe = MiningRecipe(student_top=5, near_miss=0, random=0, lists=7, listed=3)
    mined = mine(tiny_student, inputs.items, pa.table({"keyphrase": inputs.inventory["keyphrase"]}), recipe).pairs
    lists = mined.filter(pc.equal(mined["stratum"], "listed"))
    # Pairs that are among an item's own nearest, too, count there.
    assert 0 < len(lists) <= 21
    titles = inputs.items["title"].to_pylist()
    vectors = tiny_student.embed_items(titles, inputs.items["category_path"].to_pylist())
    for keyphrase, title in zip(lists["keyphrase"].to_pylist(), lists["title"].to_pylist(), strict=True):
        cosines = vectors @ tiny_student.embed_keyphrases([keyphrase])[0]
        assert cosines[titles.index(title)] >= np.sort(cosines)[-3] - 1e-5


def test_a_list_has_only_items_of_the_sites_of_its_keyphrase(inputs: RetrainInputs, tiny_student: Student) -> None:
    items = inputs.items.set_column(
        inputs.items.column_names.index("site"), "site", pa.array(["US", "DE"] * 20, pa.string())
    )
    inventory = inputs.inventory.set_column(
        inputs.inventory.column_names.index("site"), "site", pa.array(["US"] * len(inputs.inventory), pa.string())
    )
    recipe = MiningRecipe(student_top=5, near_miss=0, random=0, lists=20, listed=6)
    mined = mine(tiny_student, items, inventory, recipe).pairs
    assert set(mined["site"].to_pylist()) == {"US"}


def test_only_a_known_verdict_of_the_search_disagrees_with_the_assistant(
    inputs: RetrainInputs, tiny_student: Student, tiny_assistant_folder: Path
) -> None:
    items = inputs.items.slice(0, 1)
    keyphrases = inputs.inventory["keyphrase"].to_pylist()[:40]
    item_id, title, category = (items[name][0].as_py() for name in ("item_id", "title", "category_path"))
    assistant = Assistant.load(str(tiny_assistant_folder), device="cpu")
    scores = assistant.score([title] * 40, keyphrases, [category] * 40)
    # Always the opposite of what the assistant says; of every other pair the search tells a score and no verdict.
    passed = [None if number % 2 else bool(score < 0.5) for number, score in enumerate(scores)]
    search = pa.table(
        {"item_id": [item_id] * 40, "keyphrase": keyphrases, "site": [None] * 40, "score": [0.5] * 40, "passed": passed}
    )
    recipe = MiningRecipe(student_top=0, near_miss=0, clicked=0, disagreement=40, random=0)
    mined = mine(tiny_student, items, inputs.inventory, recipe, search_relevance=search, assistant=assistant).pairs
    assert set(mined["stratum"].to_pylist()) == {"disagreement"}
    assert sorted(mined["keyphrase"].to_pylist()) == sorted(keyphrases[::2])


def test_a_retrain_registers_both_models_and_is_not_done_twice(
    market: Path,
    inputs: RetrainInputs,
    recipe: RetrainRecipe,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry(tmp_path / "models")

    def retrain(recipe_of_run: RetrainRecipe) -> Retrain:
        return Retrain(
            tmp_path / "run",
            inputs,
            SimulatedJudge.of(market),
            registry,
            student=str(tiny_folder),
            recipe=recipe_of_run,
        )

    # So few clicks would have no student of their own.
    monkeypatch.setattr(sys.modules["keydistill.distillation.student.training"], "_LEAST_STEPS", 4)
    learned: dict[str, Any] = {}

    def watched(items: pa.Table, **tables: Any) -> StudentData:
        learned.update({"items": items, **tables})
        return student_data(items, **tables)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "student_data", watched)
        first = present(retrain(recipe).run(Silence()))
    for name in ("mine/pairs", "mine/to_judge", "judge/judgments", "score/scores"):
        learned[name] = pq.read_table(tmp_path / "run" / f"{name}.parquet")
    check_nothing_is_held_out({name: table for name, table in learned.items() if isinstance(table, pa.Table)}, inputs)
    assert set(json.loads((first.report / "evaluation.json").read_text())["item_ids"]) <= held_out_of(inputs)[0]
    evaluated = first.stages[-1].result
    assert evaluated["held_out"] == {"items": 2, "keyphrases": 16}
    labelled = first.stages[-2].result["labelled"]
    assert labelled >= 10
    assert evaluated["judged_by"] == ("the judge simulated" if labelled >= MIN_JUDGED_PAIRS else "the assistant")
    # Of two items, fewer than decide.
    assert (evaluated["comparison"]["measure"], evaluated["comparison"]["clearly_worse"]) == ("relevant@10", False)
    assert [stage.skipped for stage in first.stages] == [False] * 7
    assert (first.report / "index.html").is_file()
    assert Student.load(str(first.student.folder), device="cpu").item_text.template == "{leaf}: {title}"
    assert registry.get(first.assistant.full_name).metrics["held_out_pairs"] > 0
    assert registry.get(first.student.full_name).metrics["clicks_share"] == 0.3

    assert all(retrain(recipe).plan().values())
    again = present(retrain(recipe).run(Silence()))
    assert [stage.skipped for stage in again.stages] == [True] * 7
    assert again.student.name == first.student.name

    # Killed when the student was there, and nobody had written down that its stage is done.
    (tmp_path / "run" / "student" / "stage.json").unlink()
    redone = present(retrain(recipe).run(Silence()))
    assert [stage.name for stage in redone.stages if not stage.skipped] == ["student"]
    assert redone.student.name == first.student.name

    # Another student, from the same pairs and scores.
    other = retrain(replace(recipe, student=replace(recipe.student, distillation_loss="kl")))
    assert list(other.plan().values()) == [True] * 4 + [False] * 3


def test_a_retrain_stops_before_the_stages_of_others(
    market: Path, inputs: RetrainInputs, recipe: RetrainRecipe, tiny_folder: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "models")
    # One training shows it.
    recipe = replace(recipe, student=replace(recipe.student, clicks_share=0))
    stages: list[tuple[str, bool]] = []
    guarded: list[int] = []

    def run(*only: str, guard: Callable[[], None] = lambda: guarded.append(1)) -> RetrainResult | None:
        stages.clear()
        guarded.clear()
        return Retrain(
            tmp_path / "run", inputs, SimulatedJudge.of(market), registry, student=str(tiny_folder), recipe=recipe
        ).run(Silence(), only=only, guard=guard, on_stage=lambda stage: stages.append((stage.name, stage.skipped)))

    judge = ("judge", "judge_lists")
    assert run(*judge) is None
    assert (stages, guarded) == ([], [])
    train = ("mine", "assistant", "score", "student", "evaluate")
    assert run(*train) is None
    assert (stages, guarded) == ([("mine", False)], [1])
    assert run(*judge) is None
    assert stages == [("mine", True), ("judge", False)]

    def refuse() -> None:
        raise RuntimeError("not yours any more")

    with pytest.raises(RuntimeError):
        run(*train, guard=refuse)
    assert stages == []
    assert run(*train) is None
    assert [name for name, skipped in stages if not skipped] == ["assistant", "score", "student"]
    assert run(*judge) is None
    assert [name for name, skipped in stages if not skipped] == ["judge_lists"]
    assert run(*train) is not None
    assert [name for name, skipped in stages if not skipped] == ["evaluate"]
    # Before each stage, and before the versions are registered.
    assert len(guarded) == 8
    with pytest.raises(RuntimeError):
        run(guard=refuse)


def test_the_simulated_judge_errs_at_its_rates(market: Path, inputs: RetrainInputs) -> None:
    from keydistill.encoders.judge import Pair

    judge = SimulatedJudge.of(market)
    truth = pq.read_table(market / "truth.parquet").to_pylist()
    judged_pairs = [Pair(row["item_id"], normalize_keyphrase(row["keyphrase"]), "", None) for row in truth]
    labels = [judgment.label for _, judgment in judge.judge_many(judged_pairs)]
    assert 0.8 < sum(map(bool, labels)) / len(labels) < 0.97
    assert labels == [judgment.label for _, judgment in judge.judge_many(judged_pairs)]
