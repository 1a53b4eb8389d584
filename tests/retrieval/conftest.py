"""Two students whose vector spaces have nothing in common, and collections that they built, on both engines."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from keydistill.encoders import Student
from keydistill.errors import StudentError
from keydistill.retrieval import Generation, LiveRetriever
from keydistill.vectorstore import CollectionSpec, Engine, PointBatch, SearchParams
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.corpus import point_id
from tests.support.front_process import FrontProcess
from tests.support.tiny_models import make_tiny_student

EXACT = SearchParams(exact=True)
NOUNS = ("tablet", "phone", "lamp", "tail light", "shoe", "watch", "sofa", "drill")
KEYPHRASES = [f"{noun} {word}" for noun in NOUNS for word in ("case", "black", "used", "for kids", "2014", "large")]
TITLES = [f"{noun} new in box {number}" for number, noun in enumerate(NOUNS)]


@dataclass
class Loads:
    """Loads students as a service does, and counts; those that are `known` it has at hand, which saves time."""

    sources: list[str] = field(default_factory=list)
    known: dict[str, Student] = field(default_factory=dict)
    failures: int = 0

    def __call__(self, source: str, dimension: int, version: str) -> Student:
        self.sources.append(source)
        if self.failures:
            self.failures -= 1
            raise StudentError("a failure that the test ordered")
        return self.known.get(source) or Student.load(source, dimension=dimension, device="cpu")


@dataclass
class World:
    """An engine with a live collection `a`, and `b` of the other student, and `a2` of the first student again."""

    engine: Engine
    url: str | None
    students: dict[str, Student]
    names: dict[str, str]
    alias: str
    loads: Loads = field(default_factory=Loads)

    def build(self, student: str, folder: Path | None = None, keyphrases: list[str] = KEYPHRASES) -> str:
        """A ready collection."""
        built_by = self.students[student]
        name = f"keyphrases-{uuid4().hex[:12]}"
        source = str(folder or built_by.source)
        metadata = {"student": source, "student_version": built_by.version}
        self.engine.create(name, CollectionSpec(built_by.dimension, quantization="none"), metadata)
        payloads = [{"keyphrase": keyphrase} for keyphrase in keyphrases]
        vectors = built_by.embed_keyphrases(keyphrases)
        self.engine.upsert(name, PointBatch([point_id(text) for text in keyphrases], vectors, payloads))
        self.engine.finish(name)
        return name

    def swap(self, name: str) -> None:
        collection = self.names.get(name, name)
        self.engine.swap_alias(self.alias, collection, self.engine.aliases().get(self.alias))

    def open(self, poll_seconds: float = 0.02, params: SearchParams | None = EXACT) -> LiveRetriever:
        return LiveRetriever(self.engine, self.alias, self.loads, params=params, poll_seconds=poll_seconds)

    def of(self, name: str) -> Generation:
        """The generation of a collection, beside any live one."""
        info = self.engine.info(self.names.get(name, name))
        student = next(one for one in self.students.values() if one.version == info.metadata["student_version"])
        return Generation.of(self.engine, info, student, EXACT)


@pytest.fixture(scope="session")
def two_students(tiny_student: Student, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Student]:
    other = make_tiny_student(tmp_path_factory.mktemp("students") / "other", seed=1)
    return {"a": tiny_student, "b": Student.load(str(other), device="cpu")}


@pytest.fixture(scope="session", params=["embedded", "front"])
def built(
    request: pytest.FixtureRequest, two_students: dict[str, Student], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with EmbeddedEngine(folder) as engine:
            yield _filled(engine, None, two_students)
    else:
        # The client keeps no connection to this machine open, and one thread may close what httpx has just given to
        # another ("bad file descriptor"): a repeat is what a service has, too. More would hide that a server is gone.
        with FrontProcess(folder) as front, ServerEngine(front.url, retries=1) as server:
            yield _filled(server, front.url, two_students)


def _filled(engine: Engine, url: str | None, students: dict[str, Student]) -> World:
    world = World(engine, url, students, {}, "")
    world.names = {"a": world.build("a"), "b": world.build("b"), "a2": world.build("a")}
    return world


@pytest.fixture
def world(built: World) -> World:
    """The collections, `a` behind an alias of this test's own."""
    loads = Loads(known={student.source: student for student in built.students.values()})
    own = World(built.engine, built.url, built.students, built.names, f"alias-{uuid4().hex[:12]}", loads)
    own.swap("a")
    return own
