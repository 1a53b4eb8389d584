import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.encoders import Assistant, Calibration, assistant_version, write_model_file
from keydistill.errors import AssistantError
from tests.support.heard_progress import HeardProgress

TITLES = [
    "Acme X1 headphones black over ear wireless",
    "iPhone 13",
    "Acme X1 headphones black over ear wireless",
    "mens waterproof hiking boots size 10 brown leather, lightly used, with box and spare laces",
    "usb c cable",
]
CATEGORIES = ["Audio > Headphones", "Electronics > Phones", None, "Shoes > Boots", None]
KEYPHRASES = ["wireless headphones", "iphone 13 case", "acme", "boots", "usb c cable 6 ft braided fast charging"]


@pytest.fixture(scope="module")
def assistant(tiny_assistant_folder: Path) -> Assistant:
    return Assistant.load(str(tiny_assistant_folder), device="cpu")


@pytest.fixture
def copied(tiny_assistant_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_assistant_folder, tmp_path / "tiny"))


def test_scores_are_calibrated_logits_of_the_cross_encoder(assistant: Assistant, tiny_assistant_folder: Path) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(tiny_assistant_folder), device="cpu", local_files_only=True)
    texts = [
        "Headphones: Acme X1 headphones black over ear wireless",
        "Phones: iPhone 13",
        TITLES[2],
        f"Boots: {TITLES[3]}",
        TITLES[4],
    ]
    expected = reference.predict(list(zip(texts, KEYPHRASES, strict=True)), activation_fn=torch.nn.Identity())
    logits = assistant.logits(TITLES, KEYPHRASES, CATEGORIES)
    assert expected.std() > 0.01
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    scores = assistant.score(TITLES, KEYPHRASES, CATEGORIES)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-(expected / 2.0 - 0.25))), atol=1e-5)


def test_without_categories_the_title_stands_alone(assistant: Assistant) -> None:
    plain = assistant.logits(TITLES, KEYPHRASES)
    np.testing.assert_array_equal(plain, assistant.logits(TITLES, KEYPHRASES, [None] * 5))
    assert abs(plain[0] - assistant.logits(TITLES, KEYPHRASES, CATEGORIES)[0]) > 1e-3


def test_item_and_keyphrase_are_not_interchangeable(assistant: Assistant) -> None:
    assert abs(assistant.logits(["usb cable"], ["boots"]) - assistant.logits(["boots"], ["usb cable"])) > 1e-3


def test_a_score_does_not_depend_on_its_neighbours(assistant: Assistant) -> None:
    alone = [assistant.logits([title], [text])[0] for title, text in zip(TITLES, KEYPHRASES, strict=True)]
    rng = np.random.default_rng(0)
    order = rng.integers(0, 5, size=500)
    together = assistant.logits([TITLES[place] for place in order], [KEYPHRASES[place] for place in order])
    np.testing.assert_allclose(together, np.array(alone)[order], atol=1e-5)


def test_no_pairs_give_no_scores(assistant: Assistant) -> None:
    assert assistant.score([], []).shape == (0,)


def test_titles_and_keyphrases_must_be_as_many(assistant: Assistant) -> None:
    with pytest.raises(ValueError, match="zip"):
        assistant.score(["a", "b"], ["c"])


def test_only_the_item_is_cut_and_the_keyphrase_is_read_to_its_end(assistant: Assistant) -> None:
    long = "word " * 2_000
    logits = assistant.logits([long, long + "more", long], ["red shoes", "red shoes", "red boots"])
    assert logits[0] == pytest.approx(logits[1], abs=1e-6)
    assert abs(logits[0] - logits[2]) > 1e-4


def test_a_keyphrase_that_fills_everything_leaves_room_for_the_item(assistant: Assistant) -> None:
    long = "word " * 2_000
    logits = assistant.logits(["red shoes", "red boots", "red shoes"], [long, long, long + "more"])
    assert np.isfinite(logits).all()
    assert abs(logits[0] - logits[1]) > 1e-5
    assert logits[0] == pytest.approx(logits[2], abs=1e-6)


def test_progress_reaches_the_number_of_pairs(assistant: Assistant) -> None:
    progress = HeardProgress()
    assistant.score(TITLES, KEYPHRASES, progress=progress)
    assert sum(progress.counts) == 5
    assert len(progress.counts) > 1


def test_bf16_is_close(tiny_assistant_folder: Path, assistant: Assistant) -> None:
    rough = Assistant.load(str(tiny_assistant_folder), device="cpu", bf16=True)
    np.testing.assert_allclose(rough.score(TITLES, KEYPHRASES), assistant.score(TITLES, KEYPHRASES), atol=2e-2)


def test_the_version_follows_content_and_not_place(assistant: Assistant, copied: Path) -> None:
    assert assistant_version(str(copied), copied) == assistant.version
    (copied / "README.md").write_text("other words")
    (copied / "metrics.json").write_text("{}")
    assert assistant_version(str(copied), copied) == assistant.version
    write_model_file(copied, temperature=2.5)
    assert assistant_version(str(copied), copied) != assistant.version


def test_a_plain_cross_encoder_is_an_assistant(copied: Path, assistant: Assistant) -> None:
    (copied / "keydistill.json").unlink()
    plain = Assistant.load(str(copied), device="cpu")
    assert plain.calibration == Calibration()
    np.testing.assert_allclose(
        plain.logits(TITLES, KEYPHRASES, CATEGORIES), assistant.logits(TITLES, KEYPHRASES), atol=1e-6
    )


@pytest.mark.parametrize("content", [{"temperature": 0}, {"temperature": "warm"}, {"bias": [1]}, {"temperature": None}])
def test_a_calibration_that_is_none_is_refused(copied: Path, content: dict[str, Any]) -> None:
    write_model_file(copied, **content)
    with pytest.raises(AssistantError, match="calibration"):
        Assistant.load(str(copied))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssistantError, match=r"has no config\.json"):
        Assistant.load(str(tmp_path))


def test_damaged_weights_are_one_line(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000])
    with pytest.raises(AssistantError, match="cannot be loaded as an assistant") as caught:
        Assistant.load(str(copied))
    assert "\n" not in str(caught.value)


def test_a_classifier_of_several_classes_is_refused(copied: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    BertForSequenceClassification(BertConfig(**{**sizes, "num_labels": 3})).save_pretrained(copied)
    with pytest.raises(AssistantError, match="has 3 outputs"):
        Assistant.load(str(copied))


def test_a_student_is_no_assistant(tiny_folder: Path) -> None:
    with pytest.raises(AssistantError, match="is no cross-encoder: its architecture is BertModel"):
        Assistant.load(str(tiny_folder))


def test_calibration_keeps_the_order_and_reaches_the_ends() -> None:
    calibration = Calibration(temperature=0.5, bias=1.0)
    probabilities = calibration.probabilities(np.array([-1e5, -1.0, 0.0, 1.0, 1e5]))
    assert probabilities[0] == 0
    assert probabilities[-1] == 1
    assert (np.diff(probabilities) > 0).all()


def test_loading_prints_nothing(tiny_assistant_folder: Path) -> None:
    code = (
        "import sys; from keydistill.encoders import Assistant;"
        "print(Assistant.load(sys.argv[1]).score(['a'], ['b']).shape)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tiny_assistant_folder)], capture_output=True, text=True, check=True
    )
    assert process.stdout == "(1,)\n"
    assert process.stderr == ""


def test_the_model_file_is_json(tiny_assistant_folder: Path) -> None:
    assert json.loads((tiny_assistant_folder / "keydistill.json").read_text())["temperature"] == 2.0
