"""How good a student is: the paper's offline protocol, confidence intervals, a comparison with another, a report."""

from distillation.evaluation.bootstrap import Difference, Estimate, paired_difference, ratios
from distillation.evaluation.corpus import HEAD_SHARE, MatchCategory, sample_items
from distillation.evaluation.estimates import Comparison, compare, compare_means, mean_estimates
from distillation.evaluation.judges import AssistantJudge, JudgeInfo, LabelJudge, RelevanceJudge
from distillation.evaluation.measures import ABOUT, About, Measure
from distillation.evaluation.protocol import CUTOFFS, evaluate
from distillation.evaluation.report import check_report_folder, read_evaluation, write_report
from distillation.evaluation.result import Evaluation
from distillation.evaluation.trial import SearchFilter

__all__ = [
    "ABOUT",
    "CUTOFFS",
    "HEAD_SHARE",
    "About",
    "AssistantJudge",
    "Comparison",
    "Difference",
    "Estimate",
    "Evaluation",
    "JudgeInfo",
    "LabelJudge",
    "MatchCategory",
    "Measure",
    "RelevanceJudge",
    "SearchFilter",
    "check_report_folder",
    "compare",
    "compare_means",
    "evaluate",
    "mean_estimates",
    "paired_difference",
    "ratios",
    "read_evaluation",
    "sample_items",
    "write_report",
]
