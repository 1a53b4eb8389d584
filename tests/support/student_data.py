"""A dozen items and keyphrases that belong together one by one, as data that a student learns from."""

import numpy as np

from keydistill.distillation.student import Pairs, StudentData

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
        search_relevance=everything.of_items(~held),
        assistant=everything.of_items(~held),
        held_out=everything.of_items(held),
    )
