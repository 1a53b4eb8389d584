"""Swaps between two students under load, while the inventory is synced and the building process is killed.

    python -m benchmarks.swap_under_load [--engine embedded|server] [--url URL [--restart-command COMMAND]] [--swaps N]
        [--keyphrases N] [--quick] [--json FILE]

Sixteen readers ask all the time: threads in as many processes as there are cores, each with one live retriever that its
threads share, as the workers of a service have. (One process would measure Python's interpreter lock, sixteen processes
on few cores sixteen copies of each student being loaded.) They follow the alias as the default settings say.

One process builds and swaps: with one student, then the other, and so on; each time it then rolls back, and rolls back
again to the new one, so that a build makes three swaps. The students are small ones of random weights: of the same
dimension, so that no query fails only for its shape, but with nothing in common, which is checked. What was built goes
through verification and gate. The gate's thresholds on quality are set so that it passes: of two students that
know nothing neither is better. No rebuild can reuse vectors (`reuse_vectors`), for what is live is always of the other
student. Every few swaps the building process is killed with SIGKILL at a random time; the next one resumes its run.

Another process syncs one version of the inventory after the other, each of which adds a tenth of the keyphrases and
removes a tenth. Old collections are pruned, after a grace time of seconds.

Every answer is compared with what brute force over the vectors of the student finds in the version of the inventory
that the collection held; see `load_verdict.judge` for what counts as right. Exit status 1: errors, empty or mixed
answers. An answer is *short* that has fewer hits than it should because a sync deleted points amid the query.
*During swaps* is from the change of the alias until the last reader has followed; *steady* is all the rest, with the
same load behind it: a rebuild and a sync are always under way. One more reader keeps no answer: its memory is the
product's alone.

With `--engine server` the REST front of the tests stands in for a Qdrant server; `--url` names one that runs. With
`--restart-command`, such as `docker restart -t 0 qdrant`, that server is restarted by it every few swaps; queries wait
for it as long as `qdrant_query_seconds` says, and end with an error where it takes longer.
"""

import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import engines, load_readers, load_writers, report
from benchmarks.load_figures import figures_of
from benchmarks.load_log import Log
from benchmarks.load_verdict import judge, moves
from benchmarks.load_world import Inventories, RightAnswers, titles
from keydistill.encoders import Student
from keydistill.runs import ReindexRun, open_store
from keydistill.settings import load_settings
from keydistill.vectorstore.factory import open_engine
from tests.support.tiny_models import make_tiny_student

_TITLES = 24
_PROCESSES = 2
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is to do.

    Attributes:
        engine: "embedded" or "server".
        swaps: Swaps at the least.
        readers: Threads that ask.
        keyphrases: Of the inventory.
        pause: Seconds between a reader's questions, on average.
        kill_every: Swaps from kill to kill, on average.
        sync_pause: Seconds from sync to sync.
        grace: Seconds for which a collection stays after the alias left it.
        seed: Of when the building process is killed.
        poll: How often readers look at the alias, in seconds; None is the default of the settings.
        gate_sample: Queries of the gate.
        url: Address of a server that runs; None: the tests' front is started.
        restart_command: Command of a shell that restarts that server; None: it is left alone.
        restart_every: Swaps from restart to restart.
    """

    engine: str = "embedded"
    swaps: int = 200
    readers: int = 16
    keyphrases: int = 300
    pause: float = 0.25
    kill_every: int = 3
    sync_pause: float = 1.0
    grace: float = 10.0
    seed: int = 0
    poll: float | None = None
    gate_sample: int = 10
    url: str | None = None
    restart_command: str | None = None
    restart_every: int = 10


def main() -> None:
    """Swap, kill, judge."""
    parser = report.options(__doc__.partition("\n")[0])
    engines.add_options(parser)
    parser.add_argument("--restart-command", metavar="COMMAND", help="restarts the server of --url, every few swaps")
    for name in ("swaps", "readers", "keyphrases", "pause", "kill_every", "sync_pause", "seed", "restart_every"):
        default = getattr(Load(), name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    arguments = parser.parse_args()
    chosen = {name: value for name, value in vars(arguments).items() if name not in ("quick", "json")}
    chosen["engine"] = arguments.engine or ("embedded" if arguments.url is None else "server")
    if arguments.restart_command is not None and arguments.url is None:
        parser.error("--restart-command restarts the server of --url")
    load = Load(**{**chosen, "swaps": 12} if arguments.quick else chosen)
    before = report.machine()
    figures, examples = swap_under_load(load, say=lambda text: print(text, file=sys.stderr, flush=True))
    report.table(("", "figure"), [(name.replace("_", " "), shown(value)) for name, value in figures.items()])
    for example in examples:
        print(example, file=sys.stderr)
    report.write(arguments.json, {"engine": load.engine, **figures}, before)
    sys.exit(int(any(figures[name] for name in ("errors", "empty_answers", "mixed_answers"))))


def shown(value: Any) -> str:
    """A figure as text."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else str(value)


