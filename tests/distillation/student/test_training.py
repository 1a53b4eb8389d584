"""Students of one tiny layer, trained for a few steps: what is wired to what, not how good it is."""

import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from keydistill.distillation.student import Pairs, StudentData, StudentRecipe, average_students, train_student
from keydistill.distillation.student.fit import sample_texts
from keydistill.distillation.student.metrics import ndcgs
from keydistill.distillation.student.rotation import rotate
from keydistill.distillation.student.rounding import round_student
from keydistill.distillation.training import run as training_run
from keydistill.distillation.training.run import Steps
from keydistill.encoders import Student
from keydistill.encoders.int8_grid import INT8_SCALES
from keydistill.errors import StudentError, TrainingError
from tests.support.heard_progress import HeardProgress
from tests.support.student_data import TEXTS, TITLES, made_data


def recipe_of(base: str) -> StudentRecipe:
    """Of one training, and short, whose weights stay as they were learned."""
    return StudentRecipe(
        base=base,
        dimensions=(32, 16),
        clicks_share=0,
        int8=False,
        epochs=2,
        batch_size=16,
        learning_rate=5e-3,
        precision="fp32",
    )


@pytest.fixture
def data() -> StudentData:
    return made_data()


@pytest.fixture
def recipe(tiny_folder: Path) -> StudentRecipe:
    return recipe_of(str(tiny_folder))


def ndcg_of(student: Student, data: StudentData) -> float:
    """Of the held-out pairs."""
    held = data.held_out
    cosines = (
        student.embed_items(TITLES, data.categories)[held.items] * student.embed_keyphrases(TEXTS)[held.keyphrases]
    ).sum(axis=1)
    return float(ndcgs(held.items, cosines, held.scores).mean())


def randomise(folder: Path) -> bool:
    """Weights of chance in place of a student's."""
    model = SentenceTransformer(str(folder), device="cpu")
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    model.save_pretrained(str(folder), create_model_card=False)
    return True


@pytest.mark.parametrize("loss", ["pearson", "margin_mse", "cosent", "kl"])
def test_every_loss_trains_a_student_that_can_be_loaded(data, recipe, loss, tmp_path):
    trained = train_student(data, tmp_path / "student", replace(recipe, distillation_loss=loss))
    student = Student.load(str(trained.folder), device="cpu")
    assert student.item_text.template == "{leaf}: {title}"
    assert trained.pairs == {"clicks": 10, "search_relevance": 120, "assistant": 120}
    assert 0 <= trained.held_out_ndcg <= 1
    assert {"clicks_loss", "search_relevance_loss", "assistant_loss"} <= set().union(*trained.history)


def test_training_moves_the_student_towards_the_assistant(data, recipe, tmp_path):
    before = Student.load(recipe.base, device="cpu")
    trained = train_student(
        replace(data, clicks=None, search_relevance=None, held_out=None),
        tmp_path / "student",
        replace(recipe, epochs=20),
    )
    after = Student.load(str(trained.folder), device="cpu")

    def correlation(student: Student) -> float:
        cosines = student.embed_items(TITLES, data.categories)[:10] @ student.embed_keyphrases(TEXTS).T
        return float(np.corrcoef(cosines.ravel(), np.eye(12)[:10].ravel())[0, 1])

    assert correlation(after) > correlation(before) + 0.1


def test_same_seed_gives_the_same_student(data, recipe, tmp_path):
    folders = [train_student(data, tmp_path / name, recipe).folder for name in ("a", "b")]
    assert weights(folders[0]) == weights(folders[1])


def weights(folder: Path) -> dict[str, bytes]:
    """Of all layers, the rotation's too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}


KILLED = """
import os, signal, sys
from pathlib import Path
from distillation import train_student
from distillation.training_run import Steps
from tests_of_training import made_data, recipe_of

def die(self, args, state, control, **_):
    if state.global_step == 19:
        os.kill(os.getpid(), signal.SIGKILL)

