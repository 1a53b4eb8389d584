"""Evaluation of a student: the paper's offline protocol, confidence intervals, a comparison with another, a report."""

from keydistill.distillation.evaluation.auc import grouped_auc
from keydistill.distillation.evaluation.bootstrap import Difference, Estimate, paired_difference, ratios, weights
from keydistill.distillation.evaluation.corpus import HEAD_SHARE, Corpus, MatchCategory, sample_items
from keydistill.distillation.evaluation.estimates import Comparison, compare, compare_means, mean_estimates
from keydistill.distillation.evaluation.judges import AssistantJudge, JudgeInfo, LabelJudge, RelevanceJudge
from keydistill.distillation.evaluation.label_measures import MIN_GROUPS
from keydistill.distillation.evaluation.list_judging import SearchFilter
from keydistill.distillation.evaluation.measures import ABOUT, About, Measure
from keydistill.distillation.evaluation.protocol import CUTOFFS, evaluate
from keydistill.distillation.evaluation.report import check_report_folder, read_evaluation, write_report
from keydistill.distillation.evaluation.result import Evaluation
from keydistill.distillation.evaluation.retrieval import embed_items_of
from keydistill.distillation.evaluation.sampling import labels_are_lists
from keydistill.distillation.evaluation.support import MIN_JUDGED_PAIRS, SMALL_JUDGED_SHARE, Support, leading_measures

__all__ = [
    "ABOUT",
    "CUTOFFS",
    "HEAD_SHARE",
    "MIN_GROUPS",
    "MIN_JUDGED_PAIRS",
    "SMALL_JUDGED_SHARE",
    "About",
    "AssistantJudge",
    "Comparison",
    "Corpus",
    "Difference",
    "Estimate",
    "Evaluation",
    "JudgeInfo",
    "LabelJudge",
    "MatchCategory",
    "Measure",
    "RelevanceJudge",
    "SearchFilter",
    "Support",
    "check_report_folder",
    "compare",
    "compare_means",
    "embed_items_of",
    "evaluate",
    "grouped_auc",
    "labels_are_lists",
    "leading_measures",
    "mean_estimates",
    "paired_difference",
    "ratios",
    "read_evaluation",
    "sample_items",
    "weights",
    "write_report",
]
