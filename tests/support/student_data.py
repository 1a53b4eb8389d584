"""A dozen items and keyphrases that belong together one by one, as data that a student learns from in a few steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from keydistill.distillation.student import Pairs, StudentData, StudentRecipe
from keydistill.distillation.student.metrics import ndcg_per_group
from keydistill.encoders import Student

TITLES = [f"red running shoe model {number}" for number in range(12)]
TEXTS = [f"running shoe {number}" for number in range(12)]


def made_data() -> StudentData:
    own = np.arange(12)
    everything = Pairs(
        np.repeat(own, 12), np.tile(own, 12), (np.repeat(own, 12) == np.tile(own, 12)).astype(np.float32)
    )
    held = np.arange(12) >= 10
    return StudentData(
        titles=TITLES,
        categories=["Clothing > Shoes"] * 12,
        texts=TEXTS,
        clicks=Pairs(own[:10], own[:10]),
        search_relevance=everything.chosen(~held[everything.items]),
        assistant=everything.chosen(~held[everything.items]),
        held_out=everything.chosen(held[everything.items]),
    )


def little_data() -> StudentData:
    """All the clicks, and a few pairs of each other task: what two trainings in batches of 4 are quick with."""
    data = made_data()
    assert data.search_relevance is not None
    assert data.assistant is not None
    some = np.arange(0, 120, 5)
    return replace(data, search_relevance=data.search_relevance.chosen(some[:8]), assistant=data.assistant.chosen(some))


def recipe_of(base: str | Path) -> StudentRecipe:
    """Of one training, and short, whose weights stay as they were learned."""
    return StudentRecipe(
        base=str(base),
        dimensions=(32, 16),
        clicks_share=0,
        int8=False,
        epochs=2,
        batch_size=16,
        learning_rate=5e-3,
        precision="fp32",
    )


def ndcg_of(student: Student, data: StudentData) -> float:
    """A student's nDCG@10 on the held-out pairs."""
    held = data.held_out
    assert held is not None
    items, keyphrases = student.embed_items(TITLES, data.categories), student.embed_keyphrases(TEXTS)
    cosines = (items[held.items] * keyphrases[held.keyphrases]).sum(axis=1)
    return float(ndcg_per_group(held.items, cosines, held.scores).mean())


def weights(folder: Path) -> dict[str, bytes]:
    """The files of a student's weights: those of all layers, the rotation's and the table's too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))}
