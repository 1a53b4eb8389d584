"""Progress whose step is interrupted by a wait."""

from keydistill.progress import WaitingProgress
from tests.support.heard_progress import HeardProgress


def test_step_goes_on_where_it_was() -> None:
    heard = HeardProgress()
    progress = WaitingProgress(heard)
    progress.waiting("")
    progress.start("embed", 10, "keyphrases")
    progress.advance(4)
    progress.waiting("waiting for Qdrant, up to 10 min")
    progress.waiting("")
    assert heard.totals == [("embed", 10), ("waiting for Qdrant, up to 10 min", None), ("embed", 10)]
    assert heard.counts == [4, 4]
