"""The common part of the trainings of student and assistant: arguments, progress, checkpoints, silence."""

from __future__ import annotations

import json
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME

from keydistill.files import replace_json
from keydistill.progress import Progress

_DONE = "done.json"
_PROBES = 10
_WORTH_CASTING = 1.2
logger = logging.getLogger(__name__)


def common_arguments(
    folder: Path, *, steps: int, every: int, score: str | None, seed: int, precision: str
) -> dict[str, Any]:
    """Arguments of sentence-transformers' trainers that do not depend on what is trained.

    Args:
        folder: Folder of the checkpoints.
        steps: Steps of the whole training.
        every: Steps between two checkpoints, and between two scores.
        score: Name of the held-out score, of which more is better and the best checkpoint is kept; None without any.
        seed: Seed of everything random.
        precision: Precision as recipes name it: "auto", "fp32" or "bf16".
    """
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "linear",
        "seed": seed,
        "data_seed": seed,
        "bf16": uses_bf16(precision),
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "eval_strategy": "no" if score is None else "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        # Restore the number of evaluations without a better score.
        "restore_callback_states_from_checkpoint": True,
        "load_best_model_at_end": score is not None,
        "metric_for_best_model": score,
        "greater_is_better": None if score is None else True,
        "logging_steps": max(1, steps // 50),
        "disable_tqdm": True,
        "report_to": "none",
    }


def uses_bf16(precision: str) -> bool:
    """Whether to train in bf16: where the recipe wants it, or where the machine computes faster in it."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _bf16_is_faster())


@lru_cache(maxsize=1)
def _bf16_is_faster() -> bool:
    """Whether products of matrices are faster in bf16, by enough to make up for the casts around them.

    Not every CPU that has the instructions has them fast: of one with AVX512-BF16 whose AMX the hypervisor hides,
    bfloat16 reaches half of the rate of fp32, of a Zen 4 twice.
    """

    def seconds(dtype: torch.dtype) -> float:
        # A batch of 64 titles through a feed-forward layer of the base.
        left, right = torch.ones(1_280, 384, dtype=dtype), torch.ones(384, 1_536, dtype=dtype)
        times = []
        for _ in range(_PROBES):
            began = time.perf_counter()
            left @ right
            times.append(time.perf_counter() - began)
        return min(times)

    return seconds(torch.float32) > _WORTH_CASTING * seconds(torch.bfloat16)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence bars, log lines and warnings of the libraries below, which know nothing of our output."""
    from datasets.utils.logging import disable_progress_bar as disable_datasets_bar
    from transformers.utils import logging as transformers_logging

    disable_datasets_bar()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    level = logging.getLogger("sentence_transformers").level
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(before)
        logging.getLogger("sentence_transformers").setLevel(level)


class WithoutCards:
    """What trainers of sentence-transformers do without: model cards, for which they embed examples of what is learned.

    The registry writes a card of its own. A checkpoint's would compile its template anew each time, a sixth of the
    time that a training of few steps takes.
    """

    model: Any
    args: Any

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave it out."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        self.model.save_pretrained(str(folder), create_model_card=False)
        torch.save(self.args, folder / TRAINING_ARGS_NAME)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a training.

    Attributes:
        steps: Number of steps that were made.
        best_score: Best held-out score; None without held-out pairs.
        log: Entries of the training's log.
    """

    steps: int
    best_score: float | None
    log: list[dict[str, float]]


def run_training(trainer: Any, folder: Path) -> Outcome:
    """Train, from the last whole checkpoint if there is one; a training that came to its end is not done again.

    Its model ends with the weights of the best score, without scores with the last ones.

    Args:
        trainer: Trainer of sentence-transformers, with the arguments of `common_arguments`.
        folder: Folder of its checkpoints.
    """
    record = folder / _DONE
    if record.is_file():
        # Going on from its last checkpoint would make further steps: that does not say that patience was at its end.
        outcome = json.loads(record.read_text(encoding="utf-8"))
        trainer._load_from_checkpoint(str(folder / outcome["checkpoint"]))
    else:
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
        state = trainer.state
        best = state.best_model_checkpoint
        outcome = {
            "checkpoint": Path(best).name if best else f"checkpoint-{state.global_step}",
            "steps": state.global_step,
            "best_score": state.best_metric if best else None,
            "log": state.log_history,
        }
        replace_json(record, outcome)
    return Outcome(outcome["steps"], outcome["best_score"], outcome["log"])


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is whole; those that a killed process left half written are removed."""
    checkpoints: list[tuple[int, Path]] = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            # The trainer writes it last.
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            shutil.rmtree(checkpoint)
        else:
            checkpoints.append((int(checkpoint.name.partition("-")[2]), checkpoint))
    return str(max(checkpoints)[1]) if checkpoints else None


class Steps(TrainerCallback):
    """A callback of trainers that starts progress with the steps that remain, and advances it with each step."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name = name
        self._progress = progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start progress with the steps that remain."""
        self._progress.start(self._name, state.max_steps - state.global_step, "steps")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance progress by one step."""
        self._progress.advance(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Log the trainer's figures."""
        logger.info("step %d: %s", state.global_step, logs)
