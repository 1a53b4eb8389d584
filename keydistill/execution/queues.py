"""Which queue the next piece of a run waits in, and the message that makes a worker take it up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from keydistill.distillation.retrain import STAGES
from keydistill.runs import Kind, RetrainRun, Run, State, retrain_of


class Send(Protocol):
    """A function that sends a message to the workers."""

    def __call__(self, task: str, *arguments: object, queue: str) -> None:
        """Put a task with its arguments into a queue."""


@dataclass(frozen=True, slots=True)
class Message:
    """A task with its arguments, and the queue whose workers do it."""

    task: str
    arguments: tuple[object, ...]
    queue: str

    def send(self, send: Send) -> None:
        """Send the message through a `Send`."""
        send(self.task, *self.arguments, queue=self.queue)

    def __str__(self) -> str:
        return " ".join(map(str, (self.task, *self.arguments)))


# Verification and gate embed, too, and so need the student. A retrain goes by its stages.
STATE_QUEUES: Mapping[Kind, Mapping[State, str]] = {
    "reindex": {
        "planned": "control",
        "snapshot": "control",
        "building": "control",
        "verifying": "embed",
        "gating": "embed",
        "ready": "control",
    },
    "sync": {"planned": "control", "snapshot": "control", "applying": "embed"},
}
# After the last stage the new versions are registered; judging waits for an endpoint, everything else computes.
STAGE_QUEUES: Mapping[str, str] = {
    stage: "judge" if stage in ("judge", "judge_lists") else "train" for stage in (*STAGES, "register")
}


def next_stage(run: Run) -> str:
    """The first stage of a retrain that is not done; "register" after all of them."""
    done = retrain_of(run).stages_done
    return next((stage for stage in STAGES if stage not in done), "register")


def queue_of(run: Run) -> str:
    """The queue whose workers do what comes next in a run that is not over."""
    return STAGE_QUEUES[next_stage(run)] if isinstance(run, RetrainRun) else STATE_QUEUES[run.kind][run.state]


def message_of(run: Run) -> Message:
    """The message that makes a worker take a run up."""
    task = "keydistill.retrain_stages" if isinstance(run, RetrainRun) else "keydistill.advance"
    return Message(task, (run.id,), queue_of(run))


def part_message(run: Run, number: int) -> Message:
    """The message that makes a worker embed a part of a reindex."""
    return Message("keydistill.embed_part", (run.id, number), "embed")
