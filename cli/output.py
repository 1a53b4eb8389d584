"""How commands print: JSON for programs, tables and progress bars for people."""

import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from keydistill.errors import one_line
from keydistill.telemetry import log, log_format

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from keydistill.tables import Reject

# Exit statuses of commands that look at an installation; 1 and 2 are those of errors.
NEEDS_SOMEBODY, CANNOT_WORK = 3, 4

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    document = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    if printable(document) != document:
        # JSON lets more stand than a terminal should get.
        document = json.dumps(value, indent=2, default=str)
    click.echo(document)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print columns aligned by spaces, those named in `right` to the right, on a terminal and in a pipe alike."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    for row in [list(headers), *cells]:
        columns = [
            cell.rjust(width) if header in right else cell.ljust(width)
            for cell, width, header in zip(row, widths, headers, strict=True)
        ]
        click.echo("  ".join(columns).rstrip())


def print_rejects(by_reason: Mapping[str, int], examples: "Iterable[Reject]") -> None:
    """Print how many rows were rejected for each reason, and the first few of them."""
    for reason, count in by_reason.items():
        click.echo(f"\n{reason}: {count:,} rejected")
        for reject in examples:
            if reject.reason == reason:
                where = f"row {reject.row:,}" if reject.line is None else f"line {reject.line:,}"
                place = f"{reject.source}, {where}{f', {reject.column}' if reject.column else ''}"
                click.echo(f"  {place} {reject.detail}{f': {cut(reject.value)}' if reject.value else ''}")


def print_hints(hints: Iterable[str]) -> None:
    """Print what looks misread, a line each."""
    for hint in hints:
        click.echo(f"\nnote: {hint}")


def check_output(ctx: click.Context, name: str) -> None:
    """Refuse the output that option `name` gives where it would replace a file or folder of another parameter.

    Raises:
        InputError: It would.
    """
    from keydistill.files import check_no_input_is_replaced

    given = [
        path
        for parameter, value in ctx.params.items()
        if parameter != name
        for path in (value if isinstance(value, tuple) else (value,))
        if isinstance(path, Path)
    ]
    out = ctx.params[name]
    if out is not None:
        check_no_input_is_replaced(out, given)


def warn(message: str) -> None:
    """Print one line on stderr."""
    click.echo(one_line(message), err=True)


def printable(text: str) -> str:
    """Several lines as a terminal may show them; see `one_line`."""
    return "\n".join(map(one_line, text.split("\n")))


class PrintableText:
    """A stream without control characters but line ends, whatever the values hold that are printed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, escaped."""
        return self._stream.write(printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def cut(text: str) -> str:
    """The text, shortened to 60 characters."""
    return text if len(text) <= 60 else f"{text[:59]}…"


class TerminalProgress:
    """Progress on a terminal: a bar per step, with rate and remaining time."""

    def __init__(self, bars: "Progress") -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def start(self, step: str, total: int | None, unit: str) -> None:
        """Show a new bar for a step, as `keydistill.progress.Progress.start` asks for."""
        self._finish()
        self._task = self._bars.add_task(step, total=total, unit=unit)

    def advance(self, count: int) -> None:
        """Move the bar on, as `keydistill.progress.Progress.advance` asks for."""
        if self._task is not None:
            self._bars.advance(self._task, count)

    def close(self) -> None:
        """Stop drawing the bars, before something else is printed."""
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None:
            task = self._bars.tasks[self._bars.task_ids.index(self._task)]
            if task.total is None:
                self._bars.update(self._task, total=task.completed or 1, completed=task.completed or 1)
            self._bars.stop_task(self._task)


class SilentProgress:
    """No progress at all, for pipes."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


class LoggedProgress:
    """Progress as lines of a log: one for each step, one every few seconds in between, and one at its end."""

    def __init__(self) -> None:
        self._step: tuple[str, int | None, str] | None = None
        self._done = 0
        self._began = self._logged = 0.0

    def start(self, step: str, total: int | None, unit: str) -> None:
        """End the step before, and log that this one begins."""
        self.close()
        self._step, self._done = (step, total, unit), 0
        self._began = self._logged = time.monotonic()
        self._log("step begun")

    def advance(self, count: int) -> None:
        """Log how far the step is, now and then."""
        self._done += count
        if time.monotonic() - self._logged >= _SECONDS_BETWEEN_LINES:
            self._logged = time.monotonic()
            self._log("step goes on")

    def close(self) -> None:
        """Log that the step is done."""
        if self._step is not None:
            self._log("step done")
        self._step = None

    def _log(self, message: str) -> None:
        if self._step is not None:
            step, total, unit = self._step
            seconds = round(time.monotonic() - self._began, 3)
            log(_log, message, step=step, done=self._done, total=total, unit=unit or None, seconds=seconds)


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[TerminalProgress | SilentProgress | LoggedProgress]:
    """Show progress on stderr where that is a terminal, log it where logs are JSON, and none otherwise."""
    if log_format() == "json":
        yield LoggedProgress()
        return
    if quiet or not sys.stderr.isatty():
        yield SilentProgress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Column of the units done, and how many were done per second."""

        def render(self, task: Task) -> Text:
            """The text of the column, empty for a step that counts nothing."""
            if not task.fields["unit"] or not task.completed:
                return Text("")
            of = f"/{task.total:,.0f}" if task.total else ""
            speed = task.finished_speed or task.speed
            # Short enough for 80 columns with a million of something.
            return Text(f"{task.completed:,.0f}{of}" + (f" {speed:,.0f}/s" if speed else ""), no_wrap=True)

    with Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=12),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    ) as bars:
        yield TerminalProgress(bars)


def bytes_text(count: int | None) -> str:
    """Write a number of bytes as a person reads it.

    >>> bytes_text(2_345_678)
    '2.3 MB'
    """
    if count is None:
        return "-"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def duration_text(seconds: float) -> str:
    """Write seconds as a person reads them.

    >>> duration_text(3725), duration_text(4.25)
    ('1 h 02 min', '4.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{seconds / 60:.1f} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
