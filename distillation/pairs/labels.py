"""Tables of labels from files: human judgments, public data sets, what another judge wrote."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from keydistill.distillation.signals import read_judgments
from keydistill.encoders.judge import LabelTable
from keydistill.errors import InputError
from keydistill.files import file_sha256
from keydistill.tables import RejectLog


def read_labels(path: Path, rejects: RejectLog | None = None) -> LabelTable:
    """The labels of a file of judgments (see `keydistill.distillation.signals`), by item and keyphrase, as a judge.

    Its name is the file's, its version the beginning of the file's SHA-256. It is kept in memory.

    Raises:
        InputError: It cannot be read, has no labels, or two different ones for a pair.
    """
    labels: dict[tuple[str, str], tuple[bool, float | None]] = {}
    for table in read_judgments([path], RejectLog() if rejects is None else rejects):
        for item_id, keyphrase, label, probability in _rows(table):
            if labels.setdefault((item_id, keyphrase), (label, probability))[0] != label:
                raise InputError(
                    f"{path} labels item {item_id!r} with {keyphrase!r} both yes and no; keep one judge's rows"
                )
    if not labels:
        raise InputError(f"{path} has no usable label; expected rows of item_id, keyphrase, label")
    return LabelTable(path.stem, file_sha256(path)[:12], labels)


def labels_of(judgments: pa.Table, files: Sequence[Path]) -> LabelTable:
    """The labels of judgments that were read from files, as a judge; of several of a pair, the last counts.

    Its version is the beginning of a SHA-256 over those of the files.

    Raises:
        InputError: There are none.
    """
    labels = {
        (item_id, keyphrase): (label, probability)
        for item_id, keyphrase, label, probability in _rows(judgments)
        if label is not None
    }
    if not labels:
        names = ", ".join(map(str, files))
        raise InputError(f"{names} has no usable label, and no judge is named; name a judge, or give judgments")
    digest = sha256(" ".join(map(file_sha256, files)).encode())
    return LabelTable("judgments", digest.hexdigest()[:12], labels)


def _rows(judgments: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Item, keyphrase, label and probability of each judgment."""
    columns = (judgments[name].to_pylist() for name in ("item_id", "keyphrase", "label", "probability"))
    return zip(*columns, strict=True)
