"""The steps of a retrain, one per stage: each writes its output into a folder and reports what a record keeps."""

from __future__ import annotations

import logging
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from keydistill.distillation.evaluation import evaluate, sample_items, write_report
from keydistill.distillation.pairs import JudgmentCache, MiningRecipe, judge_pairs, mine, score_pairs
from keydistill.distillation.retrain.division import Division
from keydistill.distillation.retrain.judged import (
    assistant_of,
    judged_in_lists,
    judged_yes_of,
    mining_of,
    scored_pairs,
    taught_directly,
    together,
    warm_up_of,
    without_order,
    without_pairs,
)
from keydistill.distillation.retrain.recipe import RetrainInputs, RetrainRecipe
from keydistill.distillation.retrain.referee import Referee
from keydistill.distillation.retrain.spread import spread_over_strata
from keydistill.distillation.retrain.verdict import comparison_of
from keydistill.distillation.signals import correct_clicks, load_judgments
from keydistill.distillation.student import student_data, train_student, untrained_student
from keydistill.encoders import Assistant, Student
from keydistill.errors import TrainingError
from keydistill.progress import NamedProgress, Progress
from keydistill.tables import RejectLog

if TYPE_CHECKING:
    from keydistill.encoders.judge import Judge

_log = logging.getLogger(__name__)

