"""A retrain: mine, judge, train the assistant, score, train the student, evaluate, register.

Each stage writes its output under the run and is skipped when that is there and nothing it depends on has changed.
Source of the order: arXiv 2508.03628.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.distillation.assistant import (
    AssistantRecipe,
    Verdicts,
    assistant_metrics,
    judged_pairs,
    train_assistant,
)
from keydistill.distillation.pairs import STRATA, JudgmentCache, MiningRecipe, judge_pairs, mine, score_pairs
from keydistill.distillation.registry import Lineage, Registry
from keydistill.distillation.retrain.stages import StageResult, Stages, digest_of
from keydistill.distillation.signals import JUDGMENTS, correct_clicks, load_judgments
from keydistill.distillation.student import StudentRecipe, student_data, train_student
from keydistill.encoders import Assistant, Student
from keydistill.errors import TrainingError
from keydistill.progress import NamedProgress, Progress
from keydistill.tables import RejectLog

if TYPE_CHECKING:
    from keydistill.distillation.registry import ModelVersion
    from keydistill.encoders.judge import Judge

STAGES = ("mine", "judge", "assistant", "score", "student", "evaluate")
# Fewer judged pairs teach an assistant nothing that can be measured.
_LEAST_JUDGED = 50


@dataclass(frozen=True, slots=True)
class RetrainInputs:
    """Tables that a retrain learns from, and the files that they came from.

    Attributes:
        items: By `keydistill.distillation.signals.ITEMS`.
        inventory: `keyphrase`, normalised, `category_ids`, `site`, as in a snapshot.
        clicks: By `CLICKS`, or None.
        search_relevance: By `SEARCH_RELEVANCE`, or None.
        judgments: By `JUDGMENTS`: what was judged before, or None.
        files: Role to files, for the lineage.
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
        mining: Which pairs.
        judged_pairs: How many of the mined pairs are put to the judge, as many as possible from each stratum.
        budget_tokens: Most tokens for the judge; None is no limit.
        assistant: How the assistant is trained.
        student: How the student is trained.
        evaluated_items: Items that the new student is compared on with the present one.
        seed: Of the choice of judged pairs and evaluated items.
    """

    mining: MiningRecipe = field(default_factory=MiningRecipe)
    judged_pairs: int = 20_000
    budget_tokens: int | None = None
    assistant: AssistantRecipe = field(default_factory=AssistantRecipe)
    student: StudentRecipe = field(default_factory=StudentRecipe)
    evaluated_items: int = 1_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """What a retrain gave.

    Attributes:
        student: The new student in the registry.
        assistant: The new assistant in the registry.
        stages: What each stage reported.
        report: Folder of the evaluation's report.
    """

    student: ModelVersion
    assistant: ModelVersion
    stages: tuple[StageResult, ...]
    report: Path


class Retrain:
    """One retrain in a folder; running it again there goes on where it stopped."""

    def __init__(
        self,
        folder: Path,
        inputs: RetrainInputs,
        judge: Judge,
        registry: Registry,
        *,
        student: str,
        assistant: str | None = None,
        recipe: RetrainRecipe | None = None,
        cache: Path | None = None,
        threads: int | None = None,
    ) -> None:
        """Say what to do; nothing happens yet.

        Args:
            folder: Of the run.
            inputs: What to learn from.
            judge: Labels the mined pairs.
            registry: Takes the new versions.
            student: Folder or name of the present student: it finds the pairs that need an opinion, and is what the
                new one is compared with.
            assistant: Folder of the present assistant; with it pairs are mined on which it and the signals disagree.
            recipe: How; None is the default one.
            cache: File of judgments that are there already; None keeps one in the folder.
            threads: Threads for arithmetic on CPU.
        """
        self._stages = Stages(folder)
        self._inputs = inputs
        self._judge = judge
        self._registry = registry
        self._recipe = recipe or RetrainRecipe()
        self._student = student
        self._assistant = assistant
        self._cache = cache or folder / "judgments.sqlite"
        self._threads = threads
        self._lineage = Lineage.collect(
            inputs.files,
            {"recipe": asdict(self._recipe), "judge": judge.name, "prompt": judge.prompt_version},
            seed=self._recipe.seed,
        )

    def plan(self) -> dict[str, bool]:
        """Stage to whether its output is there already, as far as that can be told before the stages before ran."""
        plan: dict[str, bool] = {}
        digest = ""
        for name in STAGES:
            depends = self._depends(name, digest)
            plan[name] = self._stages.is_done(name, depends) and all(plan.values())
            digest = digest_of(name, depends)
        return plan

    def run(
        self,
        progress: Progress,
        *,
        only: Collection[str] = STAGES,
        guard: Callable[[], None] | None = None,
        on_stage: Callable[[StageResult], None] | None = None,
    ) -> RetrainResult | None:
        """Do all stages that are not done.

        Args:
            progress: Told about the steps.
            only: Stops before the first stage to do that is not among these.
            guard: Called before each stage and before the new versions are registered; what it raises ends the run.
            on_stage: Told of each stage that is done, also of those that were done before.

        Returns:
            What came of it; None where it stopped before the end.

        Raises:
            TrainingError: The judge gave too few labels to learn from.
            KeydistillError: Whatever a stage raises; what was done stays.
        """
        guard = guard or (lambda: None)
        makers: Mapping[str, Callable[..., dict[str, Any]]] = {
            "mine": self._mine,
            "judge": self._put_to_judge,
            "assistant": self._train_assistant,
            "score": self._score,
            "student": self._train_student,
            "evaluate": self._evaluate,
        }
        done: list[StageResult] = []
        digest = ""
        for name in STAGES:
            depends = self._depends(name, digest)
            if name not in only and not self._stages.is_done(name, depends):
                return None
            guard()
            stage = self._stages.run(name, depends, partial(makers[name], progress=progress))
            if on_stage is not None:
                on_stage(stage)
            done.append(stage)
            digest = stage.digest
        guard()
        progress.start("register", None, "")
        results = {stage.name: stage.result for stage in done}
        assistant = self._registry.publish(
            "assistant", self._folder("assistant", "model"), lineage=self._lineage, metrics=results["assistant"]
        )
        student = self._registry.publish(
            "student",
            self._folder("student", "model"),
            lineage=self._lineage,
            metrics={**results["student"], "assistant": assistant.full_name, "evaluation": results["evaluate"]},
        )
        return RetrainResult(student, assistant, tuple(done), self._folder("evaluate", "report"))

    @cached_property
    def _clicks(self) -> pa.Table | None:
        """Clicked pairs, corrected for position."""
        clicks = self._inputs.clicks
        return None if clicks is None else correct_clicks(clicks).pairs

    def _new_assistant(self) -> Assistant:
        # A third digit of a probability teaches nothing and decides nothing, and costs half of the time.
        from keydistill.distillation.training.run import uses_bf16

        return Assistant.load(
            str(self._folder("assistant", "model")),
            threads=self._threads,
            bf16=uses_bf16(self._recipe.assistant.precision),
        )

    def _folder(self, stage: str, name: str) -> Path:
        return self._stages.folder / stage / name

    def _depends(self, stage: str, before: str) -> dict[str, Any]:
        """All that a stage's output follows from: the stage before stands for what that one follows from."""
        recipe = self._recipe
        settings: Mapping[str, Any] = {
            "mine": {
                "recipe": asdict(recipe.mining),
                "inputs": [(file.role, file.sha256) for file in self._lineage.inputs],
                "student": self._student,
                "assistant": self._assistant,
            },
            "judge": {
                "pairs": recipe.judged_pairs,
                "tokens": recipe.budget_tokens,
                "seed": recipe.seed,
                "judge": (self._judge.name, self._judge.prompt_version),
            },
            "assistant": asdict(recipe.assistant),
            "score": {},
            "student": asdict(recipe.student),
            "evaluate": {"items": recipe.evaluated_items, "seed": recipe.seed},
        }
        return {"settings": settings[stage], "before": before}

    def _mine(self, out: Path, progress: Progress) -> dict[str, Any]:
        progress.start("mine", None, "texts")
        assistant = None if self._assistant is None else Assistant.load(self._assistant, threads=self._threads)
        found = mine(
            Student.load(self._student, threads=self._threads),
            self._inputs.items,
            self._inputs.inventory,
            self._recipe.mining,
            clicks=self._clicks,
            search_relevance=self._inputs.search_relevance,
            assistant=assistant,
            progress=progress,
        )
        pq.write_table(found.pairs, out / "pairs.parquet", compression="zstd")
        chosen = _spread(found.pairs, self._recipe.judged_pairs, self._recipe.seed)
        pq.write_table(chosen, out / "to_judge.parquet", compression="zstd")
        return {"pairs": found.pairs.num_rows, "strata": dict(found.strata), "to_judge": chosen.num_rows}

    def _put_to_judge(self, out: Path, progress: Progress) -> dict[str, Any]:
        progress.start("judge", self._recipe.judged_pairs, "pairs")
        with JudgmentCache(self._cache) as cache:
            summary = judge_pairs(
                self._judge,
                [self._folder("mine", "to_judge.parquet")],
                out / "judgments.parquet",
                cache=cache,
                budget_tokens=self._recipe.budget_tokens,
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
        """Those of this run, and those that were there before."""
        with RejectLog() as rejects:
            now = load_judgments([self._folder("judge", "judgments.parquet")], rejects)
        tables = [table for table in (self._inputs.judgments, now) if table is not None and len(table)]
        if sum(map(len, tables)) < _LEAST_JUDGED:
            raise TrainingError(
                f"there are {sum(map(len, tables))} judged pairs; expected at least {_LEAST_JUDGED} to train an "
                "assistant with: raise the budget, or give judgments"
            )
        return pa.concat_tables(tables).select(JUDGMENTS.names)

    def _train_assistant(self, out: Path, progress: Progress) -> dict[str, Any]:
        pairs, _ = judged_pairs(self._judgments(), self._inputs.items)
        trained = train_assistant(
            pairs,
            _cleared(out / "model"),
            self._recipe.assistant,
            threads=self._threads,
            progress=NamedProgress("assistant", progress),
        )
        return trained.as_dict()

    def _score(self, out: Path, progress: Progress) -> dict[str, Any]:
        pairs = self._folder("mine", "pairs.parquet")
        progress.start("score", pq.read_metadata(pairs).num_rows, "pairs")
        assistant = self._new_assistant()
        summary = score_pairs(assistant, [pairs], out / "scores.parquet", progress=progress)
        return {"pairs": summary.pairs, "mean_score": summary.mean_score}

    def _near_misses(self) -> pa.Table:
        """Those that were mined and that the judge did not call right."""
        mined = pq.read_table(self._folder("mine", "pairs.parquet"))
        near = mined.filter(pc.equal(mined["stratum"], "near_miss"))
        judged = self._judgments()
        right = judged.filter(judged["label"])
        pair_of = {
            "near": pc.binary_join_element_wise(near["item_id"], near["keyphrase"], "\n"),
            "right": pc.binary_join_element_wise(right["item_id"], right["keyphrase"], "\n"),
        }
        return near.filter(pc.invert(pc.is_in(pair_of["near"], value_set=pair_of["right"].combine_chunks())))

    def _train_student(self, out: Path, progress: Progress) -> dict[str, Any]:
        data = student_data(
            self._inputs.items,
            clicks=self._clicks,
            search_relevance=self._inputs.search_relevance,
            scores=pq.read_table(self._folder("score", "scores.parquet")),
            near_misses=self._near_misses(),
            verdicts=Verdicts.of(assistant_metrics(self._folder("assistant", "model"))),
            seed=self._recipe.seed,
        )
        trained = train_student(
            data,
            _cleared(out / "model"),
            self._recipe.student,
            threads=self._threads,
            progress=NamedProgress("student", progress),
        )
        return trained.metrics()

    def _evaluate(self, out: Path, progress: Progress) -> dict[str, Any]:
        from keydistill.distillation.evaluation import AssistantJudge, evaluate, sample_items, write_report

        judge = AssistantJudge(self._new_assistant())
        items = sample_items(self._inputs.items, self._recipe.evaluated_items, self._recipe.seed)
        new, present = (
            evaluate(
                Student.load(source, threads=self._threads),
                items,
                self._inputs.inventory,
                judge=judge,
                k=(1, 5, 10),
                seed=self._recipe.seed,
                progress=progress,
            )
            for source in (str(self._folder("student", "model")), self._student)
        )
        write_report(out / "report", new, present)
        return {
            which: {
                "student": evaluation.student,
                "estimates": {name: estimate.as_list() for name, estimate in evaluation.estimates.items()},
            }
            for which, evaluation in (("new", new), ("present", present))
        }


def _cleared(model: Path) -> Path:
    """Where a stage trains its model: without one that was trained when the process ended before the stage did."""
    shutil.rmtree(model, ignore_errors=True)
    return model


def _spread(pairs: pa.Table, wanted: int, seed: int) -> pa.Table:
    """At most `wanted` pairs, as many of each stratum as possible, in random order: a budget may stop anywhere."""
    stratum = pc.index_in(pairs["stratum"], value_set=pa.array(STRATA)).to_numpy()
    order = np.random.default_rng(seed).permutation(len(pairs))
    # The n-th pair of each stratum comes before the n+1-th of any.
    by_stratum = order[np.argsort(stratum[order], kind="stable")]
    counts = np.bincount(stratum, minlength=len(STRATA))
    turn = np.concatenate([np.arange(count) for count in counts])
    chosen = by_stratum[np.argsort(turn, kind="stable")][:wanted]
    return pairs.take(pa.array(chosen))
