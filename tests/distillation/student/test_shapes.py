"""Smaller students: fewer layers, or a table for keyphrases; trained for a few steps with tiny models."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from keydistill.distillation.student import Pairs, StudentData, StudentRecipe, average_students, train_student
from keydistill.distillation.student.base import cut_layers
from keydistill.distillation.student.rotation import rotate
from keydistill.distillation.student.token_table import token_table, token_weights
from keydistill.distillation.student.towers import embedded, plain_tokenizer, table_of, transformer_of, with_table
from keydistill.distillation.training.run import Steps
from keydistill.encoders import ITEM_ROUTE, KEYPHRASE_ROUTE, Student
from keydistill.errors import TrainingError
from tests.support.heard_progress import HeardProgress
from tests.support.present import present
from tests.support.student_data import TEXTS, TITLES, little_data, made_data, weights


@pytest.fixture
def data() -> StudentData:
    own = np.arange(10)
    return replace(made_data(), rejected=Pairs(own, own + 1, np.zeros(10, np.float32)))


@pytest.fixture
def recipe(static_folder: Path) -> StudentRecipe:
    """Of a static student that goes on from one: a table of the base's own costs a second."""
    return StudentRecipe(
        base=str(static_folder),
        shape="static",
        dimensions=(32, 16),
        epochs=2,
        batch_size=16,
        learning_rate=5e-3,
        table_learning_rate=5e-2,
        clicks_share=0,
        precision="fp32",
    )


def test_a_static_student_learns_from_the_assistant(
    data: StudentData, recipe: StudentRecipe, tiny_folder: Path, tmp_path: Path
) -> None:
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    with_table(model, token_table(model, TEXTS)).save_pretrained(str(tmp_path / "before"), create_model_card=False)
    data = replace(data, clicks=None, search_relevance=None, held_out=None)
    recipe = replace(recipe, base=str(tiny_folder), learning_rate=1e-3, table_learning_rate=3e-3, epochs=16)
    train_student(data, tmp_path / "after", recipe)
    before, after = (Student.load(str(tmp_path / name), device="cpu") for name in ("before", "after"))
    assert after.is_asymmetric
    assert after.item_text.template == "{leaf}: {title}"

    def correlation(student: Student) -> float:
        cosines = student.embed_items(TITLES, data.categories)[:10] @ student.embed_keyphrases(TEXTS).T
        return float(np.corrcoef(cosines.ravel(), np.eye(12)[:10].ravel())[0, 1])

    assert correlation(after) > correlation(before) + 0.1
    saved = SentenceTransformer(after.source, device="cpu")
    np.testing.assert_allclose(after.embed_keyphrases(TEXTS), saved.encode(TEXTS, task=KEYPHRASE_ROUTE), atol=1e-5)
    np.testing.assert_allclose(after.embed_items(TITLES), saved.encode(TITLES, task=ITEM_ROUTE), atol=1e-5)


def test_a_static_training_that_was_stopped_goes_on_to_the_same_student(
    data: StudentData, recipe: StudentRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Steps, args: object, state: object, control: object, **_: object) -> None:
        if state.global_step == 19:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Steps, "on_step_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train_student(data, tmp_path / "stopped", recipe)
    progress = HeardProgress()
    resumed = train_student(data, tmp_path / "stopped", recipe, progress=progress)
    assert resumed.held_out_ndcg is not None
    assert resumed.pairs == {"clicks": 10, "search_relevance": 120, "assistant": 120}
    uninterrupted = train_student(data, tmp_path / "whole", recipe)
    assert progress.totals == [("all tasks", 34 - 16)]
    assert weights(resumed.folder) == weights(uninterrupted.folder)
    table = "query_0_StaticEmbedding/model.safetensors"
    assert weights(uninterrupted.folder)[table] != weights(Path(recipe.base))[table]