# Fewer judged pairs teach an assistant nothing that can be measured.
_LEAST_JUDGED = 50
# Length of the lists that the students are compared by.
LIST_LENGTH = 10
# One part of so many of the budget for the judge is for the lists of held-out items, which come on top of the pairs.
_LISTS_PART = 10


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
            self._learned.items,
            self._learned.inventory,
            mining_of(self.recipe.mining, self._learned),
            clicks=self._clicks,
            judged_yes=judged_yes_of(self._learned.judgments),
            search_relevance=self._learned.search_relevance,
            assistant=assistant,
            progress=progress,
        )
        pq.write_table(mined.pairs, out / "pairs.parquet", compression="zstd")
        pairs_to_judge = spread_over_strata(mined.pairs, self.recipe.judged_pairs, self.recipe.seed)
        pq.write_table(pairs_to_judge, out / "to_judge.parquet", compression="zstd")
        pairs_to_score = scored_pairs(mined.pairs, self._learned)
        pq.write_table(pairs_to_score, out / "to_score.parquet", compression="zstd")
        return {
            "pairs": mined.pairs.num_rows,
            "strata": dict(mined.strata),
            "to_judge": pairs_to_judge.num_rows,
            "to_score": pairs_to_score.num_rows,
        }

    def judge_mined(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Put the chosen pairs to the judge."""
        progress.start("judge", self.recipe.judged_pairs, "pairs")
        tokens = self.recipe.budget_tokens
        budget = None if tokens is None else tokens - tokens // _LISTS_PART
        return self._judge(self.folder_of("mine", "to_judge.parquet"), out, budget, progress)

    def judge_lists(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Put the lists that both students have for held-out items to the judge."""
        pairs = self.folder_of("student", "lists.parquet")
        progress.start("judge lists", pq.read_metadata(pairs).num_rows, "pairs")
        tokens = self.recipe.budget_tokens
        return self._judge(pairs, out, None if tokens is None else tokens // _LISTS_PART, progress)

    def _judge(self, pairs: Path, out: Path, budget_tokens: int | None, progress: Progress) -> dict[str, Any]:
        with JudgmentCache(self.cache) as cache:
            summary = judge_pairs(
                self.judge,
                [pairs],
                out / "judgments.parquet",
                cache=cache,
                budget_tokens=budget_tokens,
                progress=progress,
            )
        return {
            "labelled": summary.labelled,
            "yes": summary.yes,
            "unlabelled": summary.unlabelled,
            "unjudged": summary.unjudged,
            "asked": summary.asked,
            "malformed": summary.malformed,
            "tokens": summary.usage.total,
            "tokens_in": summary.usage.input_tokens,
            "tokens_out": summary.usage.output_tokens,
        }

    def _judgments(self) -> pa.Table:
        """The judgments of this run, and those that were there before."""
        judgments = together(self._learned.judgments, self._judged("judge"))
        if len(judgments) < _LEAST_JUDGED:
            raise TrainingError(
                f"there are {len(judgments)} judged pairs; expected at least {_LEAST_JUDGED} to train an "
                "assistant with: raise the budget, or give judgments"
            )
        return judgments

    def _judged(self, stage: str) -> pa.Table:
        """The judgments of a stage that asked the judge."""
        with RejectLog() as rejects:
            return load_judgments([self.folder_of(stage, "judgments.parquet")], rejects)

    def train_assistant(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Train an assistant on all judgments."""
        pairs, _ = judged_pairs(self._judgments(), self._learned.items)
        mined = pq.read_table(self.folder_of("mine", "pairs.parquet"))
        before = warm_up_of(mined, self._learned, self.recipe.seed)
        trained = train_assistant(
            pairs,
            _cleared(out / "model"),
            assistant_of(self.recipe.assistant, self._learned),
            warm_up=None if before is None else judged_pairs(before, self._learned.items)[0],
            student=untrained_student(self.recipe.student, self.threads) if judged_in_lists(self._learned) else None,
            threads=self.threads,
            progress=NamedProgress("assistant", progress),
        )
        return trained.as_dict()

    @cached_property
    def of_assistant(self) -> dict[str, Any]:
        """All choices that the stage of the assistant follows from."""
        recipe = assistant_of(self.recipe.assistant, self._learned)
        choices = {**asdict(recipe), "folds": recipe.chosen_folds}
        if judged_in_lists(self._learned):
            choices["compared"] = [self.recipe.student.base, self.recipe.student.item_text]
        return choices

    def score(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Score the mined pairs with the new assistant."""
        metrics = assistant_metrics(self.folder_of("assistant", "model"))
        check_better_than_chance(metrics, self.recipe.trust_assistant)
        pairs = self.folder_of("mine", "to_score.parquet")
        progress.start("score", pq.read_metadata(pairs).num_rows, "pairs")
        assistant = self._new_assistant()
        summary = score_pairs(assistant, [pairs], out / "scores.parquet", progress=progress)
        return {"pairs": summary.pairs, "mean_score": summary.mean_score}

    def _near_misses(self, judgments: pa.Table) -> pa.Table:
        """The near misses that were mined and that the judge did not call right."""
        mined = pq.read_table(self.folder_of("mine", "pairs.parquet"))
        near = mined.filter(pc.equal(mined["stratum"], "near_miss"))
        return without_pairs(near, judgments.filter(judgments["label"]))

    def train_student(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Train a student on the signals and the scores."""
        metrics = assistant_metrics(self.folder_of("assistant", "model"))
        verdicts = Verdicts.of(metrics)
        judgments = self._judgments()
        no_order = None if (self.recipe.trust_assistant or "").strip() else without_order(metrics, self._learned)
        if no_order is not None:
            _log.warning("nothing is learned of the assistant's lists: %s", no_order)
        data = student_data(
            self._learned.items,
            clicks=self._clicks,
            search_relevance=self._learned.search_relevance,
            judgments=taught_directly(judgments, verdicts),
            assistant=None if no_order is not None else pq.read_table(self.folder_of("score", "scores.parquet")),
            near_misses=None if judged_in_lists(self._learned) else self._near_misses(judgments),
            verdicts=verdicts,
            seed=self.recipe.seed,
        )
        trained = train_student(
            data,
            _cleared(out / "model"),
            self.recipe.student,
            threads=self.threads,
            progress=NamedProgress("student", progress),
        )
        pq.write_table(self._lists(out / "model", progress), out / "lists.parquet", compression="zstd")
        return {**trained.as_dict(), **({} if no_order is None else {"assistant_not_learned": no_order})}

    def _lists(self, new: Path, progress: Progress) -> pa.Table:
        """The pairs that both students recommend for some held-out items, as many as the judge is to be asked about."""
        most = self.recipe.judged_pairs // _LISTS_PART // (2 * LIST_LENGTH)
        items = sample_items(self._division.items, max(1, most), self.recipe.seed)
        recipe = MiningRecipe(
            student_top=LIST_LENGTH, near_miss=0, clicked=0, disagreement=0, random=0, depth=1, seed=self.recipe.seed
        )
        progress.start("lists", None, "texts")
        lists = [
            mine(Student.load(source, threads=self.threads), items, self.inputs.inventory, recipe, progress=progress)
            for source in (str(new), self.student)
        ]
        together = pa.concat_tables([mined.pairs for mined in lists])
        return together.group_by(together.column_names, use_threads=False).aggregate([])

    def evaluate(self, out: Path, progress: Progress) -> dict[str, Any]:
        """Compare the new student with the present one on held-out items."""
        division = self._division
        referee = Referee.of(
            division.items, division.judgments, self._judged("judge_lists"), self.judge.name, self._new_assistant
        )
        new, present = (
            evaluate(
                Student.load(source, threads=self.threads),
                sample_items(referee.items, self.recipe.evaluated_items, self.recipe.seed),
                self.inputs.inventory,
                judge=referee.judge,
                labels=referee.labels,
                clicks=self.inputs.clicks,
                k=(1, 5, LIST_LENGTH),
                seed=self.recipe.seed,
                progress=progress,
            )
            for source in (str(self.folder_of("student", "model")), self.student)
        )
        comparison = write_report(out / "report", new, present)
        assert comparison is not None  # there are two students
        return {
            "held_out": {"items": division.held_out_items, "keyphrases": division.held_out_keyphrases},
            "judged_by": referee.name,
            "comparison": comparison_of(new, present, comparison),
            **{
                which: {
                    "student": evaluation.student,
                    "estimates": {name: estimate.as_list() for name, estimate in evaluation.estimates.items()},
                }
                for which, evaluation in (("new", new), ("present", present))
            },
        }

    @cached_property
    def _division(self) -> Division:
        return Division.of(self.inputs, self.recipe.held_out)

    @property
    def _learned(self) -> RetrainInputs:
        return self._division.learned

    @cached_property
    def _clicks(self) -> pa.Table | None:
        """Clicked pairs, corrected for position."""
        clicks = self._learned.clicks
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
