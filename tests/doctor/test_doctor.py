"""`keydistill.doctor` finds what is wrong, says nothing of a sound installation, and mends only what is safe."""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version as metadata_version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.distillation.registry import Lineage, Registry
from keydistill.doctor import CHECKS, Diagnosis, Patient, diagnose
from keydistill.encoders import StudentFiles
from keydistill.runs import Fired, Sign, open_shared_store, open_signs, open_store
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import CollectionSpec, PointBatch, open_engine
from tests.runs.records import NEW_RUNS
from tests.support.corpus import point_id
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def sound(tmp_path: Path, tiny_folder: Path) -> Settings:
    """A sound installation with a live collection."""
    settings = load_settings(home=tmp_path / "home", student=str(tiny_folder))
    settings.home.mkdir(mode=0o700)
    build(settings, settings.alias)
    return settings


def build(settings: Settings, alias: str | None, *, replaces: bool = False, **metadata: Any) -> str:
    student = StudentFiles.find(settings.student)
    name = f"{alias}-{'rebuilt' if replaces else 'built'}"
    with closing(open_engine(settings)) as engine:
        spec = CollectionSpec(student.dimension, quantization="none")
        described = {
            "student": settings.student,
            "student_version": student.version,
            "installation": open_store(settings.model_copy(update={"redis_url": None})).installation(),
            **metadata,
        }
        engine.create(name, spec, described)
        vectors = np.eye(1, student.dimension, dtype=np.float32)
        engine.upsert(name, PointBatch([point_id("a")], vectors, [{"keyphrase": "a"}]))
        if alias is not None:
            engine.finish(name)
            engine.swap_alias(alias, name, f"{alias}-built" if replaces else None)
    return name


def texts(diagnoses: list[Diagnosis], check: str) -> str:
    return "\n".join(each.complaint.text for each in diagnoses if each.check == check)


def test_a_sound_installation_has_no_findings(sound: Settings) -> None:
    assert diagnose(Patient(sound)) == []


