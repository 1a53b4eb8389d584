"""The sample of the items that this process is asked for, on its way to the file of all processes."""

import json
import logging
import random
import secrets
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Self

from keydistill.serve.sample_file import SampledItem, SampleFile, least_draws, take
from keydistill.serve.schemas import ServiceItem
from keydistill.settings import Settings
from keydistill.tables import RejectedValueError, id_cell

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 30.0


class Sample:
    """What this process was asked for since it last wrote, on its way into the file."""

    def __init__(self, file: SampleFile, items: int) -> None:
        """Forget what is to be forgotten; with a number of items, go on to do so and to take up what is offered.

        Args:
            file: Where the sample is kept.
            items: Most items; 0 takes none.
        """
        self._file, self._items = file, items
        self._lock = threading.Lock()
        self._pending: dict[tuple[str | None, str], SampledItem] = {}
        # An item that draws more than this cannot be in the sample.
        self._bar = 1.0
        # Not to be foretold by who asks.
        self._random = random.Random(secrets.randbits(64))
        self._closing = threading.Event()
        self._logged = ""
        self._writer: threading.Thread | None = None
        # Turned off, it still forgets what it has.
        if items or file.path.exists():
            self._write()
            self._writer = threading.Thread(target=self._keep_writing, name="keydistill-sample", daemon=True)
            self._writer.start()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The sample that the settings ask for."""
        return cls(SampleFile.of(settings), settings.sample_items)

    def offer(self, items: Sequence[ServiceItem]) -> None:
        """Let items that were answered draw; takes no file and no waiting."""
        if not self._items:
            return
        for item in items:
            draw = self._random.random()
            if draw < self._bar:
                sampled = _sampled(item, draw)
                with self._lock:
                    take(self._pending, sampled)
                    if len(self._pending) >= 2 * self._items:
                        self._pending = {kept.key: kept for kept in least_draws(self._pending.values(), self._items)}
                        self._bar = min(self._bar, max(kept.draw for kept in self._pending.values()))

    def close(self) -> None:
        """Write what is not written yet."""
        self._closing.set()
        if self._writer is not None:
            self._writer.join()
            self._write()

    def _keep_writing(self) -> None:
        while not self._closing.wait(_PAUSE_SECONDS):
            self._write()

    def _write(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        try:
            kept = self._file.merge(pending.values(), self._items or None)
            self._bar = max(item.draw for item in kept) if kept and len(kept) >= self._items else 1.0
            self._logged = ""
        except OSError as error:
            # The service goes on; the next try begins with what comes until then.
            if str(error) != self._logged:
                _log.warning("the sample of asked items cannot be written: %s", error)
            self._logged = str(error)


def _sampled(item: ServiceItem, draw: float) -> SampledItem:
    columns: Mapping[str, str | None] = item.model_dump(include={"title", "category_id", "category_path", "site"})
    try:
        item_id = id_cell(item.id)
    except RejectedValueError:
        read = [*columns.items(), *sorted(item.fields.items())]
        item_id = "asked-" + sha256(json.dumps(read).encode()).hexdigest()[:16]
    asked_at = datetime.now(UTC).isoformat(timespec="seconds")
    return SampledItem(item_id=item_id, **columns, asked_at=asked_at, draw=draw, fields=item.fields)  # type: ignore[arg-type]
