"""What logs and traces have of a run while it is worked on."""

from collections.abc import Iterator
from contextlib import contextmanager

from keydistill.runs import ReindexRun, RetrainRun, Run
from keydistill.telemetry import log_context, span


@contextmanager
def at_work_on(run: Run, what: str, part: int | None = None) -> Iterator[None]:
    """Name the run in every line that the block logs, and go on with the run's trace.

    Args:
        run: The run.
        what: What the block does, for the span.
        part: Part of it.
    """
    alias = None if isinstance(run, RetrainRun) else getattr(run, "alias", None)
    generation = run.collection if isinstance(run, ReindexRun) else None
    with (
        log_context(run_id=run.id, part=part, alias=alias, generation=generation),
        span(what, parent=run.trace, run_id=run.id, part=part, alias=alias, generation=generation, state=run.state),
    ):
        yield