def swap_under_load(load: Load, say: Any = lambda text: None) -> tuple[dict[str, Any], list[str]]:
    """Run it.

    Args:
        load: How much.
        say: Told how far it is.

    Returns:
        Figures by name, and texts on the first few answers that were wrong and on writers that failed.
    """
    with tempfile.TemporaryDirectory() as scratch, engines.on_engine(load.engine, load.url) as variables:
        folder = Path(scratch)
        sources = [str(make_tiny_student(folder / name, seed)) for seed, name in enumerate(("one", "other"))]
        students = [Student.load(source, threads=1) for source in sources]
        inventories, asked = Inventories(load.keyphrases), titles(_TITLES)
        right = RightAnswers(students, inventories, asked)
        if not right.nothing_in_common():
            raise SystemExit("the two students agree on a title: a mixed answer would look right")
        options: dict[str, Any] = {
            "home": folder / "home",
            "student": sources[0],
            "threads": 1,
            "part_rows": max(1, load.keyphrases // 3),
            # Quantized they would not be exact. The graph is asked as in serving.
            "quantization": "none",
            "grace_seconds": load.grace,
            "alias_poll_seconds": load.poll,
            "gate_sample": load.gate_sample,
            "gate_min_coverage": 0.0,
            "gate_max_drift": 2.0,
            "gate_max_short": 1.0,
            # What the machine does besides must not decide what is built.
            "gate_latency_floor_ms": 60_000.0,
            # Said to every process: a fork server keeps the environment of its first one.
            **{name.removeprefix("KEYDISTILL_").lower(): value for name, value in variables.items()},
        }
        log = Log(folder)
        inventories.write(0, folder / "inventory.jsonl")
        world = {student.version: student.source for student in students}
        kills, restarts = _Run(load, folder, log, options, world, inventories, asked).carry_out(say)
        settings = load_settings(**options)
        engine = open_engine(settings)
        try:
            moved = moves(log, engine.aliases().get(settings.alias))
            in_place = engine.changes_in_place
        finally:
            engine.close()
        built = {run.id: run.student_version for run in open_store(settings).all() if isinstance(run, ReindexRun)}
        built_by = {
            move.after: next(
                version for run, version in built.items() if move.after.startswith(f"{settings.alias}-{run}")
            )
            for move in moved
        }
        verdict, kept = judge(folder, log, moved, built_by, right, in_place=in_place)
        swaps = [move for move in moved if move.before and built_by.get(move.before) != built_by[move.after]]
        figures = figures_of(log, verdict.counts, kept, moved, swaps)
        failed = [event["text"] for what in ("build failed", "sync failed") for event in log.events(what)]
        return {**figures, "kills": kills, "restarts_of_the_server": restarts}, verdict.examples + failed[:10]


class _Run:
    """The processes, from the first build to the last swap."""

    def __init__(
        self,
        load: Load,
        folder: Path,
        log: Log,
        options: dict[str, Any],
        students: dict[str, str],
        inventories: Inventories,
        asked: list[str],
    ) -> None:
        self._load = load
        self._log = log
        # Forked from a process that has imported everything: what is killed is there again in a moment.
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.load_writers", "sentence_transformers", "duckdb"])
        inventory = folder / "inventory.jsonl"
        self._builder_arguments = (folder, options, students, inventory)
        self._sync_arguments = (folder, options, inventories, inventory, load.sync_pause)
        threads = load.readers // _PROCESSES
        self._witness_arguments = (folder, 2, options, asked, load.pause)
        self._reader_arguments = [(folder, place, threads, options, asked, load.pause) for place in range(_PROCESSES)]

    def carry_out(self, say: Any) -> tuple[int, int]:
        """Do it all; returns how often the building process was killed, and the server restarted."""
        builder = self._started(load_writers.build, self._builder_arguments)
        others: list[Any] = []
        try:
            self._until(lambda: bool(self._log.events("moved")), [builder])
            others = [self._started(load_readers.read, arguments) for arguments in self._reader_arguments]
            self._until(lambda: len(self._log.events("reading")) == len(others), [builder, *others])
            others.append(self._started(load_readers.witness, self._witness_arguments))
            others.append(self._started(load_writers.sync, self._sync_arguments))
            return self._swaps(builder, others, say)
        finally:
            self._log.stop()
            for process in [builder, *others]:
                process.join(_PATIENCE_SECONDS)
                process.kill()

    def _swaps(self, builder: Any, others: list[Any], say: Any) -> tuple[int, int]:
        chance = random.Random(self._load.seed)
        first = self._swapped()
        kills = told = restarts = 0
        next_kill = first + chance.randint(1, 2 * self._load.kill_every - 1)
        began = time.monotonic()
        while (done := self._swapped()) - first < self._load.swaps:
            if done >= next_kill:
                each = (time.monotonic() - began) / max(1, done - first)
                time.sleep(chance.uniform(0, each))
                builder.kill()
                builder.join()
                kills += 1
                builder = self._started(load_writers.build, self._builder_arguments)
                next_kill = self._swapped() + chance.randint(1, 2 * self._load.kill_every - 1)
            if self._load.restart_command and done - first >= (restarts + 1) * self._load.restart_every:
                restart(self._load.restart_command)
                restarts += 1
            if done - first >= told + 10:
                told = done - first
                say(f"{told} swaps, {kills} kills, {time.monotonic() - began:.0f} s")
            self._until(lambda: True, [builder, *others])
            time.sleep(0.05)
        self._log.stop()
        builder.join(_PATIENCE_SECONDS)
        builder.kill()
        return kills, restarts

    def _swapped(self) -> int:
        """Swaps of the building process; one whose last line it could not write any more is not among them."""
        return sum(event["by"] == "build" for event in self._log.events("moved"))

    def _started(self, target: Any, arguments: Any) -> Any:
        process = self._context.Process(target=target, args=arguments, daemon=False)
        process.start()
        return process

    def _until(self, reached: Any, processes: list[Any]) -> None:
        """Wait, and see that everybody lives.

        Raises:
            RuntimeError: A process ended by itself, or it does not come to that.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            dead = [process for process in processes if not process.is_alive()]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"a process of the load test ended or stands still: {dead}; see its error above")
            if reached():
                return
            time.sleep(0.05)


def restart(command: str) -> None:
    """Restart the server by a command of a shell.

    Raises:
        SystemExit: The command failed.
    """
    done = subprocess.run(command, shell=True, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise SystemExit(f"--restart-command {command!r} ended with status {done.returncode}")


if __name__ == "__main__":
    main()
