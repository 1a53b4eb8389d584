"""What the readers of a load test were answered, judged; and how long it took."""

import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load_log import Log
from benchmarks.load_readers import Kept
from benchmarks.load_world import RightAnswers


@dataclass(frozen=True, slots=True)
class Move:
    """The alias came to name `after`, at some time from `began` to `ended`."""

    began: float
    ended: float
    by: str
    before: str | None
    after: str


@dataclass(slots=True)
class Verdict:
    """Answers by what they are worth.

    Attributes:
        counts: Of `right` (of these `amid_a_sync`), `empty`, `short`, `mixed`, `missed_by_the_graph`, `errors`,
            `refused`.
        examples: What was wrong, the first few.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def wrong(self, kind: str, text: str) -> None:
        """Count it, and keep it if it is among the first."""
        self.counts[kind] += 1
        if len(self.examples) < 10:
            self.examples.append(f"{kind}: {text}")


def moves(log: Log, live: str | None) -> list[Move]:
    """Every move of the alias, in order; `live` is what it names at the end.

    A mover that was killed before it could note that it had moved the alias had moved it, if the next one found it so.
    """
    events = [event for event in log.events() if event["what"] in ("moving", "moved")]
    certain: list[Move] = []
    open_ends: list[Move] = []
    for place, event in enumerate(events):
        if event["what"] == "moved":
            continue
        following = next((each for each in events[place + 1 :] if each["by"] == event["by"]), {"what": None})
        move = Move(event["at"], following.get("at", event["at"]), event["by"], event["before"], event["after"])
        (certain if following["what"] == "moved" else open_ends).append(move)
    for move in open_ends:
        later = min((each for each in certain if each.ended > move.began), key=lambda each: each.ended, default=None)
        if move.after == (live if later is None else later.before):
            certain.append(replace(move, ended=move.began))
    return sorted(certain, key=lambda move: move.ended)


def judge(
    folder: Path, log: Log, moved: list[Move], built_by: Mapping[str, str], right: RightAnswers, *, in_place: bool
) -> tuple[Verdict, list[Kept]]:
    """Compare every answer with those that may be right.

    An answer names its collection. It must be, exactly, what that collection's student finds in one version of the
    inventory: none older than the last whose sync was through before the question came (or before the alias left the
    collection), none newer than the last whose sync had begun when the answer came. Where collections change in place,
    an answer may also come from between two versions, when the new rows are in and the old ones are not out yet. Where
    they never change, all answers of one collection must be of one and the same version.

    Old rows leave one by one: an answer may lack some of them and not others. Where it has fewer hits than it should,
    for the server found points that were deleted before it read them, it is short and not mixed.

    A wrong answer that came a second time, while a comparison with all points gave the right one, is not mixed: the
    graph does not find that point. It is counted by itself.

    Args:
        folder: Has what the readers wrote.
        log: The events.
        moved: See `moves`.
        built_by: Collection to the version of the student that built it, by the records of the runs.
        right: Knows every answer.
        in_place: Whether collections change in place.
    """
    verdict = Verdict()
    kept: list[Kept] = [
        one for file in sorted(folder.glob("readers-*.pickle")) for one in pickle.loads(file.read_bytes())
    ]
    begun, through = _versions(log, "syncing"), _versions(log, "synced")
    times = _times_live(moved)
    of_collection: dict[str, set[int]] = {}

    @cache
    def states(student: str, title: int, answered: Any, first: int, last: int) -> tuple[frozenset[int], bool]:
        single = frozenset(
            version for version in range(first, last + 1) if right.is_right(student, title, answered, [version])
        )
        between = (
            in_place
            and not single
            and any(
                right.is_right(student, title, answered, [older, newer])
                for older in range(first, last + 1)
                for newer in range(older + 1, last + 1)
            )
        )
        return single, between

    @cache
    def amid_deletes(student: str, title: int, answered: Any, first: int, last: int) -> str | None:
        pairs = ((older, newer) for older in range(first, last + 1) for newer in range(older + 1, last + 1))
        kinds = {right.amid_deletes(student, title, answered, *pair) for pair in pairs} if in_place else set()
        return "whole" if "whole" in kinds else "short" if "short" in kinds else None

    def span(collection: str, began: float, ended: float) -> tuple[int, int]:
        held = max((min(began, left) for came, left in times.get(collection, []) if came <= began), default=0.0)
        return _last_before(through, held), _last_before(begun, ended)

    def of_the_graph() -> Iterator[tuple[str, int, Any]]:
        """Answers that came a second time, while a comparison with all points gave a right one."""
        for one in kept:
            generations, answers = list(one.generations), list(one.answers)
            for row, again, exact in one.checks:
                began, ended, generation, title, place = one.rows[row]
                collection, student = generations[generation]
                first, last = span(collection, began, ended)
                # The question came again a moment later: one sync may have begun since.
                if again == answers[place] and any(states(student, title, exact, first, last + 1)):
                    yield collection, title, again

    # Where one reader met the next version when it asked again, another one's check says it all the same.
    missed = set(of_the_graph())
    for one in kept:
        generations, answers = list(one.generations), list(one.answers)
        verdict.counts["refused"] += one.refused
        for text in one.errors:
            verdict.wrong("errors", text)
        for began, ended, generation, title, place in one.rows:
            collection, student = generations[generation]
            answered = answers[place]
            first, last = span(collection, began, ended)
            if not answered[0]:
                verdict.wrong("empty", f"{collection}, title {title}")
                continue
            single, between = states(student, title, answered, first, last)
            if built_by.get(collection) == student and not (single or between):
                kind = amid_deletes(student, title, answered, first, last)
                if kind == "short":
                    text = f"{collection} by {student}, title {title}, versions {first} to {last}: {answered}"
                    verdict.wrong("short", text)
                    continue
                between = kind == "whole"
            if built_by.get(collection) != student or not (single or between):
                by_graph = built_by.get(collection) == student and (collection, title, answered) in missed
                text = f"{collection} by {student}, title {title}, versions {first} to {last}: {answered}"
                verdict.wrong("missed_by_the_graph" if by_graph else "mixed", text)
                continue
            if not in_place:
                common = of_collection.setdefault(collection, set(single))
                common &= single
                if not common:
                    verdict.wrong("mixed", f"{collection}: answers of different versions of the inventory")
                    continue
            verdict.counts["right"] += 1
            verdict.counts["amid_a_sync"] += between
    return verdict, kept


def _times_live(moved: list[Move]) -> dict[str, list[tuple[float, float]]]:
    """Per collection when the alias began to name it, and when something else was about to take its place."""
    found: dict[str, list[tuple[float, float]]] = {}
    for move, following in zip(moved, [*moved[1:], None], strict=True):
        left = following.began if following is not None else np.inf
        found.setdefault(move.after, []).append((move.began, left))
    return found


def _versions(log: Log, what: str) -> tuple[NDArray[np.float64], list[int]]:
    events = log.events(what)
    return np.array([event["at"] for event in events]), [event["version"] for event in events]


def _last_before(events: tuple[NDArray[np.float64], list[int]], time: float) -> int:
    place = int(np.searchsorted(events[0], time, side="right"))
    return events[1][place - 1] if place else 0
