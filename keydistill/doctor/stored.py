"""Checks of what is stored: the engine, aliases, collections, records of runs, models."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from keydistill.distillation.registry import MODEL_KINDS, Registry
from keydistill.doctor.complaint import Complaint
from keydistill.doctor.patient import Patient
from keydistill.encoders import StudentFiles
from keydistill.errors import CollectionLostError, CollectionNotFoundError, ModelError, RunError, StudentError
from keydistill.files import NewerFormatError, file_lock, whole_file
from keydistill.ingest.aliases import AliasHistory
from keydistill.runs import read_run
from keydistill.vectorstore import CollectionMetadata
from keydistill.vectorstore.edge import EmbeddedEngine


def engine_answers(patient: Patient) -> Iterator[Complaint]:
    """The engine can be asked: a server answers, the embedded one has its catalogue."""
    patient.engine.aliases()
    return
    yield


def aliases(patient: Patient) -> Iterator[Complaint]:
    """Every alias names a collection that can be read, and a student that is there to ask it."""
    engine, installation = patient.engine, patient.store.installation()
    for alias, target in engine.aliases().items():
        try:
            info = engine.info(target)
        except CollectionLostError as error:
            cure = "keydistill restore from a backup, keydistill collections rollback, or a new reindex"
            yield Complaint("error", f"alias {alias} names {target}, which is lost: {error}", cure)
            continue
        except CollectionNotFoundError:
            yield Complaint(
                "error", f"alias {alias} names {target}, which is not there", "keydistill reindex INVENTORY"
            )
            continue
        metadata = CollectionMetadata.parse(info) if info.state != "foreign" else CollectionMetadata()
        if metadata.installation not in (None, installation) and alias == patient.settings.alias:
            yield Complaint(
                "warning",
                f"alias {alias} belongs to another installation ({metadata.installation})",
                "choose another alias, or take it over with --take-over",
            )
        if metadata.student is not None and patient.settings.shared is None:
            yield from _student(alias, metadata, info.dimension)


def _student(alias: str, metadata: CollectionMetadata, dimension: int) -> Iterator[Complaint]:
    assert metadata.student is not None
    try:
        version = StudentFiles.find(metadata.student, dimension=dimension).version
    except StudentError as error:
        version = str(error)
    if version != metadata.student_version:
        yield Complaint(
            "error",
            f"the student of alias {alias} is {metadata.student_version}, {metadata.student} is: {version}",
            "put that one back (keydistill restore), or keydistill reindex INVENTORY",
        )


def collections(patient: Patient) -> Iterator[Complaint]:
    """No collection without a name, a run or its data."""
    engine = patient.engine
    named = set(engine.aliases().values())
    if isinstance(engine, EmbeddedEngine):
        for name in engine.unnamed():
            yield Complaint(
                "warning",
                f"the folder {name} of a collection is in no catalogue",
                "keydistill collections adopt; what it cannot adopt goes with the next build",
            )
        for name, lost in engine.lost().items():
            if name not in named:
                yield Complaint(
                    "warning",
                    f"collection {name} is lost: {lost.problem}",
                    f"keydistill collections prune --collection {name}",
                )
    history = AliasHistory(engine, patient.store, patient.settings.alias)
    for name in set(engine.collections()) - named - set(engine.lost()):
        info = engine.info(name)
        run = history.owner_of(name)
        if info.state == "ready" and run is None and CollectionMetadata.parse(info).run is not None:
            yield Complaint(
                "warning",
                f"collection {name} is an orphan: no alias names it, and no run on record built it",
                f"keydistill collections prune --collection {name}, or keydistill collections adopt",
            )
        if info.state == "building" and (run is None or run.is_over):
            why = "no run builds it" if run is None else f"run {run.id} is {run.state}"
            yield Complaint(
                "warning",
                f"collection {name} is half built, and {why}",
                f"keydistill collections prune --collection {name}",
            )


def records(patient: Patient) -> Iterator[Complaint]:
    """Every record on this machine, and the log, can be read."""
    for record in sorted((patient.settings.home / "runs").glob("*/run.json")):
        try:
            read_run(record.read_bytes())
        except NewerFormatError as error:
            yield Complaint("error", f"{record} {error}", "upgrade keydistill on this machine")
        except (OSError, ValueError) as error:
            cure = f"bring it back from a backup, or move it away: mv {record} {record}.damaged"
            yield Complaint("error", f"{record} cannot be read ({error})", cure)
    yield from _torn_lines(patient)
    try:
        patient.store.history()
    except RunError as error:
        yield Complaint("error", str(error), "upgrade keydistill on this machine")
    paused = patient.settings.home / "paused.json"
    try:
        json.loads(paused.read_bytes())
    except FileNotFoundError:
        pass
    except ValueError as error:
        yield Complaint("warning", f"{paused} cannot be read ({error})", f"rm {paused}; a pause writes it anew")


def _torn_lines(patient: Patient) -> Iterator[Complaint]:
    """Lines of the files that only grow: whoever wrote the last one may have been killed."""
    settings = patient.settings
    history = settings.home / "history.jsonl"
    logs = [history, *sorted(settings.judgments_folder.glob("*.jsonl"))]
    for log in logs:
        try:
            lines = log.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        torn = [number for number, line in enumerate(lines, 1) if line.strip() and not _is_json(line)]
        if torn:
            place = "its last line" if torn == [len(lines)] else f"line {torn[0]:,}"
            yield Complaint(
                "warning",
                f"{log}: {place} was cut off and is left out",
                f"keydistill doctor --fix moves it to {log.name}.torn"
                if log == history
                else "nothing else of it is lost; take the line out while no service runs",
                # Of judgments a service may be adding one just now.
                partial(_put_aside, log) if log == history else None,
            )


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _put_aside(log: Path) -> None:
    """Move the lines that nobody can read to a file beside the history; nothing is thrown away."""
    with file_lock(log.parent / "locks" / "history.lock"):
        lines = log.read_bytes().splitlines(keepends=True)
        with log.with_name(f"{log.name}.torn").open("ab") as aside:
            aside.writelines(line.rstrip(b"\n") + b"\n" for line in lines if line.strip() and not _is_json(line))
        with whole_file(log) as draft:
            draft.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines if _is_json(line)))


def snapshots(patient: Patient) -> Iterator[Complaint]:
    """Snapshots belong to runs, and what is live has its own."""
    settings, store = patient.settings, patient.store
    known = {run.id for run in store.all()}
    for folder in sorted((settings.home / "runs").glob("*/snapshot")):
        record = folder.parent / "run.json"
        if folder.parent.name not in known and not record.exists():
            yield Complaint(
                "warning", f"{folder} is a snapshot of no run on record", f"rm -r {folder.parent}, if nobody misses it"
            )
    target = patient.engine.aliases().get(settings.alias)
    if target is None or settings.shared is not None:
        return
    try:
        info = patient.engine.info(target)
    except (CollectionLostError, CollectionNotFoundError):
        return  # which another check says
    owner = CollectionMetadata.parse(info).snapshot_run if info.state != "foreign" else None
    if owner is not None and not (store.folder(owner) / "snapshot").is_dir():
        yield Complaint(
            "warning",
            f"{target} is live, and its snapshot (run {owner}) is gone: a sync has nothing to compare with",
            "keydistill restore from a backup, or a new reindex",
        )


def models(patient: Patient) -> Iterator[Complaint]:
    """Every version in the registry is what was published, and those that are promoted are there."""
    registry = Registry.of(patient.settings)
    for kind in MODEL_KINDS:
        folders = sorted(folder.parent for folder in (registry.root / kind).glob("[!.]*/manifest.json"))
        for folder in folders:
            try:
                registry.get(folder.name, kind).verify()
            except ModelError as error:
                yield Complaint("error", str(error), f"keydistill restore, or keydistill models promote another {kind}")
        try:
            promoted = registry.promoted_name(kind)
        except ModelError as error:
            yield Complaint("error", str(error), f"keydistill models promote a {kind}")
            continue
        if promoted is not None and promoted not in {folder.name for folder in folders}:
            yield Complaint(
                "error",
                f"the promoted {kind} {promoted} is not in {registry.root}",
                "keydistill models promote VERSION, or keydistill restore",
            )
