"""What tests of verification and gate share: both engines, and a way to build on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keydistill.encoders import Student
from keydistill.execution import Reindexer
from keydistill.ingest.gate import GateReport
from keydistill.runs import ReindexRun, RunStore, open_store
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import Engine, Filter, Range
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.vectorstore.server.engine import ServerEngine


@dataclass
class Bench:
    """An engine with a home of its own; the front's collections are told apart by the alias."""

    engine: Engine
    settings: Settings

    def build(self, inventory: Path, *, swap: bool = True, **settings: Any) -> ReindexRun:
        """A reindex with other settings."""
        return Reindexer(self.settings.model_copy(update=settings), self.engine).start([inventory], swap=swap)

    @property
    def store(self) -> RunStore:
        return open_store(self.settings)

    @property
    def last(self) -> ReindexRun:
        """The newest run."""
        run = max(self.store.all(), key=lambda run: (run.created_at, run.state == "failed"))
        assert isinstance(run, ReindexRun)
        return run

    @property
    def live(self) -> str | None:
        return self.engine.aliases().get(self.settings.alias)


@contextmanager
def open_bench(kind: str, home: Path, url: str, student: str) -> Iterator[Bench]:
    """A bench on the "embedded" engine or on the "server" behind `url`."""
    settings = load_settings(home=home, student=student, alias=f"{home.parent.name}-{home.name}", gate_sample=60)
    with EmbeddedEngine(home) if kind == "embedded" else ServerEngine(url) as engine:
        yield Bench(engine, settings)


def report_of(run: ReindexRun) -> GateReport:
    """The stored report."""
    return GateReport.from_dict(run.gate)


def only_loads(monkeypatch: pytest.MonkeyPatch, *students: Student) -> None:
    """Students come from memory: loading them again would take longer than the tests."""
    by_source: dict[tuple[str, int], Student] = {(student.source, student.dimension): student for student in students}
    load = Student.load

    def loaded(source: str, *, dimension: int | None = None, **options: Any) -> Student:
        for (known, size), student in by_source.items():
            if known == source and dimension in (None, size):
                return student
        return load(source, dimension=dimension, **options)

    monkeypatch.setattr(Student, "load", loaded)


def losing(filter: Filter | None, field: str) -> Filter | None:
    """The filter as an index answers it that has lost the points of small search volume."""
    if filter is None or all(condition.field != field for condition in filter.must):
        return filter
    return Filter((*filter.must, Range("search_volume", gte=40)))
