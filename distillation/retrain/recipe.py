"""What a retrain learns from, and how it goes."""

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
        items: By `keydistill.distillation.signals.ITEMS`.
        inventory: `keyphrase`, normalised, `category_ids`, `site`, as in a snapshot.
        clicks: By `CLICKS`; None without a click log.
        search_relevance: By `SEARCH_RELEVANCE`; None where the search engine's opinion is not known.
        judgments: By `JUDGMENTS`: what was judged before; None without any.
        files: The files of each role, for the lineage.
    """

    items: pa.Table
    inventory: pa.Table
    clicks: pa.Table | None = None
    search_relevance: pa.Table | None = None
    judgments: pa.Table | None = None
    files: Mapping[str, Sequence[Path]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrainRecipe:
    """How a retrain goes.

    Attributes:
        mining: Which pairs are mined.
        judged_pairs: Most mined pairs to put to the judge, spread evenly over the strata.
        budget_tokens: Most tokens for the judge; None is no limit.
        assistant: How the assistant is trained.
        student: How the student is trained.
        evaluated_items: Number of items on which the new student is compared with the present one.
        seed: Seed of the choice of judged pairs and evaluated items.
    """

    mining: MiningRecipe = field(default_factory=MiningRecipe)
    judged_pairs: int = 20_000
    budget_tokens: int | None = None
    assistant: AssistantRecipe = field(default_factory=AssistantRecipe)
    student: StudentRecipe = field(default_factory=StudentRecipe)
    evaluated_items: int = 1_000
    seed: int = 0
