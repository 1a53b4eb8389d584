"""A few swaps under load on both engines: readers get no error, no empty and no mixed answer, whoever is killed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.load_log import Log
from benchmarks.load_verdict import Move, moves
from benchmarks.load_world import LIMIT, Inventories, RightAnswers, titles
from benchmarks.swap_under_load import Load, swap_under_load
from keydistill.encoders import Student
from tests.support.tiny_models import make_tiny_student

LOAD = Load(
    swaps=12, readers=8, keyphrases=60, pause=0.1, kill_every=3, sync_pause=0.3, grace=2.0, poll=0.1, gate_sample=3
)


# Seconds on a machine that is idle, minutes on one that is not.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["embedded", pytest.param("server", marks=pytest.mark.slow)])
def test_no_reader_notices_a_swap(engine: str) -> None:
    figures, examples = swap_under_load(replace(LOAD, engine=engine))
    wrong = {name: figures[name] for name in ("errors", "empty_answers", "mixed_answers", "failed_syncs")}
    assert not any(wrong.values()), (wrong, examples)
    assert figures["failed_builds"] == 0, examples
    assert figures["swaps"] >= 12
    assert figures["kills"] > 0
    assert figures["syncs"] > 0
    assert figures["of_these_rollbacks"] > 0
    # Those that keep their vectors were refused: they did follow.
    assert figures["kept_vectors_refused"] > 0
    assert figures["queries"] > 200


@pytest.fixture(scope="module")
def right(tiny_student: Student, tmp_path_factory: pytest.TempPathFactory) -> RightAnswers:
    other = Student.load(str(make_tiny_student(tmp_path_factory.mktemp("students") / "other", seed=1)), device="cpu")
    return RightAnswers([tiny_student, other], Inventories(60), titles(4))


def answered(student: Student, version: int, title: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """What brute force finds, written anew."""
    inventory = Inventories(60)
    texts = [text for text, held in zip(inventory.texts(), inventory.holds(version), strict=True) if held]
    scores = student.embed_keyphrases(texts) @ student.embed_items(titles(4))[title]
    best = np.argsort(-scores)[:LIMIT]
    return tuple(texts[place] for place in best), tuple(float(scores[place]) for place in best)


def test_only_the_exact_answer_counts_as_right(right: RightAnswers, tiny_student: Student) -> None:
    version = tiny_student.version
    keyphrases, scores = answered(tiny_student, 3, 0)
    assert right.is_right(version, 0, (keyphrases, scores), [3])
    assert right.nothing_in_common()
    (other,) = (each for each in right.students if each != version)
    assert not right.is_right(other, 0, (keyphrases, scores), [3])
    assert not right.is_right(version, 1, (keyphrases, scores), [3])
    assert not right.is_right(version, 0, (keyphrases[:-1], scores[:-1]), [3])
    assert not right.is_right(version, 0, (keyphrases[::-1], scores[::-1]), [3])
    assert not right.is_right(version, 0, (keyphrases, tuple(score + 0.01 for score in scores)), [3])
    assert not right.is_right(version, 0, (keyphrases, scores), [20])


def test_versions_of_the_inventory_differ_within_what_a_sync_may_remove(tmp_path: Path) -> None:
    inventory = Inventories(60)
    for version in range(45):
        before, after = inventory.holds(version), inventory.holds(version + 1)
        assert before.sum() == after.sum() == 60
        assert (before & ~after).sum() == 6
    inventory.write(2, tmp_path / "inventory.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "inventory.jsonl").read_text().splitlines()]
    assert [row["search_volume"] for row in rows] == np.flatnonzero(inventory.holds(2)).tolist()


def test_moves_that_a_killed_process_could_not_note(tmp_path: Path) -> None:
    log = Log(tmp_path)

    def note(what: str, by: str, before: str | None, after: str) -> None:
        log.note(what, by=by, before=before, after=after)

    for what in ("moving", "moved"):
        note(what, "build", None, "a")
    note("moving", "build", "a", "b")  # killed, and it was done
    for what in ("moving", "moved"):
        note(what, "sync", "b", "b-1")
    note("moving", "build", "b-1", "c")  # killed, and it was not done
    for what in ("moving", "moved"):
        note(what, "build", "b-1", "c")
    note("moving", "build", "c", "d")  # killed at the very end, and it was done
    found: list[Move] = moves(log, "d")
    assert [(move.before, move.after) for move in found] == [
        (None, "a"),
        ("a", "b"),
        ("b", "b-1"),
        ("b-1", "c"),
        ("c", "d"),
    ]


def test_answers_amid_deletes_are_whole_or_short_and_not_mixed(right: RightAnswers, tiny_student: Student) -> None:
    inventory = Inventories(60)
    texts = inventory.texts()
    older, newer = inventory.holds(3), inventory.holds(4)
    all_scores = tiny_student.embed_items(titles(4)) @ tiny_student.embed_keyphrases(texts).T
    # A title whose first hits have one that is being deleted.
    title, ranked, leaving = next(
        (title, ranked, leaving[0])
        for title, scores in enumerate(all_scores)
        for ranked in [[place for place in np.argsort(-scores).tolist() if (older | newer)[place]]]
        if (leaving := [place for place in ranked[:LIMIT] if not newer[place]])
    )
    staying = next(place for place in ranked if older[place] and newer[place])

    def kind(places: list[int], scale: float = 1.0) -> str | None:
        scores = tuple(float(all_scores[title, place]) * scale for place in places)
        answer = tuple(texts[place] for place in places), scores
        return right.amid_deletes(tiny_student.version, title, answer, 3, 4)

    def without(lacking: int) -> list[int]:
        return [place for place in ranked if place != lacking]

    assert kind(ranked[:LIMIT]) == "whole"
    assert kind(without(leaving)[:LIMIT]) == "whole"
    assert kind([place for place in ranked[:LIMIT] if place != leaving]) == "short"
    assert kind([place for place in ranked[:LIMIT] if place != staying]) is None
    assert kind(without(staying)[:LIMIT]) is None
    assert kind(without(leaving)[:LIMIT], scale=1.1) is None
    assert kind(without(leaving)[:LIMIT][::-1]) is None