Steps.on_step_end = die
train_student(made_data(), Path(sys.argv[2]), recipe_of(sys.argv[1]))
"""


def killed(out: Path, recipe: StudentRecipe, tmp_path: Path) -> Path:
    """Kill a training, which writes a checkpoint every 8 of its 34 steps, after step 19; returns its checkpoints."""
    module = tmp_path / "tests_of_training.py"
    module.write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{KILLED}"
    done = subprocess.run([sys.executable, "-c", code, recipe.base, out], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    return out.with_name(f".{out.name}.training") / "checkpoints" / "all-tasks"


def test_a_killed_training_goes_on_to_the_same_student(data, recipe, tmp_path):
    out = tmp_path / "killed"
    checkpoints = killed(out, recipe, tmp_path)
    assert (checkpoints / "checkpoint-16").is_dir()
    # What a process leaves that is killed while it writes.
    half = checkpoints / "checkpoint-24"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")

    progress = HeardProgress()
    resumed = train_student(data, out, recipe, progress=progress)
    whole = train_student(data, tmp_path / "whole", recipe)
    assert progress.totals == [("all tasks", 34 - 16)]
    assert weights(resumed.folder) == weights(whole.folder)
    assert resumed.held_out_ndcg == whole.held_out_ndcg
    # A task that had no batch since the beginning is not logged, one that had none of late as 0: that depends on where
    # it began.
    assert [[entry["step"], entry.get("loss")] for entry in resumed.history] == [
        [entry["step"], entry.get("loss")] for entry in whole.history
    ]
    assert not (tmp_path / ".killed.training").exists()


def test_another_recipe_begins_anew(data, recipe, tmp_path):
    killed(tmp_path / "killed", recipe, tmp_path)
    progress = HeardProgress()
    train_student(data, tmp_path / "killed", replace(recipe, scale=10.0), progress=progress)
    assert progress.totals == [("all tasks", 34)]


def test_a_training_that_fails_after_its_last_step_is_not_done_again(data, recipe, tmp_path, monkeypatch):
    # One evaluation without a better score ends it, some time before the last step.
    recipe = replace(recipe, epochs=6, patience=1, evaluations=12)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        # The package exports a function of the module's name.
        patched.setattr(sys.modules["keydistill.distillation.student.training"], "replace_json", full)
        with pytest.raises(OSError, match="No space left"):
            train_student(data, tmp_path / "failed", recipe)
    progress = HeardProgress()
    again = train_student(data, tmp_path / "failed", recipe, progress=progress)
    assert progress.totals == []
    whole = train_student(data, tmp_path / "whole", recipe)
    assert whole.steps < 102
    assert weights(again.folder) == weights(whole.folder)
    assert replace(again, folder=whole.folder) == whole


@pytest.fixture
def averaged(recipe: StudentRecipe) -> StudentRecipe:
    """10 clicks in batches of 4, four times, are enough steps for a second student."""
    return replace(recipe, clicks_share=0.25, batch_size=4, epochs=4)


def test_the_weights_of_a_student_of_clicks_alone_are_averaged_in(data, averaged, tmp_path):
    single = replace(averaged, clicks_share=0)
    ends = [
        train_student(part, tmp_path / name, single) for name, part in (("all", data), ("clicks", data.clicks_alone()))
    ]
    progress = HeardProgress()
    found = train_student(data, tmp_path / "student", averaged, progress=progress)
    first = ends[0].steps
    assert progress.totals == [("all tasks", first), ("clicks alone", 12)]
    expected = average_students(*(end.folder for end in ends), 0.25, tmp_path / "average")
    assert weights(found.folder) == weights(expected)
    assert weights(found.folder) != weights(ends[0].folder)
    assert found.clicks_share == found.metrics()["clicks_share"] == 0.25
    assert found.steps == first + 12
    steps = [entry["step"] for entry in found.history]
    assert steps == sorted(steps)
    assert first < steps[-1] <= found.steps
    # What was measured is the student that was written.
    assert found.held_out_ndcg == pytest.approx(ndcg_of(Student.load(str(found.folder), device="cpu"), data))


def test_students_are_averaged_without_held_out_pairs_too(data, averaged, tmp_path):
    found = train_student(replace(data, held_out=None), tmp_path / "student", averaged)
    assert found.clicks_share == 0.25
    assert found.held_out_ndcg is None


@pytest.mark.parametrize("where", ["in the second training", "between them", "at the average"])
def test_what_was_stopped_on_the_way_to_an_average_is_not_done_again(data, averaged, where, tmp_path, monkeypatch):
    def stop(self: Steps, args: object, state: object, control: object, **_: object) -> None:
        if state.max_steps == 12 and state.global_step == (5 if where == "in the second training" else 1):
            raise KeyboardInterrupt

    def full(first: Path, other: Path, share: float, out: Path) -> None:
        shutil.copytree(first, out)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        if where == "at the average":
            # The package exports a function of the module's name.
            patched.setattr(sys.modules["keydistill.distillation.student.training"], "average_students", full)
        else:
            patched.setattr(Steps, "on_step_end", stop)
        with pytest.raises((KeyboardInterrupt, OSError)):
            train_student(data, tmp_path / "stopped", averaged)
    progress = HeardProgress()
    resumed = train_student(data, tmp_path / "stopped", averaged, progress=progress)
    left = {"in the second training": [("clicks alone", 12 - 3)], "between them": [("clicks alone", 12)]}
    assert progress.totals == left.get(where, [])
    whole = train_student(data, tmp_path / "whole", averaged)
    assert weights(resumed.folder) == weights(whole.folder)
    assert replace(resumed, folder=whole.folder, history=[]) == replace(whole, history=[])
    assert not (tmp_path / ".stopped.training").exists()


def test_an_average_that_is_clearly_worse_is_not_taken(data, averaged, tmp_path, monkeypatch):
    def random_weights(first: Path, other: Path, share: float, out: Path) -> None:
        randomise(shutil.copytree(first, out))

    held_out = replace(made_data(), held_out=None).assistant
    data = replace(data, held_out=held_out)
    alone = train_student(data, tmp_path / "alone", replace(averaged, clicks_share=0))
    monkeypatch.setattr(sys.modules["keydistill.distillation.student.training"], "average_students", random_weights)
    found = train_student(data, tmp_path / "student", averaged)
    assert found.clicks_share == 0
    assert found.held_out_ndcg == alone.held_out_ndcg
    assert weights(found.folder) == weights(alone.folder)


def test_a_second_training_that_diverges_does_not_cost_the_first(data, averaged, tmp_path, monkeypatch, caplog):
    fit = sys.modules["keydistill.distillation.student.training"].fit_student

    def diverges(given: StudentData, *rest: object, **options: object) -> object:
        if given.assistant is None:
            raise TrainingError("the training diverged")
        return fit(given, *rest, **options)

    monkeypatch.setattr(sys.modules["keydistill.distillation.student.training"], "fit_student", diverges)
    found = train_student(data, tmp_path / "student", averaged)
    assert found.clicks_share == 0
    assert "the student is not averaged with one of clicks alone: the training diverged" in caplog.text
    assert weights(found.folder) == weights(
        train_student(data, tmp_path / "alone", replace(averaged, clicks_share=0)).folder
    )


@pytest.mark.parametrize(
    ("tasks", "epochs"), [({"clicks"}, 4), ({"assistant", "search_relevance"}, 4), ({"clicks", "assistant"}, 1)]
)
def test_one_training_is_enough_without_clicks_with_few_or_with_nothing_else(data, averaged, tasks, epochs, tmp_path):
    data = replace(data, **{name: None for name in data.tasks() if name not in tasks})
    progress = HeardProgress()
    found = train_student(
        data,
        tmp_path / "student",
        replace(averaged, epochs=epochs),
        progress=progress,
    )
    assert [name for name, _ in progress.totals] == ["all tasks"]
    assert found.clicks_share == 0


@pytest.mark.parametrize("share", [0, 0.25])
def test_the_weights_are_rounded_for_int8_at_the_end(data, averaged, share, tmp_path):
    recipe = replace(averaged, clicks_share=share, int8=True)
    found = train_student(data, tmp_path / "student", recipe)
    assert found.int8
    assert found.metrics()["int8"]
    expected = train_student(data, tmp_path / "plain", replace(recipe, int8=False)).folder
    assert not (expected / INT8_SCALES).exists()
    assert round_student(expected, sample_texts(data, recipe))
    assert weights(found.folder) == weights(expected)
    assert found.held_out_ndcg == pytest.approx(ndcg_of(Student.load(str(found.folder), device="cpu"), data))


def test_rounding_that_makes_a_student_clearly_worse_is_taken_back(data, averaged, tmp_path, monkeypatch, caplog):
    data = replace(data, held_out=data.assistant)
    plain = train_student(data, tmp_path / "plain", averaged)
    monkeypatch.setattr(
        "keydistill.distillation.student.rounding.round_student", lambda folder, texts: randomise(folder)
    )
    found = train_student(data, tmp_path / "student", replace(averaged, int8=True))
    assert not found.int8
    assert found.held_out_ndcg == plain.held_out_ndcg
    assert weights(found.folder) == weights(plain.folder)
    assert "not rounded for int8: it would rank clearly worse" in caplog.text


def test_a_disk_that_is_full_while_weights_are_rounded_costs_no_training(data, averaged, tmp_path, monkeypatch):
    recipe = replace(averaged, int8=True)

    def full(folder: Path, texts: list[str]) -> None:
        randomise(folder)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("keydistill.distillation.student.rounding.round_student", full)
        with pytest.raises(OSError, match="No space left"):
            train_student(data, tmp_path / "student", recipe)
    progress = HeardProgress()
    again = train_student(data, tmp_path / "student", recipe, progress=progress)
    assert progress.totals == []
    assert weights(again.folder) == weights(train_student(data, tmp_path / "whole", recipe).folder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that has bf16 is faster in it")
def test_training_computes_in_bf16_only_where_that_is_faster(monkeypatch):
    monkeypatch.setattr(training_run, "_bf16_is_faster", lambda: False)
    assert [training_run.uses_bf16(precision) for precision in ("auto", "bf16", "fp32")] == [False, True, False]
    monkeypatch.setattr(training_run, "_bf16_is_faster", lambda: True)
    assert training_run.uses_bf16("auto") == torch.ops.mkldnn._is_mkldnn_bf16_supported()


def test_held_out_pairs_that_no_ranking_can_miss_are_no_score(data, recipe, tmp_path):
    single = Pairs(np.array([10, 11]), np.array([10, 11]), np.ones(2, np.float32))
    trained = train_student(replace(data, held_out=single), tmp_path / "student", recipe)
    assert trained.held_out_ndcg is None


def test_approved_pairs_are_no_negatives():
    data = StudentData(TITLES, [None] * 12, TEXTS, approved=Pairs(np.array([3]), np.array([4])))
    assert data.known().tolist() == [[3, 4]]


def test_word_embeddings_stay_as_they_are(data, recipe, tmp_path):
    trained = train_student(data, tmp_path / "student", recipe)
    weights = [
        SentenceTransformer(str(folder), device="cpu")[0].auto_model.get_input_embeddings().weight.detach().numpy()
        for folder in (Path(recipe.base), trained.folder)
    ]
    np.testing.assert_array_equal(*weights)


def test_rotation_changes_no_cosine_and_puts_most_into_the_first_dimensions(tiny_folder):
    texts = [f"{colour} {thing} {number}" for colour in ("red", "blue") for thing in TITLES for number in range(3)]
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    before = model.encode(texts, normalize_embeddings=True)
    rotate(model, texts)
    after = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)

    def share_of(vectors: np.ndarray, dimensions: int) -> float:
        return float(np.square(vectors[:, :dimensions]).sum() / np.square(vectors).sum())

    assert share_of(after, 4) > share_of(before, 4)
    assert share_of(after, 4) == pytest.approx((np.linalg.svd(before)[1][:4] ** 2).sum() / len(before), abs=1e-4)
    modules = len(model)
    rotate(model, texts)
    assert len(model) == modules


def test_a_student_has_the_rotation_in_its_folder(data, recipe, tmp_path):
    turned, plain = (
        SentenceTransformer(str(train_student(data, tmp_path / name, recipe).folder), device="cpu")
        for name, recipe in (("turned", recipe), ("plain", replace(recipe, rotated=False)))
    )
    assert len(turned) == len(plain) + 1
    # How it was trained must not decide how it is served.
    assert "eager" not in (tmp_path / "turned" / "config.json").read_text()


def test_hard_negatives_are_the_items_own_where_it_has_any(data):
    rejected = Pairs(np.array([3, 3, 5]), np.array([7, 8, 1]), np.zeros(3, np.float32))
    negatives = replace(data, rejected=rejected).hard_negatives(data.clicks, 6, np.random.default_rng(0))
    assert negatives.shape == (10, 6)
    assert set(negatives[3]) == {7, 8}
    assert set(negatives[5]) == {1}
    assert set(negatives[0]) <= {7, 8, 1}
    assert data.hard_negatives(data.clicks, 6, np.random.default_rng(0)).shape == (10, 0)


def test_hard_negatives_push_their_keyphrases_away(data, recipe, tmp_path):
    own = np.arange(10)
    data = StudentData(TITLES, data.categories, TEXTS, clicks=data.clicks)
    wrong = replace(data, rejected=Pairs(own, own + 1, np.zeros(10, np.float32)))

    def margin(name: str, data: StudentData) -> float:
        """Own keyphrase against the next one, which is never in the same batch by itself."""
        trained = train_student(data, tmp_path / name, replace(recipe, batch_size=2, epochs=3, hard_negatives=1))
        student = Student.load(str(trained.folder), device="cpu")
        cosines = student.embed_items(TITLES, data.categories) @ student.embed_keyphrases(TEXTS).T
        return float((cosines[own, own] - cosines[own, own + 1]).mean())

    assert margin("hard", wrong) > margin("easy", data)


def test_a_training_that_diverges_says_so(data, recipe, tmp_path):
    with pytest.raises(TrainingError, match="the training diverged: weights are not finite; choose a lower"):
        train_student(replace(data, held_out=None), tmp_path / "student", replace(recipe, learning_rate=1e38))
    assert not (tmp_path / "student").exists()


def test_an_existing_folder_is_not_overwritten(data, recipe, tmp_path):
    (tmp_path / "student").mkdir()
    with pytest.raises(TrainingError, match="exists already"):
        train_student(data, tmp_path / "student", recipe)


def test_nothing_to_learn_from_is_an_error(data, recipe, tmp_path):
    with pytest.raises(TrainingError, match="no pairs"):
        train_student(StudentData(TITLES, data.categories, TEXTS), tmp_path / "student", recipe)
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"evaluations": 0}, "evaluations is 0; expected a number from 1 up"),
        ({"patience": 0}, "patience is 0; expected a number from 1 up"),
        ({"epochs": 0}, "epochs is 0; expected a number above 0"),
        ({"clicks_share": 1}, "clicks_share is 1; expected a number from 0 up, below 1"),
        ({"epochs": math.nan}, "epochs is nan; expected a number above 0"),
        ({"epochs": math.inf}, "epochs is inf; expected a number above 0"),
        ({"batch_size": 0}, "batch_size is 0; expected a number from 1 up"),
        ({"learning_rate": -1e-4}, "learning_rate is -0.0001; expected a number above 0"),
        ({"scale": 0}, "scale is 0; expected a number above 0"),
        ({"hard_negatives": -1}, "hard_negatives is -1; expected a number from 0 up"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a number from 0 up, below 1"),
        ({"layers": 0}, "layers is 0; expected a number from 1 up, or None for all"),
        ({"dimensions": (128, 0)}, r"dimensions is \(128, 0\); expected numbers from 1 up"),
        ({"distillation_loss": "mse"}, "distillation_loss is mse; expected pearson or margin_mse or cosent or kl"),
        ({"weights": {"clicks": -1.0}}, "weights is {'clicks': -1.0}; expected numbers from 0 up for clicks, search_"),
        ({"weights": {"views": 1.0}}, "weights is {'views': 1.0}; expected"),
        ({"precision": "fp16"}, "precision is fp16; expected auto, fp32 or bf16"),
    ],
)
def test_choices_that_cannot_be_are_refused(choice, expected):
    with pytest.raises(TrainingError, match=expected):
        StudentRecipe(**choice)


def test_a_template_without_the_title_is_refused():
    with pytest.raises(StudentError, match=r"expected \{title\}"):
        StudentRecipe(item_text="{leaf}")


def test_too_many_layers_are_refused(data, recipe, tmp_path):
    with pytest.raises(TrainingError, match="cannot keep 7 layers"):
        train_student(data, tmp_path / "student", replace(recipe, layers=7))
