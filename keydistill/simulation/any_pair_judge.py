"""The simulated judge for any pair of a marketplace, as a language model is asked about mined pairs."""

import json
from collections.abc import Generator, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Self

import pyarrow.parquet as pq

from keydistill.encoders.judge import Judgment, Pair, Usage
from keydistill.errors import InputError
from keydistill.simulation.judge import NAME, PROMPT_VERSION
from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.marketplace import FOLDER
from keydistill.simulation.scoring import read_truth
from keydistill.tables import normalize_keyphrase

_DRAWS = 1 << 32


class SimulatedJudge:
    """Knows the truth and errs at the rates of the marketplace's knobs; see `keydistill.encoders.judge.Judge`.

    A keyphrase that is wrong for an item of its own leaf category is a near-miss, one of another category is not. What
    it says of a pair depends on the pair and the seed alone, so that it says the same whenever it is asked.
    """

    def __init__(
        self, settings: MarketplaceSettings, truth: Mapping[str, set[str]], categories: Mapping[str, frozenset[str]]
    ) -> None:
        """Take what it knows.

        Args:
            settings: Rates of its errors, and the seed.
            truth: Item id to its relevant keyphrases, normalised.
            categories: Normalised keyphrase to the paths of its leaf categories.
        """
        self._settings = settings
        self._truth = truth
        self._categories = categories

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The judge of a marketplace that `keydistill simulate` wrote.

        Raises:
            InputError: The folder holds none.
        """
        manifest = folder / FOLDER.manifest
        if not manifest.is_file():
            raise InputError(f"{folder} holds no simulated marketplace; write one with `keydistill simulate {folder}`")
        values = json.loads(manifest.read_text(encoding="utf-8"))["settings"]
        settings = MarketplaceSettings(**{**values, "sites": tuple(values["sites"])})
        inventory = pq.read_table(folder / "inventory.parquet", columns=["keyphrase", "category_path"])
        rows = zip(inventory["keyphrase"].to_pylist(), inventory["category_path"].to_pylist(), strict=True)
        return cls(
            settings,
            {
                item_id: {normalize_keyphrase(keyphrase) for keyphrase in keyphrases}
                for item_id, keyphrases in read_truth(folder / "truth.parquet").items()
            },
            {normalize_keyphrase(keyphrase): frozenset(paths or ()) for keyphrase, paths in rows},
        )

    @property
    def name(self) -> str:
        """As in `judgments.parquet`."""
        return NAME

    @property
    def prompt_version(self) -> str:
        """As in `judgments.parquet`."""
        return PROMPT_VERSION

    def key(self, pair: Pair) -> bytes:
        """Hash of the marketplace's settings and the pair."""
        return sha256("\0".join((NAME, repr(self._settings), pair.item_id, pair.keyphrase)).encode()).digest()

    def estimate(self, pair: Pair) -> Usage:
        """Nothing."""
        return Usage()

    def judge_many(self, pairs: Iterable[Pair]) -> Generator[tuple[Pair, Judgment], None, None]:
        """See `keydistill.encoders.judge.Judge.judge_many`."""
        for pair in pairs:
            yield pair, self._judge(pair)

    def _judge(self, pair: Pair) -> Judgment:
        knobs = self._settings
        if pair.keyphrase in self._truth.get(pair.item_id, ()):
            yes_rate = 1 - knobs.judge_false_negative_rate
        elif pair.category is not None and pair.category in self._categories.get(pair.keyphrase, ()):
            yes_rate = knobs.judge_false_positive_rate
        else:
            yes_rate = knobs.judge_random_false_positive_rate
        key = self.key(pair)
        draws = (int.from_bytes(key[start : start + 4], "big") / _DRAWS for start in (0, 4))
        label = next(draws) < yes_rate
        # Close to 0 or 1 most of the time, and never on the other side of the label.
        confidence = 0.001 + 0.499 * next(draws) ** (1 / 3)
        return Judgment(label, round(0.5 + confidence if label else 0.5 - confidence, 6))
