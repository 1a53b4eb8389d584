"""Judges: who says whether a keyphrase is right for an item."""

from keydistill.encoders.judge.chat import ChatJudge
from keydistill.encoders.judge.chat_settings import ChatSettings
from keydistill.encoders.judge.judgment import Judge, Judgment, Pair, Problem, ProblemKind, Usage
from keydistill.encoders.judge.labels import LabelTable
from keydistill.encoders.judge.local import LocalJudge
from keydistill.encoders.judge.prompt import PromptTemplate

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
