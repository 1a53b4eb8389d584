"""A collection and its student, bound together."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from keydistill.errors import CollectionNotFoundError, CollectionStateError, StudentError, StudentMismatchError
from keydistill.retrieval import Generation, QueryVector, Retriever
from keydistill.vectorstore import CollectionSpec
from tests.retrieval.conftest import EXACT, KEYPHRASES, TITLES, World


def is_one_line(error: BaseException) -> bool:
    return "\n" not in str(error) and len(str(error)) > 20


def test_it_is_read_from_the_metadata(world: World) -> None:
    generation = Generation.load(world.engine, world.alias, world.loads, params=EXACT)
    student = world.students["a"]
    assert generation.collection == world.names["a"]
    assert (generation.student_version, generation.dimension) == (student.version, student.dimension)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(generation, "collection", "other")  # noqa: B010


def test_it_finds_what_exact_search_finds(world: World) -> None:
    generation, student = world.of("b"), world.students["b"]
    lists = generation.recommend(TITLES, 5)
    scores = student.embed_items(TITLES) @ student.embed_keyphrases(KEYPHRASES).T
    for hits, row in zip(lists, scores, strict=True):
        assert [hit.score for hit in hits] == pytest.approx(np.sort(row)[::-1][:5].tolist(), abs=1e-5)
    assert generation.recommend([], 5) == []
    assert Retriever(world.engine, world.names["b"], student, EXACT).recommend(TITLES, 5) == lists


def test_a_vector_of_another_student_is_refused(world: World) -> None:
    a, b = world.of("a"), world.of("b")
    vectors = a.embed(TITLES)
    assert {vector.student_version for vector in vectors} == {a.student_version}
    with pytest.raises(StudentMismatchError, match=a.student_version) as refused:
        b.query(vectors, 3)
    assert b.student_version in str(refused.value)
    assert is_one_line(refused.value)
    # A collection of the same student takes it.
    assert len(world.of("a2").query(vectors, 3)) == len(TITLES)
    with pytest.raises(StudentMismatchError, match="shape"):
        a.query([QueryVector(vectors[0].vector[:5], a.student_version)])
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(vectors[0], "student_version", b.student_version)  # noqa: B010


def test_a_student_that_did_not_build_the_collection_is_refused(world: World) -> None:
    with pytest.raises(StudentMismatchError, match=world.names["b"]) as refused:
        Retriever(world.engine, world.names["b"], world.students["a"])
    assert is_one_line(refused.value)


def test_a_student_that_was_replaced_is_refused(world: World) -> None:
    collection = world.build("b", folder=Path(world.students["a"].source))
    with pytest.raises(StudentMismatchError):
        Generation.load(world.engine, collection, world.loads)
    gone = world.build("b", folder=Path("/nowhere/student"))
    with pytest.raises(StudentError):
        Generation.load(world.engine, gone, world.loads)


def test_loaded_students_are_used_again(world: World) -> None:
    generation = Generation.load(world.engine, world.names["a2"], world.loads, loaded=world.students.values())
    assert generation.student is world.students["a"]
    assert world.loads.sources == []


@pytest.mark.parametrize("metadata", [{}, {"student": "x"}, {"student_version": "x"}])
def test_a_collection_that_names_no_student(world: World, metadata: dict[str, str]) -> None:
    name = f"bare-{world.alias}-{len(metadata)}-{''.join(metadata)}"
    world.engine.create(name, CollectionSpec(32), metadata)
    with pytest.raises(StudentMismatchError, match="metadata") as refused:
        Generation.load(world.engine, name, world.loads)
    assert is_one_line(refused.value)


def test_a_collection_that_builds_is_refused(world: World) -> None:
    student = world.students["a"]
    name = f"building-{world.alias}"
    metadata = {"student": student.source, "student_version": student.version}
    world.engine.create(name, CollectionSpec(student.dimension), metadata)
    with pytest.raises(CollectionStateError, match="building"):
        Generation.load(world.engine, name, world.loads)


def test_no_collection(world: World) -> None:
    with pytest.raises(CollectionNotFoundError):
        Generation.load(world.engine, "never-there", world.loads)
