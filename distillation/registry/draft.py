"""A version while it is being written: beside its place, under a lock that ends with its process."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keydistill.distillation.registry.card import model_card
from keydistill.distillation.registry.version import (
    CARD,
    FORMAT,
    LINEAGE,
    MANIFEST,
    METRICS,
    SHEETS,
    ModelVersion,
    file_name,
    regular_files,
)
from keydistill.files import file_lock, file_sha256, lock_handle, private_mode, stamped, sync

_PREFIX = ".draft-"


@contextmanager
def kind_lock(parent: Path) -> Iterator[None]:
    """Hold the lock under which a version of this kind is made visible, or its pointer is moved."""
    with file_lock(parent / ".lock"):
        yield


@contextmanager
def draft_folder(parent: Path) -> Iterator[Path]:
    """A folder to write into, removed at the end unless it was renamed; drafts of dead processes go first."""
    with kind_lock(parent):
        for earlier_draft in parent.glob(f"{_PREFIX}*"):
            _remove_if_abandoned(earlier_draft)
        draft = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Taken before the lock of the kind is let go: a draft without a lock is one whose process died.
        handle = lock_handle(draft)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(handle)


def copy_model(folder: Path, draft: Path) -> dict[str, str]:
    """Copy a model's own files; returns the hashes of the copies."""
    digests = {}
    for file in regular_files(folder):
        name = file_name(file, folder)
        # What a registry wrote about another version is not this one's.
        if name in SHEETS:
            continue
        target = draft / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # No hard link: whoever trained the model may write to it again.
        shutil.copyfile(file, target)
        digests[name] = file_sha256(target)
    return digests


def write_sheets(draft: Path, version: ModelVersion) -> None:
    """Write card, lineage, metrics and manifest; make all files read-only and flush them to the disk."""
    card = model_card(version.full_name, version.created_at, version.lineage, version.metrics)
    (draft / CARD).write_text(card, encoding="utf-8")
    _write_json(draft / LINEAGE, version.lineage.as_dict())
    _write_json(draft / METRICS, version.metrics)
    sheets = {name: file_sha256(draft / name) for name in (CARD, LINEAGE, METRICS)}
    _write_json(
        draft / MANIFEST,
        stamped(
            FORMAT,
            {
                "created_at": version.created_at,
                "digest": version.digest,
                "bytes": sum(file.stat().st_size for file in regular_files(draft)),
                "files": {**version.files, **sheets},
            },
        ),
    )
    for path in draft.rglob("*"):
        if path.is_file():
            path.chmod(private_mode(0o444))
        sync(path)
    # `mkdtemp` made it for this user alone.
    draft.chmod(private_mode(0o755))
    sync(draft)


def _remove_if_abandoned(draft: Path) -> None:
    # Its owner works on it, or removes it because it failed, maybe just now.
    with suppress(BlockingIOError, FileNotFoundError):
        handle = lock_handle(draft)
        shutil.rmtree(draft, ignore_errors=True)
        os.close(handle)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
