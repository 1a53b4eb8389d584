"""Tables of labels from files: human judgments, public data sets, what another judge wrote."""

from pathlib import Path

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
        columns = (table[name].to_pylist() for name in ("item_id", "keyphrase", "label", "probability"))
        for item_id, keyphrase, label, probability in zip(*columns, strict=True):
            if labels.setdefault((item_id, keyphrase), (label, probability))[0] != label:
                raise InputError(
                    f"{path} labels item {item_id!r} with {keyphrase!r} both yes and no; keep one judge's rows"
                )
    if not labels:
        raise InputError(f"{path} has no usable label; expected rows of item_id, keyphrase, label")
    return LabelTable(path.stem, file_sha256(path)[:12], labels)
