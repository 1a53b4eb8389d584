from collections.abc import Callable, Mapping

from keydistill.runs import Kind, ReindexRun, RetrainRun, Run, SyncRun, new_run_id, now


def reindex_run(alias: str = "keyphrases") -> ReindexRun:
    run_id = new_run_id()
    return ReindexRun(
        id=run_id,
        kind="reindex",
        state="planned",
        created_at=now(),
        updated_at=now(),
        files=("/inventory.csv",),
        categories=None,
        student="tiny",
        student_version="tiny-32d-0123456789ab",
        dimension=32,
        alias=alias,
        collection=f"{alias}-{run_id}",
        previous_target=None,
        swap=True,
    )


def retrain_run() -> RetrainRun:
    return RetrainRun(
        id=new_run_id(),
        kind="retrain",
        state="planned",
        created_at=now(),
        updated_at=now(),
        order={"signals": "/signals"},
        present_student="tiny",
    )


def sync_run(alias: str = "keyphrases") -> SyncRun:
    return SyncRun(
        id=new_run_id(),
        kind="sync",
        state="planned",
        created_at=now(),
        updated_at=now(),
        files=("/inventory.csv",),
        categories=None,
        alias=alias,
        max_removed_share=0.2,
    )


NEW_RUNS: Mapping[Kind, Callable[[], Run]] = {"reindex": reindex_run, "sync": sync_run, "retrain": retrain_run}
