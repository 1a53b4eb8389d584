"""Sample items of an evaluation, for a person to look at."""

from typing import Any

import numpy as np

from keydistill.distillation.evaluation.corpus import Corpus
from keydistill.distillation.evaluation.measures import ListVerdicts
from keydistill.distillation.evaluation.result import Sample, SampleLine
from keydistill.distillation.evaluation.retrieval import Lists

_SAMPLES = 8


def samples_of(corpus: Corpus, lists: Lists, verdicts: ListVerdicts, length: int, seed: int) -> tuple[Sample, ...]:
    """Some items, chosen by the seed, with the first keyphrases of their lists and what was said of them."""
    random = np.random.default_rng(seed)
    item_numbers = np.sort(random.choice(len(corpus.titles), size=min(_SAMPLES, len(corpus.titles)), replace=False))
    return tuple(
        Sample(
            corpus.item_ids[item],
            corpus.titles[item],
            corpus.item_categories[item],
            tuple(
                SampleLine(
                    keyphrase=corpus.texts[lists.texts[item, place]],
                    score=round(float(lists.scores[item, place]), 4),
                    verdict=_verdict(verdicts, (item, place)),
                    search_volume=None if corpus.volumes is None else int(corpus.volumes[lists.rows[item, place]]),
                )
                for place in range(length)
                if lists.rows[item, place] >= 0
            ),
        )
        for item in item_numbers.tolist()
    )


def _verdict(verdicts: ListVerdicts, at: Any) -> str:
    if verdicts.known[at]:
        return "known"
    if not verdicts.asked[at]:
        return "rejected" if verdicts.search_known[at] else "unknown to search"
    if not verdicts.judged[at]:
        return "not judged"
    return "relevant" if verdicts.relevant[at] else "irrelevant"
