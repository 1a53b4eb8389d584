"""Pairs of item and keyphrase: which are worth an opinion, and what the judge and the assistant say of them."""

from keydistill.distillation.pairs.agreement import Agreement, agreement_of_file
from keydistill.distillation.pairs.groups import first_per_group, places_within
from keydistill.distillation.pairs.judging import JudgingPlan, JudgingSummary, judge_pairs, plan_judging
from keydistill.distillation.pairs.judgment_cache import JudgmentCache
from keydistill.distillation.pairs.labels import labels_of, read_labels
from keydistill.distillation.pairs.mining import MINED_SCHEMA, STRATA, Mined, MiningRecipe, mine
from keydistill.distillation.pairs.overlap import word_overlap
from keydistill.distillation.pairs.score_files import load_scores, trust_of
from keydistill.distillation.pairs.scoring import SCORE_SCHEMA, ScoringPlan, ScoringSummary, plan_scoring, score_pairs

__all__ = [
    "MINED_SCHEMA",
    "SCORE_SCHEMA",
    "STRATA",
    "Agreement",
    "JudgingPlan",
    "JudgingSummary",
    "JudgmentCache",
    "Mined",
    "MiningRecipe",
    "ScoringPlan",
    "ScoringSummary",
    "agreement_of_file",
    "first_per_group",
    "judge_pairs",
    "labels_of",
    "load_scores",
    "mine",
    "places_within",
    "plan_judging",
    "plan_scoring",
    "read_labels",
    "score_pairs",
    "trust_of",
    "word_overlap",
]