def test_every_planted_fault_is_found(
    sound: Settings, redis: RedisServer, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flush()
    home = sound.home
    settings = load_settings(
        home=home,
        student=sound.student,
        redis_url=redis.url,
        executor="celery",
        schedules={"nightly": {"cron": "0 3 * * *", "task": "prune"}, "late": {"cron": "0 3 * * *", "task": "prune"}},
        qdrant_client_certificate=tmp_path / "certificate.pem",
        build_rows_per_second=1,
    )
    store = open_shared_store(settings)
    store.installation()
    expected: list[tuple[str, str]] = []

    def plant(check: str, text: str) -> None:
        expected.append((check, text))

    plant("settings", "qdrant_client_certificate is set, and qdrant_client_key is not")
    plant("settings", "build_rows_per_second is 1: a part of 10,000 rows (part_rows) takes longer than part_seconds")
    plant("files", "which is no file here")
    home.chmod(0o755)
    plant("permissions", "has the mode 755")
    monkeypatch.setattr(Patient, "free_bytes", lambda *_: 50_000_000)
    plant("disk", "0.1 GB are free")
    monkeypatch.setattr(Patient, "free_memory", lambda *_: 100_000_000)
    plant("memory", "0.1 GB of memory are free")
    monkeypatch.setattr(Patient, "clock_skew", lambda *_: -90.0)
    plant("redis", "-90.0 s off")
    build(settings.model_copy(update={"alias": "half"}), None)
    plant("collections", "half built, and no run builds it")
    gone = build(settings, "gone")
    shutil.rmtree(home / "collections" / gone)
    plant("aliases", f"alias gone names {gone}, which is lost")
    build(settings, "strange", student_version="another")
    plant("aliases", "the student of alias strange is another")
    build(settings, "orphan", run="20260101-000000-abcdef")
    # The alias named it, and names another collection now.
    build(settings, "orphan", replaces=True)
    plant("collections", "collection orphan-built is an orphan")
    (home / "collections" / "orphan").mkdir()
    plant("collections", "orphan of a collection is in no catalogue")
    view = home / "views" / "a-0123"
    view.mkdir(parents=True)
    (view / "owner").touch()
    plant("leftovers", f"left the view {view}")
    work = home / "tmp" / ".changes-abc"
    work.mkdir(parents=True)
    os.utime(work, (0, 0))
    plant("leftovers", f"left the work folder {work}")
    (home / "restoring.json").write_text('"20260101"')
    plant("leftovers", "a restore into")
    for name, record in (("torn", "{"), ("future", json.dumps({"format": 99, "written_by": "9.9"}))):
        (home / "runs" / name).mkdir(parents=True)
        (home / "runs" / name / "run.json").write_text(record)
    (home / "runs" / "torn" / ".snapshot.partial").mkdir()
    plant("leftovers", "left the unfinished snapshot")
    plant("records", "torn/run.json cannot be read")
    plant("records", "newer keydistill (9.9, format 99")
    registry = Registry.of(settings)
    version = registry.publish("student", tiny_folder, lineage=Lineage(), metrics={})
    changed = version.folder / "config.json"
    changed.chmod(0o600)
    changed.write_text("{}")
    plant("models", "was changed after")
    (registry.root / "assistant").mkdir(exist_ok=True)
    promotion = {"version": "20260101-abc", "previous": None, "at": "", "by": "", "reason": ""}
    (registry.root / "assistant" / "promoted.json").write_text(json.dumps({"history": [promotion]}))
    plant("models", "the promoted assistant 20260101-abc is not in")
    stale = store.add(dataclasses.replace(NEW_RUNS["sync"](), state="cancelled"))
    store.reserve(stale.lease_name, stale.id, 600)
    plant("leases", f"is kept for run {stale.id}, which is cancelled")
    waiting = store.add(dataclasses.replace(NEW_RUNS["reindex"](), executor="celery"))
    plant("runs", f"run {waiting.id}: waits: no worker of queue")
    plant("runs", "no beat shows a sign of life")
    plant("schedules", "schedule nightly has never started anything")
    store.schedules.note("late", Fired("2026-01-01T03:00:00+00:00", None, None))
    plant("schedules", "schedule late missed its time twice")
    key = tmp_path / "client.key"
    key.write_text("secret")
    key.chmod(0o644)
    settings = settings.model_copy(update={"qdrant_client_certificate": None, "qdrant_client_key": key})
    expected[0] = "settings", "qdrant_client_key is set, and qdrant_client_certificate is not"
    settings = settings.model_copy(update={"gate_items": tmp_path / "missing.csv"})
    plant("secrets", f"{key} holds a secret and has the mode 644")
    config = tmp_path / "keydistill.toml"
    config.write_text('qdrant_api_key = "hush"')
    config.chmod(0o644)
    monkeypatch.setattr(Patient, "config_file", lambda *_: config)
    plant("secrets", f"{config} holds a secret")
    (home / "runs" / "forgotten" / "snapshot").mkdir(parents=True)
    plant("snapshots", "forgotten/snapshot is a snapshot of no run")
    with (home / "history.jsonl").open("a") as log:
        log.write('{"at": "2026-0')
    plant("records", "history.jsonl: its last line was cut off")
    signs = open_signs(settings)
    signs.give(Sign(name="embed@ahead", queues=["judge"], at=time.time() + 60, stopped=[], version="0.0.1"))
    signs.close()
    plant("redis", "the clock of embed@ahead is")
    plant("servers", "embed@ahead runs keydistill 0.0.1, here is")
    monkeypatch.setattr(Patient, "redis_version", lambda *_: "5.0.7")
    plant("servers", "Redis is of version 5.0.7; expected 7.2 or newer")
    monkeypatch.setattr(
        "keydistill.doctor.versions.version", lambda name: "0.0.1" if name == "numpy" else metadata_version(name)
    )
    plant("packages", "numpy 0.0.1 is installed, keydistill is tested with")

    began = time.monotonic()
    diagnoses = diagnose(Patient(settings))
    print(f"{len(expected)} faults in {time.monotonic() - began:.2f} s")
    assert len(expected) >= 15
    for check, text in expected:
        assert text in texts(diagnoses, check), (check, text, texts(diagnoses, check))
    assert all(each.complaint.cure and "\n" not in each.complaint.text for each in diagnoses)

    fixed = {each.complaint.text for each in diagnose(Patient(settings), fix=True) if each.fixed}
    remaining = diagnose(Patient(settings))
    assert fixed
    assert not fixed & {each.complaint.text for each in remaining}
    assert home.stat().st_mode & 0o777 == 0o700
    assert store.holder(stale.lease_name) is None
    assert not work.exists()
    assert key.stat().st_mode & 0o777 == config.stat().st_mode & 0o777 == 0o600
    assert (home / "history.jsonl.torn").read_text() == '{"at": "2026-0\n'
    assert (home / "collections" / "orphan").exists()
    assert (home / "runs" / "torn" / "run.json").exists()


def test_a_home_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    home = tmp_path / "mistyped"
    (diagnosis,) = diagnose(Patient(load_settings(home=home)))
    assert diagnosis.check == "home"
    assert f"there is nothing at {home}" in diagnosis.complaint.text
    assert not home.exists()


def no_catalogue(settings: Settings) -> Settings:
    (settings.home / "catalog.json").unlink()
    return settings


def silent_server(settings: Settings) -> Settings:
    url = f"http://127.0.0.1:{free_port()}"
    return load_settings(home=settings.home, student=settings.student, engine="server", qdrant_url=url)


def silent_redis(settings: Settings) -> Settings:
    url = f"redis://127.0.0.1:{free_port()}/0"
    return load_settings(home=settings.home, student=settings.student, redis_url=url)


def celery_without_redis(settings: Settings) -> Settings:
    return load_settings(home=settings.home, student=settings.student, executor="celery")


@pytest.mark.parametrize(
    ("break_it", "check", "text"),
    [
        (no_catalogue, "engine", "catalog.json is missing"),
        (silent_server, "engine", "127.0.0.1"),
        (silent_redis, "redis", "cannot be used"),
        (celery_without_redis, "settings", "redis_url is not set"),
    ],
)
def test_what_is_broken_is_said_once(
    sound: Settings, break_it: Callable[[Settings], Settings], check: str, text: str
) -> None:
    (diagnosis,) = diagnose(Patient(break_it(sound)))
    assert diagnosis.check == check
    assert diagnosis.complaint.severity == "error"
    assert text in diagnosis.complaint.text


def test_names_are_told_apart() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert all(set(check.needs) <= set(names[: names.index(check.name)]) for check in CHECKS)
