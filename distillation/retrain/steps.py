"""The steps of a retrain, one per stage: each writes its output into a folder and reports what a record keeps."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.distillation.assistant import (
    Verdicts,
    assistant_metrics,
    check_better_than_chance,
    judged_pairs,
    train_assistant,
)
from keydistill.distillation.pairs import STRATA, JudgmentCache, judge_pairs, mine, score_pairs
from keydistill.distillation.retrain.recipe import RetrainInputs, RetrainRecipe
from keydistill.distillation.signals import JUDGMENTS, correct_clicks, load_judgments
from keydistill.distillation.student import student_data, train_student
from keydistill.encoders import Assistant, Student
from keydistill.errors import TrainingError
from keydistill.progress import NamedProgress, Progress
from keydistill.tables import RejectLog

if TYPE_CHECKING:
    from keydistill.encoders.judge import Judge

# Fewer judged pairs teach an assistant nothing that can be measured.
_LEAST_JUDGED = 50


@dataclass(frozen=True)
class RetrainSteps:
    """The steps of a retrain, one per stage; a stage finds the output of another in that one's folder.

    Attributes:
        folder: Folder of the run, with one for each stage.
        inputs: Tables to learn from.
        recipe: Recipe of the retrain.
        judge: Judge that labels the mined pairs.
        student: Folder or name of the present student.
        assistant: Folder of the present assistant; None where there is none.
        cache: File of judgments that are there already.
        threads: Threads for arithmetic on CPU; None leaves it to torch.
    """

    folder: Path
    inputs: RetrainInputs
    recipe: RetrainRecipe
    judge: Judge
    student: str
    assistant: str | None
    cache: Path
    threads: int | None

    def folder_of(self, stage: str, name: str) -> Path:
        """The path at which a stage keeps a part of its output."""
        return self.folder / stage / name

    def mine(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Mine pairs, and choose those that are put to the judge."""
        progress.start("mine", None, "texts")
        assistant = None if self.assistant is None else Assistant.load(self.assistant, threads=self.threads)
        mined = mine(
            Student.load(self.student, threads=self.threads),
            self.inputs.items,
            self.inputs.inventory,
            self.recipe.mining,
            clicks=self._clicks,
            search_relevance=self.inputs.search_relevance,
            assistant=assistant,
            progress=progress,
        )
        pq.write_table(mined.pairs, out / "pairs.parquet", compression="zstd")
        pairs_to_judge = _spread(mined.pairs, self.recipe.judged_pairs, self.recipe.seed)
        pq.write_table(pairs_to_judge, out / "to_judge.parquet", compression="zstd")
        return {"pairs": mined.pairs.num_rows, "strata": dict(mined.strata), "to_judge": pairs_to_judge.num_rows}

    def judge_mined(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Put the chosen pairs to the judge."""
        progress.start("judge", self.recipe.judged_pairs, "pairs")
        with JudgmentCache(self.cache) as cache:
            summary = judge_pairs(
                self.judge,
                [self.folder_of("mine", "to_judge.parquet")],
                out / "judgments.parquet",
                cache=cache,
                budget_tokens=self.recipe.budget_tokens,
                progress=progress,
            )
        return {
            "labelled": summary.labelled,
            "yes": summary.yes,
            "unlabelled": summary.unlabelled,
            "unjudged": summary.unjudged,
            "tokens": summary.usage.total,
        }

    def _judgments(self) -> pa.Table:
        """The judgments of this run, and those that were there before."""
        with RejectLog() as rejects:
            new = load_judgments([self.folder_of("judge", "judgments.parquet")], rejects)
        tables = [table for table in (self.inputs.judgments, new) if table is not None and len(table)]
        judged = sum(map(len, tables))
        if judged < _LEAST_JUDGED:
            raise TrainingError(
                f"there are {judged} judged pairs; expected at least {_LEAST_JUDGED} to train an "
                "assistant with: raise the budget, or give judgments"
            )
        return pa.concat_tables(tables).select(JUDGMENTS.names)

    def train_assistant(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Train an assistant on all judgments."""
        pairs, _ = judged_pairs(self._judgments(), self.inputs.items)
        trained = train_assistant(
            pairs,
            _cleared(out / "model"),
            self.recipe.assistant,
            threads=self.threads,
            progress=NamedProgress("assistant", progress),
        )
        return trained.as_dict()

    def score(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Score all mined pairs with the new assistant."""
        metrics = assistant_metrics(self.folder_of("assistant", "model"))
        check_better_than_chance(metrics, self.recipe.trust_assistant)
        pairs = self.folder_of("mine", "pairs.parquet")
        progress.start("score", pq.read_metadata(pairs).num_rows, "pairs")
        assistant = self._new_assistant()
        summary = score_pairs(assistant, [pairs], out / "scores.parquet", progress=progress)
        return {"pairs": summary.pairs, "mean_score": summary.mean_score}

    def _near_misses(self) -> pa.Table:
        """The near misses that were mined and that the judge did not call right."""
        mined = pq.read_table(self.folder_of("mine", "pairs.parquet"))
        near = mined.filter(pc.equal(mined["stratum"], "near_miss"))
        judged = self._judgments()
        right = judged.filter(judged["label"])
        pair_of = {
            "near": pc.binary_join_element_wise(near["item_id"], near["keyphrase"], "\n"),
            "right": pc.binary_join_element_wise(right["item_id"], right["keyphrase"], "\n"),
        }
        return near.filter(pc.invert(pc.is_in(pair_of["near"], value_set=pair_of["right"].combine_chunks())))

    def train_student(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Train a student on the signals and the scores."""
        metrics = assistant_metrics(self.folder_of("assistant", "model"))
        data = student_data(
            self.inputs.items,
            clicks=self._clicks,
            search_relevance=self.inputs.search_relevance,
            assistant=pq.read_table(self.folder_of("score", "scores.parquet")),
            near_misses=self._near_misses(),
            verdicts=Verdicts.of(metrics),
            seed=self.recipe.seed,
        )
        trained = train_student(
            data,
            _cleared(out / "model"),
            self.recipe.student,
            threads=self.threads,
            progress=NamedProgress("student", progress),
        )
        return trained.as_dict()

    def evaluate(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Compare the new student with the present one, by the new assistant."""
        from keydistill.distillation.evaluation import AssistantJudge, evaluate, sample_items, write_report

        judge = AssistantJudge(self._new_assistant())
        items = sample_items(self.inputs.items, self.recipe.evaluated_items, self.recipe.seed)
        new, present = (
            evaluate(
                Student.load(source, threads=self.threads),
                items,
                self.inputs.inventory,
                judge=judge,
                k=(1, 5, 10),
                seed=self.recipe.seed,
                progress=progress,
            )
            for source in (str(self.folder_of("student", "model")), self.student)
        )
        write_report(out / "report", new, present)
        return {
            which: {
                "student": evaluation.student,
                "estimates": {name: estimate.as_list() for name, estimate in evaluation.estimates.items()},
            }
            for which, evaluation in (("new", new), ("present", present))
        }

    @cached_property
    def _clicks(self) -> pa.Table | None:
        """Clicked pairs, corrected for position."""
        clicks = self.inputs.clicks
        return None if clicks is None else correct_clicks(clicks).pairs

    def _new_assistant(self) -> Assistant:
        # In bf16 where it is faster: the third digit of a probability teaches nothing and decides nothing, and costs
        # half of the time.
        from keydistill.distillation.training.run import uses_bf16

        return Assistant.load(
            str(self.folder_of("assistant", "model")),
            threads=self.threads,
            bf16=uses_bf16(self.recipe.assistant.precision),
        )


def _cleared(model: Path) -> Path:
    """The folder in which a stage trains its model, emptied of a model whose stage was cut off."""
    shutil.rmtree(model, ignore_errors=True)
    return model


def _spread(pairs: pa.Table, limit: int, seed: int) -> pa.Table:
    """At most `limit` pairs, spread evenly over the strata, in random order: a budget may stop anywhere."""
    stratum = pc.index_in(pairs["stratum"], value_set=pa.array(STRATA)).to_numpy()
    order = np.random.default_rng(seed).permutation(len(pairs))
    # The n-th pair of each stratum comes before the n+1-th of any.
    by_stratum = order[np.argsort(stratum[order], kind="stable")]
    counts = np.bincount(stratum, minlength=len(STRATA))
    turn = np.concatenate([np.arange(count) for count in counts])
    places = by_stratum[np.argsort(turn, kind="stable")][:limit]
    return pairs.take(pa.array(places))
