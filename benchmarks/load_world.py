"""What is known beforehand of swaps under load: inventories by version, items, and every right answer.

The answers are computed here by brute force from the texts alone; no collection, index or engine is asked.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import Student

LIMIT = 10
# Two scores closer than this may change places: batches of other shapes round otherwise.
_TIE = 1e-5
_ROUNDING = 1e-4
# A version comes back after so many; no two that can be live at the same time are alike.
_VERSIONS = 40
_WORDS = [
    *("red", "blue", "green", "black", "white", "vintage", "large", "small", "cheap", "new", "used", "wooden", "metal"),
    *("leather", "cotton", "digital", "wireless", "portable", "phone", "case", "lamp", "desk", "chair", "shoe", "boot"),
    *("watch", "sofa", "drill", "tablet", "camera", "bike", "tent", "guitar", "kettle", "puzzle", "mirror", "shelf"),
    *("cable", "charger", "battery", "filter", "pump", "valve", "hose", "rope", "lock", "bag", "belt", "hat", "glove"),
]

# An answer as it is kept: keyphrases and rounded scores, best first.
Answered = tuple[tuple[str, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Inventories:
    """One inventory in many versions: most keyphrases stay, the others come and go.

    Attributes:
        keyphrases: In every version, of them two fifths that come and go.
    """

    keyphrases: int

    @property
    def _window(self) -> int:
        return self.keyphrases * 2 // 5

    @property
    def _base(self) -> int:
        return self.keyphrases - self._window

    @property
    def _step(self) -> int:
        """Keyphrases that one version has and the next one lacks: a tenth, within `max_removed_share`."""
        return max(1, self.keyphrases // 10)

    def texts(self) -> list[str]:
        """Every keyphrase of any version."""
        chance = np.random.default_rng(0)
        count = self._base + self._step * _VERSIONS
        return [f"{' '.join(chance.choice(_WORDS, 3))} {number}" for number in range(count)]

    def holds(self, version: int) -> NDArray[np.bool_]:
        """Which of `texts` a version holds, shape (texts,)."""
        pool = self._step * _VERSIONS
        held = np.zeros(self._base + pool, dtype=np.bool_)
        held[: self._base] = True
        held[self._base + (version * self._step + np.arange(self._window)) % pool] = True
        return held

    def write(self, version: int, path: Path) -> None:
        """Put a version in the place of the one that is in the file, at once."""
        texts, held = self.texts(), self.holds(version)
        rows = [{"keyphrase": texts[place], "search_volume": int(place)} for place in np.flatnonzero(held)]
        draft = path.with_name(f".{path.name}")
        draft.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        draft.replace(path)


def titles(count: int) -> list[str]:
    """Titles of items to ask for."""
    chance = np.random.default_rng(1)
    return [f"{' '.join(chance.choice(_WORDS, 4))} new in box" for _ in range(count)]


class RightAnswers:
    """What each student must find for each title in each version, in a brute-force comparison with every keyphrase."""

    def __init__(self, students: Iterable[Student], inventories: Inventories, asked: list[str]) -> None:
        texts = inventories.texts()
        self._inventories = inventories
        self._places = {text: place for place, text in enumerate(texts)}
        self._scores = {
            student.version: student.embed_items(asked) @ student.embed_keyphrases(texts).T for student in students
        }
        self._held: dict[int, NDArray[np.bool_]] = {}

    @property
    def students(self) -> tuple[str, ...]:
        """Their versions."""
        return tuple(self._scores)

    def is_right(self, student_version: str, title: int, answered: Answered, versions: Iterable[int]) -> bool:
        """Whether it is the answer of that student to the union of these versions, with the right scores."""
        found, given = answered
        held = np.any([self._holds(version) for version in versions], axis=0)
        scores = np.where(held, self._scores[student_version][title], -np.inf)
        best = np.argsort(-scores, kind="stable")[: min(LIMIT, int(held.sum()))]
        places = [self._places.get(text, -1) for text in found]
        if len(places) != len(best) or len(set(places)) != len(places) or -1 in places:
            return False
        return all(
            held[ours]
            and abs(scores[ours] - score) <= _ROUNDING
            and (ours == right or abs(scores[ours] - scores[right]) <= _TIE)
            for ours, right, score in zip(places, best.tolist(), given, strict=True)
        )

    def amid_deletes(
        self, student_version: str, title: int, answered: Answered, older: int, newer: int
    ) -> Literal["whole", "short"] | None:
        """Whether some of what `older` has and `newer` lacks was deleted amid this answer, and all else is right.

        The new rows of a version are in before the old ones are deleted, and a server finds points before it reads
        them: an answer may lack any of those that are deleted, and then go on with the next ones, or be short.

        Returns:
            "whole": it has as many hits as it should; "short": fewer; None: it is not such an answer.
        """
        found, given = answered
        leaving = self._holds(older) & ~self._holds(newer)
        held = self._holds(older) | self._holds(newer)
        scores = self._scores[student_version][title]
        places = [self._places.get(text, -1) for text in found]
        if -1 in places or len(set(places)) != len(places) or not all(held[place] for place in places):
            return None
        ours = scores[places]
        if np.any(np.abs(ours - np.array(given)) > _ROUNDING) or np.any(np.diff(ours) > _TIE):
            return None
        size = min(LIMIT, int((held & ~leaving).sum()))
        kind: Literal["whole", "short"] = "whole" if len(places) >= size else "short"
        ranked = [place for place in np.argsort(-scores, kind="stable").tolist() if held[place]]
        # A short one may lack any of the first ones; a whole one has skipped only what is above its last.
        above = (
            scores[ranked] > ours.min() + _TIE if kind == "whole" and len(places) else np.arange(len(ranked)) < LIMIT
        )
        missing = {place for place, is_due in zip(ranked, above, strict=True) if is_due} - set(places)
        return kind if all(leaving[place] for place in missing) else None

    def nothing_in_common(self) -> bool:
        """Whether no title has the same answer by two students; otherwise a mixed answer might look right."""
        tops = [np.argsort(-scores[:, self._holds(0)], axis=1)[:, :LIMIT] for scores in self._scores.values()]
        return all(not np.array_equal(first, second) for first, second in zip(*tops, strict=True))

    def _holds(self, version: int) -> NDArray[np.bool_]:
        if version not in self._held:
            self._held[version] = self._inventories.holds(version)
        return self._held[version]
