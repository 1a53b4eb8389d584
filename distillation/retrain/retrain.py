"""A retrain: mine, judge, train the assistant, score, train the student, judge its lists, evaluate, register.

Each stage writes its output under the run and is skipped when that is there and nothing it depends on has changed.
Source of the order: arXiv 2508.03628.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keydistill.distillation.registry import Lineage, Registry
from keydistill.distillation.retrain.recipe import RetrainInputs, RetrainRecipe
from keydistill.distillation.retrain.stages import StageResult, Stages, digest_of
from keydistill.distillation.retrain.steps import RetrainSteps
from keydistill.distillation.student import members_folder
from keydistill.telemetry import span

if TYPE_CHECKING:
    from keydistill.distillation.registry import ModelVersion
    from keydistill.encoders.judge import Judge
    from keydistill.progress import Progress

STAGES = ("mine", "judge", "assistant", "score", "student", "judge_lists", "evaluate")


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """The models that a retrain made, and its reports.

    Attributes:
        student: The new student in the registry.
        assistant: The new assistant in the registry.
        stages: The result of each stage.
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
        """A retrain with its inputs and recipe; nothing happens before `run`.

        Args:
            folder: Folder of the run.
            inputs: Tables to learn from.
            judge: Judge that labels the mined pairs.
            registry: Registry that takes the new versions.
            student: Folder or name of the present student: it finds the pairs that need an opinion, and is what the
                new one is compared with.
            assistant: Folder of the present assistant; with it pairs are mined on which it and the signals disagree.
            recipe: Recipe of the retrain; None is the default one.
            cache: File of the judgments that are there already; None keeps one in the folder.
            threads: Threads for arithmetic on CPU.
        """
        recipe = recipe or RetrainRecipe()
        self._stages = Stages(folder)
        self._steps = RetrainSteps(
            folder, inputs, recipe, judge, student, assistant, cache or folder / "judgments.sqlite", threads
        )
        self._registry = registry
        self._lineage = Lineage.collect(
            inputs.files,
            {"recipe": asdict(recipe), "judge": judge.name, "prompt": judge.prompt_version},
            seed=recipe.seed,
        )

    def plan(self) -> dict[str, bool]:
        """Whether each stage's output is there already, as far as that can be told before earlier stages have run."""
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
            progress: Started for each step, and advanced within it.
            only: Stages that may be done; the run stops before the first one to do that is not among them.
            guard: Function that is called before each stage, and before the new versions are registered; the run ends
                if it raises.
            on_stage: Called with the result of each stage that is done, also of those done before.

        Returns:
            The result; None where the run stopped before the end.

        Raises:
            TrainingError: The judge gave too few labels to learn from.
            KeydistillError: A stage failed; the output of those before it stays.
        """
        guard = guard or (lambda: None)
        steps: Mapping[str, Callable[..., dict[str, Any]]] = {
            "mine": self._steps.mine,
            "judge": self._steps.judge_mined,
            "assistant": self._steps.train_assistant,
            "score": self._steps.score,
            "student": self._steps.train_student,
            "judge_lists": self._steps.judge_lists,
            "evaluate": self._steps.evaluate,
        }
        stage_results: list[StageResult] = []
        digest = ""
        for name in STAGES:
            depends = self._depends(name, digest)
            if name not in only and not self._stages.is_done(name, depends):
                return None
            guard()
            with span(f"stage {name}") as late:
                stage = self._stages.run(name, depends, partial(steps[name], progress=progress))
                # Its output was there.
                late["keydistill.skipped"] = stage.skipped
            if on_stage is not None:
                on_stage(stage)
            stage_results.append(stage)
            digest = stage.digest
        guard()
        progress.start("register", None, "")
        results = {stage.name: stage.result for stage in stage_results}
        assistant = self._registry.publish(
            "assistant",
            self._steps.folder_of("assistant", "model"),
            lineage=self._lineage,
            metrics=results["assistant"],
        )
        kept = members_folder(self._steps.folder_of("student", "model"))
        first, count = self._steps.recipe.student.seed, results["student"].get("averaged_seeds", 0)
        members = {
            str(seed): self._registry.publish(
                "student",
                kept / str(number),
                lineage=self._lineage,
                metrics={"seed": seed, "assistant": assistant.full_name},
            ).full_name
            for number, seed in enumerate(range(first, first + count))
        }
        student = self._registry.publish(
            "student",
            self._steps.folder_of("student", "model"),
            lineage=self._lineage,
            metrics={
                **results["student"],
                **({"seeds": members} if members else {}),
                "assistant": assistant.full_name,
                "evaluation": results["evaluate"],
            },
        )
        return RetrainResult(student, assistant, tuple(stage_results), self._steps.folder_of("evaluate", "report"))

    def _depends(self, stage: str, before: str) -> dict[str, Any]:
        """All that a stage's output follows from; the digest of the stage before stands for what went into that."""
        steps, recipe = self._steps, self._steps.recipe
        settings: Mapping[str, Any] = {
            "mine": {
                "recipe": asdict(recipe.mining),
                "held_out": recipe.held_out,
                "inputs": [(file.role, file.sha256) for file in self._lineage.inputs],
                "student": steps.student,
                "assistant": steps.assistant,
            },
            "judge": {
                "pairs": recipe.judged_pairs,
                "tokens": recipe.budget_tokens,
                "seed": recipe.seed,
                "judge": (steps.judge.name, steps.judge.prompt_version),
            },
            "assistant": steps.of_assistant,
            "score": {},
            "student": asdict(recipe.student),
            "judge_lists": {},
            "evaluate": {"items": recipe.evaluated_items, "seed": recipe.seed},
        }
        return {"settings": settings[stage], "before": before}
