"""Bases with prompts: what their students are trained with, and keep."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from keydistill.distillation.student.fit import sample_texts, starting_model
from keydistill.encoders import Prompts
from tests.support.student_data import little_data, recipe_of


@pytest.fixture
def base(tiny_folder: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(tiny_folder, tmp_path / "base")
    prompts = {"query": "query: ", "passage": "passage: ", "other": "other: "}
    content = {"prompts": prompts, "default_prompt_name": "other"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(content))
    return folder


def test_a_student_learns_with_the_prompts_of_its_base_and_keeps_them(base: Path, tmp_path: Path) -> None:
    data, recipe = little_data(), recipe_of(base)
    assert {text.partition(": ")[0] for text in sample_texts(data, recipe)} == {"query", "passage"}
    starting_model(data, recipe).save_pretrained(str(tmp_path / "start"), create_model_card=False)
    assert Prompts.of(tmp_path / "start") == Prompts("query: ", "passage: ")


def test_a_table_of_tokens_reads_keyphrases_without(base: Path, static_folder: Path, tmp_path: Path) -> None:
    static = shutil.copytree(static_folder, tmp_path / "static")
    shutil.copy(base / "config_sentence_transformers.json", static)
    data, recipe = little_data(), replace(recipe_of(static), shape="static")
    texts = sample_texts(data, recipe)
    assert not any(text.startswith("query: ") for text in texts)
    assert sum(text.startswith("passage: ") for text in texts) == len(data.titles)
    starting_model(data, recipe).save_pretrained(str(tmp_path / "start"), create_model_card=False)
    assert Prompts.of(tmp_path / "start") == Prompts("", "passage: ")
