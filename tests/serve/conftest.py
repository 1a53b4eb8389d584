"""Collections that two students built, and services on them: a process of its own, and one inside the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest

from keydistill.encoders import Student
from keydistill.retrieval import LiveRetriever
from keydistill.serve import readiness
from keydistill.serve.app import Service, create_app
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import CollectionSpec, Engine, PointBatch, SearchParams, payload_indexes
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.corpus import point_id
from tests.support.service_process import ServiceProcess
from tests.support.stub_students import StubStudent
from tests.support.tiny_models import make_tiny_student

ALIAS = "keyphrases"
EXACT = SearchParams(exact=True)
NOUNS = ("tablet", "phone", "lamp", "shoe", "watch", "sofa", "drill", "bag")
WORDS = ("case", "black", "used", "for kids", "2014", "large")
KEYPHRASES = [f"{noun} {word}" for noun in NOUNS for word in WORDS]
TITLES = [f"{noun} new in box {number}" for number, noun in enumerate(NOUNS)]


def payload_of(place: int) -> dict[str, Any]:
    noun = KEYPHRASES[place].split()[0]
    return {
        "keyphrase": KEYPHRASES[place],
        "category_ids": ["Goods", f"Goods > {noun}"],
        "site": "us" if place % 2 else "de",
        "search_volume": 10 * place,
        "brand": f"b{place % 3}",
    }


def build(engine: Engine, student: Any, source: str) -> str:
    """A ready collection."""
    name = f"{ALIAS}-{uuid4().hex[:12]}"
    spec = CollectionSpec(student.dimension, payload_indexes({}), quantization="none")
    engine.create(name, spec, {"student": source, "student_version": student.version})
    vectors = student.embed_keyphrases(KEYPHRASES)
    payloads = [payload_of(place) for place in range(len(KEYPHRASES))]
    engine.upsert(name, PointBatch([point_id(text) for text in KEYPHRASES], vectors, payloads))
    engine.finish(name)
    return name


def swap(engine: Engine, name: str) -> None:
    engine.swap_alias(ALIAS, name, engine.aliases().get(ALIAS))


@dataclass
class Home:
    """A home with collections of both students, and what they must answer."""

    folder: Path
    engine: EmbeddedEngine
    students: dict[str, Student]
    names: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="session")
def home(tiny_student: Student, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    other = make_tiny_student(tmp_path_factory.mktemp("students") / "other", seed=1)
    folder = tmp_path_factory.mktemp("service-home")
    with EmbeddedEngine(folder) as engine:
        filled = Home(folder, engine, {"a": tiny_student, "b": Student.load(str(other), device="cpu")})
        filled.names = {name: build(engine, student, student.source) for name, student in filled.students.items()}
        swap(engine, filled.names["a"])
        yield filled


@pytest.fixture(scope="session")
def service(home: Home) -> Iterator[ServiceProcess]:
    """A service without keys."""
    with ServiceProcess(home.folder, alias_poll_seconds="0.05") as process:
        yield process


@pytest.fixture(scope="session")
def http(service: ServiceProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


@dataclass
class Bench:
    """A service in this process, whose students are stubs, so that tests reach into it."""

    http: httpx.AsyncClient
    service: Service
    engine: Engine
    names: dict[str, str]


OpenBench = Callable[..., Any]


@pytest.fixture(scope="session")
def stub_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedEngine, Path, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("stub-home")
    with EmbeddedEngine(folder) as engine:
        names = {name: build(engine, StubStudent(name), name) for name in ("red", "blue")}
        yield engine, folder, names


@pytest.fixture
def open_bench(stub_home: tuple[EmbeddedEngine, Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> OpenBench:
    """Opens a service on the stubs' collections; `red` is live."""
    engine, folder, names = stub_home
    # A machine that others use may stand still for as long as makes a service not ready.
    monkeypatch.setattr(readiness, "_FRESH_SECONDS", 120.0)

    @asynccontextmanager
    async def opened(*, warm: bool = True, keys_required: bool = False, **options: Any) -> AsyncIterator[Bench]:
        if engine.aliases().get(ALIAS) != names["red"]:
            swap(engine, names["red"])
        settings = load_settings(home=folder, **options)
        app = create_app(settings, keys_required=keys_required, open_retriever=_stub_retriever)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=30) as http:
                bench = Bench(http, app.state.service, engine, names)
                while warm and bench.service.readiness.reason() is not None:
                    await asyncio.sleep(0.01)
                yield bench

    return opened


def _stub_retriever(settings: Settings, engine: Engine) -> LiveRetriever:
    def load(source: str, dimension: int, version: str) -> Student:
        return cast(Student, StubStudent(source, dimension))

    return LiveRetriever(engine, settings.alias, load, params=EXACT, poll_seconds=0.02)
