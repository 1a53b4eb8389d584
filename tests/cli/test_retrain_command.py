import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from keydistill.distillation.pairs import labels_of
from keydistill.distillation.registry import Registry
from keydistill.distillation.retrain import STAGES, steps
from keydistill.distillation.retrain.steps import RetrainSteps
from keydistill.distillation.student import StudentData, StudentRecipe
from keydistill.distillation.student.weights import task_weights
from keydistill.errors import TrainingError
from keydistill.execution import Retrainer, RetrainOrder, new_retrain
from keydistill.progress import NO_PROGRESS
from keydistill.runs import RetrainRun
from keydistill.settings import load_settings
from keydistill.simulation import SimulatedJudge
from tests.cli.conftest import Command
from tests.support.retrains import small_market, small_models, without_judgments


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_market(tmp_path_factory.mktemp("market") / "market")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    small_models(monkeypatch, tiny_folder)


def stop(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The judge ends the next retrain."""

    def raise_it(*_: object) -> None:
        raise error

    monkeypatch.setattr(SimulatedJudge, "judge_many", raise_it)


def test_a_retrain_from_signals_to_a_promoted_student(keydistill: Command, market: Path) -> None:
    dry = keydistill("retrain", market, "--simulation", market, "--dry-run")
    assert dry.status == 0, dry.err
    assert dry.out.count("to do") == 7
    assert "there is nothing at" in keydistill("runs", "list").err

    done = keydistill("retrain", market, "--simulation", market, "--promote")
    assert done.status == 0, done.err
    (run,) = json.loads(keydistill("runs", "list", "--json").out)
    assert done.err == f"retrain {run['id']}\n"
    assert run["stages_done"] == list(STAGES)
    assert f"run        {run['id']}: done" in done.out
    assert f"student    {run['student']}" in done.out
    assert "Promoted both" in done.out
    shown = keydistill("runs", "show", run["id"])
    assert (shown.status, shown.err) == (0, "")
    assert keydistill("status").status == 0


def test_a_refused_promotion_is_told_and_the_exit_status_says_so(
    keydistill: Command, market: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Retrainer, order: RetrainOrder) -> RetrainRun:
        run = new_retrain(load_settings(), order)
        return run.changed(state="done", student="student/1", assistant="assistant/1", error="worse")

    monkeypatch.setattr(Retrainer, "start", refused)
    done = keydistill("retrain", market, "--simulation", market, "--promote")
    assert done.status == 1
    assert "error      worse\n" in done.out
    assert "Promoted both" not in done.out
    assert keydistill("retrain", market, "--simulation", market, "--promote", "--json").status == 1


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), MemoryError("too much")])
def test_one_that_was_stopped_goes_on_as_it_was_ordered(
    keydistill: Command, market: Path, monkeypatch: pytest.MonkeyPatch, stopped: KeyboardInterrupt | MemoryError
) -> None:
    with monkeypatch.context() as patched:
        stop(patched, stopped)
        if isinstance(stopped, KeyboardInterrupt):
            result = keydistill("retrain", market, "--simulation", market, "--seed", 7)
            assert result.status == 130
        else:
            with pytest.raises(MemoryError):
                keydistill("retrain", market, "--simulation", market, "--seed", 7)
    (run,) = json.loads(keydistill("runs", "list", "--json").out)
    if isinstance(stopped, KeyboardInterrupt):
        assert f"interrupted; go on with: keydistill retrain --resume {run['id']}\n" in result.err
    plan = json.loads(keydistill("retrain", "--resume", run["id"], "--dry-run", "--json").out)
    assert [name for name, done in plan["done"].items() if done] == ["mine"]
    assert plan["order"]["seed"] == 7

    resumed = json.loads(keydistill("retrain", "--resume", run["id"], "--json").out)
    assert (resumed["id"], resumed["state"], resumed["order"]["seed"]) == (run["id"], "done", 7)
    again = keydistill("retrain", "--resume", run["id"])
    assert (again.status, again.err) == (1, f"error: run {run['id']} is done: there is nothing to resume\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give SIGNALS to start a retrain, or --resume RUN alone"),
        (("{market}", "--resume", "RUN"), "give SIGNALS to start a retrain, or --resume RUN alone"),
        (("--resume", "RUN", "--epochs", "2"), "give SIGNALS to start a retrain, or --resume RUN alone"),
        (("--resume", "RUN", "--seed", "0"), "give SIGNALS to start a retrain, or --resume RUN alone"),
        (("--resume", "RUN", "--promote"), "give SIGNALS to start a retrain, or --resume RUN alone"),
        (("--epochs", "2"), "give SIGNALS to start a retrain, or --resume RUN alone"),
        (("--resume", "RUN"), "run 'RUN': there is none"),
        (("{unjudged}",), "there is no judge"),
        (("{market}", "--simulation", "{market}", "--labels", "{market}"), "give --labels or --simulation, not both"),
        (("{market}", "--simulation", "{market}", "--executor", "celery"), "redis_url is not set"),
    ],
)
def test_what_is_refused(
    keydistill: Command, market: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    unjudged = without_judgments(market, tmp_path / "unjudged")
    result = keydistill("retrain", *(argument.format(market=market, unjudged=unjudged) for argument in arguments))
    assert result.status in (1, 2)
    assert result.err.startswith("error: ")
    assert said in result.err
    assert result.err.count("\n") == 1
    assert "there is nothing at" in keydistill("runs", "list").err


def test_a_reindex_is_not_resumed_as_a_retrain(keydistill: Command, live: Command) -> None:
    (run,) = json.loads(keydistill("runs", "list", "--json").out)
    result = keydistill("retrain", "--resume", run["id"])
    assert f"run {run['id']} is a reindex; go on with it by `keydistill reindex --resume {run['id']}`" in result.err


def learned_by_a_student(
    retrain: Path, signals: Path, monkeypatch: pytest.MonkeyPatch, trust: str | None = None
) -> StudentData:
    """What the stage `student` of a retrain would train on."""
    seen: list[StudentData] = []

    def look(data: StudentData, *_: Any, **__: Any) -> None:
        seen.append(data)
        raise TrainingError("seen")

    monkeypatch.setattr(steps, "train_student", look)
    given = RetrainOrder.of({"signals": signals})
    inputs = given.inputs(load_settings(), print)
    judge = labels_of(inputs.judgments, inputs.files["judgments"])
    stage = RetrainSteps(
        retrain, inputs, replace(given.recipe(), trust_assistant=trust), judge, "", None, retrain / "cache", 1
    )
    with pytest.raises(TrainingError, match="seen"):
        stage.train_student(retrain / "again", NO_PROGRESS)
    return seen[0]


def test_judged_queries_are_imported_and_learned_without_clicks(
    keydistill: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    colours, things = ("red", "blue", "green", "black", "white"), ("shoe", "lamp", "desk", "cable", "sock")
    pairs = [
        {
            "query": f"{colour} {thing}",
            "item_id": f"{colour}-{thing}-{number}",
            "title": f"{colour if number < 2 else 'old'} {thing} {number}",
            "category_path": "Things",
            "label": "ESI"[min(number, 2)],
        }
        for colour in colours
        for thing in things
        for number in range(4)
    ]
    source, signals = tmp_path / "pairs.parquet", tmp_path / "signals"
    pq.write_table(pa.Table.from_pylist(pairs), source)
    assert keydistill("signals", "import", "esci", source, "--out", signals).status == 0
    done = keydistill("retrain", signals, "--seeds", "2", "--seed", "3", "--no-int8", "--clicks-share", "0", "--json")
    assert done.status == 0, done.err
    assert done.err.count("no judge is named: the judgments that are there are the judge") == 1
    run = json.loads(done.out)
    results = run["results"]
    assert results["mine"]["strata"]["listed"] > 0
    assert 0 < results["mine"]["to_score"] < results["mine"]["pairs"]
    learned = results["student"]["pairs"]
    # The small assistant is trusted, whatever it knows.
    assert set(learned) == {"judged_yes", "assistant"}
    assert 0 < learned["judged_yes"] < len(pairs)
    folder = load_settings().home / "retrains" / run["id"]
    metrics_file = folder / "assistant" / "model" / "metrics.json"
    metrics = json.loads(metrics_file.read_text())
    assert metrics["warm_up_pairs"] > 0
    # Few keyphrases: each is held out once.
    assert (metrics["folds"], metrics["held_out_pairs"]) == (3, metrics["training_pairs"])
    assert "assistant_not_learned" not in results["student"]

    # Of one that may order them by chance nothing is learned, unless somebody says why.
    assert metrics["auc_within_gain"] == pytest.approx(metrics["auc_within"] - metrics["auc_within_student"])
    metrics_file.write_text(json.dumps({**metrics, "auc_within": 0.6, "auc_within_low": 0.48}))
    of_chance = learned_by_a_student(folder, signals, monkeypatch)
    assert (of_chance.assistant, of_chance.rejected) == (None, None)
    assert of_chance.judged_yes is not None
    assert "nothing is learned of the assistant's lists: AUC within held-out keyphrases 0.600 (0.480 to" in caplog.text
    beside = {"auc_within_student": 0.61, "auc_within_gain": -0.01, "auc_within_gain_high": 0.02}
    for least, is_learned in ((-0.04, False), (0.01, True)):
        order = {"auc_within": 0.6, "auc_within_low": 0.55, "auc_within_high": 0.65, **beside}
        metrics_file.write_text(json.dumps({**metrics, **order, "auc_within_gain_low": least}))
        learned_now = learned_by_a_student(folder, signals, monkeypatch)
        assert (learned_now.assistant is not None) == is_learned
    assert "less the untrained student's 0.610 it is -0.010 (-0.040 to +0.020)" in caplog.text
    metrics_file.write_text(json.dumps({**metrics, "auc_within": 0.6, "auc_within_low": 0.48}))
    trusted = learned_by_a_student(folder, signals, monkeypatch, trust="known from elsewhere")
    assert trusted.assistant is not None
    graded = RetrainOrder.of({"signals": signals, "judgments_loss": "listnet"}).recipe().student
    tasks = [set(task_weights(of_chance, recipe)) for recipe in (StudentRecipe(), graded)]
    assert tasks == [{"judged_yes"}, {"judged_yes", "judgments"}]

    # Of two trainings, each student is in the registry, and the mean of their weights.
    registry = Registry.of(load_settings())
    averaged = registry.get(run["student"])
    assert [*averaged.metrics["seeds"]] == ["3", "4"]
    members = [registry.get(name) for name in averaged.metrics["seeds"].values()]
    assert registry.versions("student") == [*members, averaged]
    first, second, mean = (load_file(each.folder / "model.safetensors") for each in (*members, averaged))
    assert any(np.abs(first[name] - second[name]).max() > 1e-4 for name in mean)
    for name, weights in mean.items():
        np.testing.assert_allclose(weights, (first[name] + second[name]) / 2, atol=1e-6)
