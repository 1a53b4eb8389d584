"""The inputs and the recipe of a retrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from keydistill.distillation.assistant import AssistantRecipe
from keydistill.distillation.pairs import MiningRecipe
from keydistill.distillation.student import StudentRecipe


@dataclass(frozen=True, slots=True)
class RetrainInputs:
    """Tables that a retrain learns from, and the files that they came from.

    Attributes:
        items: Table by `keydistill.distillation.signals.ITEMS`.
        inventory: Table of `keyphrase`, normalised, `category_ids`, `site`, as in a snapshot.
        clicks: Table by `CLICKS`; None without a click log.
        search_relevance: Table by `SEARCH_RELEVANCE`; None where the search engine's opinion is not known.
        judgments: Table by `JUDGMENTS` of what was judged before; None without any.
        files: Files by role, for the lineage.
    """

    items: pa.Table
    inventory: pa.Table
    clicks: pa.Table | None = None
    search_relevance: pa.Table | None = None
    judgments: pa.Table | None = None
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrainRecipe:
    """The recipe of a retrain: everything that is chosen for it.

    Attributes:
        mining: Recipe that says which pairs are mined.
        judged_pairs: Most mined pairs to put to the judge, spread evenly over the strata.
        budget_tokens: Most tokens for the judge, a tenth of them for the lists of held-out items; None is no limit.
        assistant: Recipe of the assistant's training.
        student: Recipe of the student's training.
        held_out: Share of the items, and of the keyphrases, that nothing is mined, judged or learned from: the students
            are compared on these items. 0 holds out nothing, and compares them on what was learned from.
        evaluated_items: Most items on which the new student is compared with the present one.
        trust_assistant: Why an assistant that is no better than chance is learned from nevertheless (None ends there),
            and lists of items from one that orders them no better than the untrained student (None leaves them out).
        seed: Seed of the choice of judged pairs and evaluated items.
    """

    mining: MiningRecipe = field(default_factory=MiningRecipe)
    judged_pairs: int = 20_000
    budget_tokens: int | None = None
    assistant: AssistantRecipe = field(default_factory=AssistantRecipe)
    student: StudentRecipe = field(default_factory=StudentRecipe)
    held_out: float = 0.05
    evaluated_items: int = 1_000
    trust_assistant: str | None = None
    seed: int = 0
