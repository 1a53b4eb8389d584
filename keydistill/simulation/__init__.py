"""A marketplace with known truth: items, keyphrases, clicks with position and middleman bias, a noisy judge.

>>> import tempfile
>>> from pathlib import Path
>>> settings = MarketplaceSettings(items=50, keyphrases=200, seed=1)
>>> with tempfile.TemporaryDirectory() as folder:
...     summary = simulate(Path(folder, "market"), settings)
...     print(summary.rows["items"], summary.rows["inventory"])
50 200
"""

from keydistill.simulation.any_pair_judge import SimulatedJudge
from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.marketplace import Summary, simulate
from keydistill.simulation.scoring import Score, read_truth, score

__all__ = [
    "MarketplaceSettings",
    "Score",
    "SimulatedJudge",
    "Summary",
    "read_truth",
    "score",
    "simulate",
]