def test_both_sides_of_a_static_student_are_averaged(recipe: StudentRecipe, tmp_path: Path) -> None:
    data, recipe = little_data(), replace(recipe, batch_size=4, epochs=4)
    first, clicks_alone = (
        train_student(part, tmp_path / name, recipe).folder
        for name, part in (("all", data), ("clicks", data.clicks_alone()))
    )
    student = train_student(data, tmp_path / "student", replace(recipe, clicks_share=0.3))
    assert student.clicks_share == 0.3
    assert weights(student.folder) == weights(average_students(first, clicks_alone, 0.3, tmp_path / "average"))
    assert weights(student.folder).keys() >= {"query_0_StaticEmbedding/model.safetensors"}


def test_a_table_starts_with_what_the_model_says_of_each_token(tiny_folder: Path) -> None:
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    tokenizer = plain_tokenizer(model)
    table = token_table(model, ["shoe", "red shoe"]).numpy()
    shoe, red, blue = (present(tokenizer.token_to_id(token)) for token in ("shoe", "red", "blue"))
    rows = table[[shoe, red, blue]]
    np.testing.assert_allclose(
        np.linalg.norm(rows, axis=1), token_weights(["shoe", "red shoe"], tokenizer)[[shoe, red, blue]], atol=1e-6
    )
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(rows / norms, model.encode(["shoe", "red", "blue"]), atol=1e-5)
    assert norms[0] < norms[1] < norms[2] == pytest.approx(1)
    # A later piece of a word counts less than a word that is as rare.
    assert np.linalg.norm(table[tokenizer.token_to_id("##ing")]) == pytest.approx(0.6)


def test_a_rotation_turns_both_sides_alike(static_folder: Path) -> None:
    model = SentenceTransformer(str(static_folder), device="cpu")

    def cosines() -> np.ndarray:
        return embedded(model, TITLES, ITEM_ROUTE) @ embedded(model, TEXTS, KEYPHRASE_ROUTE).T

    before, table = cosines(), present(table_of(model)).weight.detach().clone()
    rotate(model, TITLES, TEXTS)
    np.testing.assert_allclose(cosines(), before, atol=1e-5)
    assert not np.allclose(present(table_of(model)).weight.detach(), table)
    # It has been turned: not again.
    turned = present(table_of(model)).weight.detach().clone()
    rotate(model, TITLES, TEXTS)
    np.testing.assert_array_equal(present(table_of(model)).weight.detach(), turned)


@pytest.mark.parametrize(("layers", "kept_layers"), [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (6, [0, 1, 2, 3, 4, 5])])
def test_layers_are_kept_from_the_first_to_the_last(tiny_folder: Path, layers: int, kept_layers: list[int]) -> None:
    model = SentenceTransformer(str(tiny_folder), device="cpu")
    transformer = transformer_of(model)
    six = [deepcopy(transformer.encoder.layer[0]) for _ in range(6)]
    transformer.encoder.layer = torch.nn.ModuleList(six)
    cut_layers(model, layers)
    assert [six.index(layer) for layer in transformer.encoder.layer] == kept_layers
    assert transformer.config.num_hidden_layers == layers


def test_three_is_a_name_for_three_layers(data: StudentData, tiny_folder: Path, tmp_path: Path) -> None:
    assert [StudentRecipe(shape=shape).kept_layers for shape in ("six", "three", "static")] == [None, 3, None]
    assert StudentRecipe(shape="static", layers=2).kept_layers == 2
    with pytest.raises(TrainingError, match="cannot keep 3 layers of a base that has 1"):
        train_student(data, tmp_path / "student", StudentRecipe(base=str(tiny_folder), shape="three"))


def test_a_base_with_a_table_makes_no_student_without_one(
    data: StudentData, recipe: StudentRecipe, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="reads keyphrases with a table, which shape six does not"):
        train_student(data, tmp_path / "student", replace(recipe, shape="six"))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"shape": "five"}, "shape is five; expected six or three or static"),
        ({"shape": "three", "layers": 2}, "layers is 2; expected 3, or none given, with shape three"),
        ({"table_learning_rate": 0.0}, r"table_learning_rate is 0\.0; expected a number above 0"),
    ],
)
def test_choices_that_cannot_be_are_refused(choice: dict[str, Any], expected: str) -> None:
    with pytest.raises(TrainingError, match=expected):
        StudentRecipe(**choice)
