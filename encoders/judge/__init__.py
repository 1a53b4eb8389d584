"""Judges: who says whether a keyphrase is right for an item."""

from encoders.judge.chat import ChatJudge
from encoders.judge.chat_settings import ChatSettings
from encoders.judge.judgment import Judge, Judgment, Pair, Problem, ProblemKind, Usage
from encoders.judge.labels import LabelTable
from encoders.judge.local import LocalJudge
from encoders.judge.prompt import PromptTemplate

__all__ = [
    "ChatJudge",
    "ChatSettings",
    "Judge",
    "Judgment",
    "LabelTable",
    "LocalJudge",
    "Pair",
    "Problem",
    "ProblemKind",
    "PromptTemplate",
    "Usage",
]
