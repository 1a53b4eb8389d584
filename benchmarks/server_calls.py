"""What our engine adds to the calls of Qdrant's own client, on a running server; and what short answers cost to avoid.

    python -m benchmarks.server_calls [--url URL] [--points N] [--dimension N] [--quick] [--json FILE]

*Writing*: points per second of our `upsert`, in batches as a build hands them over, and of the client's
`upload_collection` into a collection with the same settings and payload indexes, in turn; and of both over gRPC to a
server that takes everything at once: what this side costs. *Queries*: one at a time,
ours and the client's `query_points` with the same settings, in turn, and ours with a client that answers at once: our
own share. *Short answers*: with rows deleted and written again all the time, the share of answers that lack hits and
the time of a query, by how many more hits are asked for and cut off; and what asking again whenever an answer is short
would cost, also for queries that have no more to find. *Loading*: seconds to write, and then until the server is done
with optimising, with the quantization and the segments' threshold as a build has them and otherwise, in turn.

Without --url the REST front of the tests stands in, whose times say nothing about a server's.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

import grpc  # type: ignore[import-untyped]
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as wire

from benchmarks import engines, report
from keydistill.settings import load_settings
from keydistill.vectorstore import CollectionSpec, PointBatch, SearchParams, open_engine
from keydistill.vectorstore.server import ServerEngine, grpc_points, points
from keydistill.vectorstore.server.creation import quantization as quantization_of
from keydistill.vectorstore.server.translation import query_request

_LIMIT, _EF, _BATCH = 10, 128, 2_000
_UNCHECKED: dict[str, Any] = {"check_compatibility": False}
_SPARES = (0, 1, 3, 5, 10)
_INDEXES = {"keyphrase": "keyword", "category_ids": "integer", "site": "keyword", "search_volume": "integer"}


def main() -> None:
    """Write, query, delete amid queries."""
    parser = report.options(__doc__.partition("\n")[0])
    engines.add_options(parser)
    parser.set_defaults(engine="server")
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=500)
    arguments = parser.parse_args()
    count, queries = (1_000, 40) if arguments.quick else (arguments.points, arguments.queries)
    before = report.machine()
    with engines.on_engine("server", arguments.url) as variables:
        settings = load_settings()
        with closing(open_engine(settings)) as engine:
            assert isinstance(engine, ServerEngine)
            engine.collections()
            bench = _Bench(engine, variables["KEYDISTILL_ALIAS"], count, arguments.dimension)
            figures: dict[str, Any] = {"protocol": bench.protocol}
            figures["writing"] = bench.writing(1 if arguments.quick else 3)
            figures["writing_to_nobody"] = bench.writing_to_nobody(1 if arguments.quick else 5)
            figures["queries"] = bench.queries(queries)
            figures["short_answers"] = bench.short_answers(queries)
            figures["loading"] = bench.loading(1 if arguments.quick else 3)
    print(f"{count:,} points of {arguments.dimension} dimensions over {figures['protocol']}\n")
    for writing, name in (("writing", "writing"), ("writing_to_nobody", "writing to nobody, gRPC")):
        report.table((name, "points/s"), [(way, f"{rate:,.0f}") for way, rate in figures[writing].items()])
        print()
    rows = [(name, *(f"{of[p]:.3f}" for p in ("p50_ms", "p99_ms"))) for name, of in figures["queries"].items()]
    report.table(("queries", "p50 ms", "p99 ms"), rows)
    print()
    report.table(
        ("more hits", "answers", "short", "p50 ms", "asked again p50 ms"),
        [
            (more, of["answers"], of["short"], f"{of['p50_ms']:.3f}", f"{of['asked_again_p50_ms']:.3f}")
            for more, of in figures["short_answers"].items()
        ],
    )
    print()
    report.table(
        ("loading", "write s", "optimise s"),
        [(way, f"{of['write_s']:.2f}", f"{of['optimise_s']:.2f}") for way, of in figures["loading"].items()],
    )
    report.write(arguments.json, figures, before)


class _Bench:
    """Random points, one collection of ours and one of the client's with the same settings."""

    def __init__(self, engine: ServerEngine, alias: str, count: int, dimension: int) -> None:
        self._engine = engine
        self._client: QdrantClient = engine._client
        self._ours, self._peers = f"{alias}-ours", f"{alias}-peers"
        chance = np.random.default_rng(0)
        vectors = chance.standard_normal((count, dimension)).astype(np.float32)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self._ids = [str(uuid4()) for _ in range(count)]
        self._payloads: list[dict[str, Any]] = [
            {"keyphrase": f"keyphrase number {row}", "category_ids": [row % 50, 1_000 + row % 7], "search_volume": row}
            for row in range(count)
        ]
        self._spec = CollectionSpec(dimension=dimension, payload_indexes=_INDEXES)  # type: ignore[arg-type]

    @property
    def protocol(self) -> str:
        """What the engine speaks."""
        return "gRPC" if self._engine._connection.speaks_grpc else "REST"

    def writing(self, repeats: int) -> dict[str, float]:
        """Points per second, the median of several times in turn."""
        rates: dict[str, list[float]] = {"keydistill": [], "upload_collection": []}
        for _ in range(repeats):
            for name, write in (("keydistill", self._write), ("upload_collection", self._upload)):
                for collection in (self._ours, self._peers):
                    self._client.delete_collection(collection)
                self._engine.create(self._ours, self._spec, {})
                self._make_peers()
                began = time.perf_counter()
                write()
                rates[name].append(len(self._ids) / (time.perf_counter() - began))
        self._write()
        self._engine.finish(self._ours)
        return {name: statistics.median(each) for name, each in rates.items()}

    def _write(self) -> None:
        for part in self._parts():
            self._engine.upsert(self._ours, part)

    def _parts(self) -> Iterator[PointBatch]:
        for start in range(0, len(self._ids), _BATCH):
            part = slice(start, start + _BATCH)
            yield PointBatch(self._ids[part], self._vectors[part], self._payloads[part])

    def _upload(self) -> None:
        self._client.upload_collection(self._peers, self._vectors, self._payloads, self._ids, wait=True)

    def writing_to_nobody(self, repeats: int) -> dict[str, float]:
        """Points per second over gRPC, the medians of several times in turn; nothing is done with them."""
        rates: dict[str, list[float]] = {"keydistill": [], "upload_collection": []}
        ordering = models.WriteOrdering.MEDIUM
        with _nobody() as port, closing(QdrantClient(port=0, grpc_port=port, prefer_grpc=True, **_UNCHECKED)) as client:

            def write() -> None:
                for part in self._parts():
                    for request in grpc_points.requests(self._ours, part, ordering, 5_000_000, _BATCH):
                        grpc_points.send(client, request, 60)

            def upload() -> None:
                client.upload_collection(self._ours, self._vectors, self._payloads, self._ids, wait=True)

            for _ in range(repeats):
                for name, way in (("keydistill", write), ("upload_collection", upload)):
                    began = time.perf_counter()
                    way()
                    rates[name].append(len(self._ids) / (time.perf_counter() - began))
        return {name: statistics.median(each) for name, each in rates.items()}

    def loading(self, repeats: int) -> dict[str, dict[str, float]]:
        """Seconds of each way to load, the medians of several times in turn."""
        quantization = quantization_of(self._spec)
        threshold = self._client.get_collection(self._ours).config.optimizer_config.indexing_threshold
        ways: dict[str, dict[str, Any]] = {
            "as a build": {},
            "quantized from the start": {"quantization_config": quantization},
            "without optimising during the load": {
                "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=0)
            },
        }
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, settings in ways.items():
                self._client.delete_collection(self._peers)
                self._make_peers(**settings)
                began = time.perf_counter()
                self._upload()
                written = time.perf_counter()
                self._client.update_collection(
                    self._peers,
                    hnsw_config=models.HnswConfigDiff(m=self._spec.hnsw_m),
                    quantization_config=quantization,
                    optimizers_config=models.OptimizersConfigDiff(indexing_threshold=threshold),
                )
                self._engine._connection.wait_until_optimized(self._peers, stall_seconds=600.0)
                times[way].append((written - began, time.perf_counter() - written))
        medians = {way: np.median(of, axis=0).tolist() for way, of in times.items()}
        return {way: {"write_s": write, "optimise_s": optimise} for way, (write, optimise) in medians.items()}

    def _make_peers(self, **settings: Any) -> None:
        """As ours: no graph during the load, the same indexes, so that both load alike."""
        info = self._client.get_collection(self._ours)
        self._client.create_collection(
            self._peers,
            vectors_config=info.config.params.vectors,
            hnsw_config=models.HnswConfigDiff(m=0),
            **settings,
        )
        for field, kind in _INDEXES.items():
            self._client.create_payload_index(self._peers, field, models.PayloadSchemaType(kind), wait=True)

    def queries(self, count: int) -> dict[str, dict[str, float]]:
        """Milliseconds of one query."""
        params = SearchParams(ef=_EF)
        same = query_request(self._vectors[0], _LIMIT, None, params).params
        vectors = self._vectors[np.random.default_rng(1).choice(len(self._vectors), count)]
        ways: dict[str, Callable[[Any], object]] = {
            "keydistill": lambda vector: self._engine.query(self._ours, vector, _LIMIT, None, params),
            "query_points": lambda vector: self._client.query_points(
                self._ours, vector, limit=_LIMIT, with_payload=True, search_params=same
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for place, vector in enumerate(vectors):
            for name in sorted(ways, reverse=bool(place % 2)):
                times[name].append(_milliseconds(ways[name], vector))
        with self._answering_at_once():
            times["our own share"] = [_milliseconds(ways["keydistill"], vector) for vector in vectors]
        return {name: _latency(each) for name, each in times.items()}

    @contextmanager
    def _answering_at_once(self) -> Iterator[None]:
        """The client answers with what it answered before, without a server."""
        real = self._client.query_batch_points
        known: list[Any] = []

        def answer(*arguments: Any, **options: Any) -> Any:
            if not known:
                known.append(real(*arguments, **options))
            return known[0]

        self._client.query_batch_points = answer  # type: ignore[method-assign]
        try:
            yield
        finally:
            del self._client.query_batch_points

    def short_answers(self, count: int) -> dict[int, dict[str, float]]:
        """By how many hits are asked for beyond the limit, while rows are deleted and written again."""
        figures: dict[int, dict[str, float]] = {}
        shipped = points._SPARE_HITS
        over = threading.Event()
        writer = threading.Thread(target=self._delete_and_write, args=(over,))
        writer.start()
        try:
            for more in _SPARES:
                points._SPARE_HITS = more
                figures[more] = self._asked(count)
        finally:
            points._SPARE_HITS = shipped
            over.set()
            writer.join()
        return figures

    def _asked(self, count: int) -> dict[str, float]:
        took, again, short = [], [], 0
        chance = np.random.default_rng(2)
        for row in chance.choice(len(self._vectors), count).tolist():
            began = time.perf_counter()
            hits = self._engine.query(self._ours, self._vectors[row], _LIMIT, None, SearchParams(ef=_EF))
            took.append(1_000 * (time.perf_counter() - began))
            short += len(hits) < _LIMIT
            # A query that has no more to find is always asked again.
            began = time.perf_counter()
            self._engine.query(self._ours, self._vectors[row], _LIMIT, None, SearchParams(ef=_EF))
            again.append(took[-1] + 1_000 * (time.perf_counter() - began))
        asked_again = _latency(again)["p50_ms"]
        return {"answers": count, "short": short, "asked_again_p50_ms": asked_again, **_latency(took)}

    def _delete_and_write(self, over: threading.Event) -> None:
        chance = np.random.default_rng(3)
        with closing(open_engine(load_settings())) as engine:
            while not over.is_set():
                rows = chance.choice(len(self._ids), max(1, len(self._ids) // 10), replace=False).tolist()
                batch = [self._ids[row] for row in rows]
                engine.delete(self._ours, batch)
                engine.upsert(self._ours, PointBatch(batch, self._vectors[rows], [self._payloads[row] for row in rows]))


@contextmanager
def _nobody() -> Iterator[int]:
    """The gRPC port of a process that says of every write that it is done, and does not look at it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_take_everything, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def _take_everything(pipe: Connection) -> None:
    done = wire.UpdateResult(status=wire.UpdateStatus.Completed)
    answer = wire.PointsOperationResponse(result=done).SerializeToString()
    upsert = grpc.unary_unary_rpc_method_handler(lambda request, context: answer)
    server = grpc.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("qdrant.Points", {"Upsert": upsert})])
    pipe.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()


def _milliseconds(ask: Callable[[Any], object], vector: Any) -> float:
    began = time.perf_counter()
    ask(vector)
    return 1_000 * (time.perf_counter() - began)


def _latency(times: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


if __name__ == "__main__":
    main()
