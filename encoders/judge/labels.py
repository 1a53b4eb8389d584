"""A judge that looks its judgments up: human labels, a public data set, a simulation."""

from collections.abc import Generator, Iterable, Mapping
from hashlib import sha256

from keydistill.encoders.judge.judgment import Judgment, Pair, Problem, Usage

Label = tuple[bool, float | None]


class LabelTable:
    """A judge that looks judgments up in a table, by item and keyphrase; see `Judge`.

    Args:
        name: Name of the judge.
        version: Version of the table, which stands in the column `prompt_version`.
        labels: (item_id, normalised keyphrase) to label and, where there is one, probability of yes.
    """

    def __init__(self, name: str, version: str, labels: Mapping[tuple[str, str], Label]) -> None:
        self._name = name
        self._version = version
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __repr__(self) -> str:
        return f"LabelTable({self._name!r}, {len(self):,} labels)"

    @property
    def name(self) -> str:
        """Name of the table."""
        return self._name

    @property
    def prompt_version(self) -> str:
        """Version of the table."""
        return self._version

    def get(self, item_id: str, keyphrase: str) -> Label | None:
        """Label and probability of a pair, None if the table does not know it."""
        return self._labels.get((item_id, keyphrase))

    def key(self, pair: Pair) -> bytes:
        """Hash of the table, the item's id and the keyphrase."""
        return sha256("\0".join(("labels", self._name, self._version, pair.item_id, pair.keyphrase)).encode()).digest()

    def estimate(self, pair: Pair) -> Usage:
        """No tokens: looking up costs none."""
        return Usage()

    def judge_many(self, pairs: Iterable[Pair]) -> Generator[tuple[Pair, Judgment], None, None]:
        """Look pairs up, as `Judge.judge_many` says; a pair that the table does not have is left without a label."""
        for pair in pairs:
            entry = self.get(pair.item_id, pair.keyphrase)
            if entry is None:
                yield pair, Judgment(None, problem=Problem("not_in_table", "the table has no such pair"))
            else:
                yield pair, Judgment(*entry)
