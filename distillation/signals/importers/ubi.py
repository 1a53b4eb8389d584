"""UBI, User Behavior Insights: logs of queries and events as OpenSearch and Elasticsearch keep them.

Schema: https://github.com/o19s/ubi (1.0 to 1.3). Queries and events may be in any files, also in the same one: a row
with an `action_name` is an event. Rows may be whole documents of an export (`_source`) or a bulk file;
`event_attributes` may be an object, JSON text, or flattened into columns with dots.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.distillation.signals.import_reader import ImportReader
from keydistill.distillation.signals.importers.ubi_log import COLUMNS, MULTILINE, LogRows, UbiOptions
from keydistill.distillation.signals.importing import (
    ImportSummary,
    ImportTarget,
    SiteKeyphrase,
    Tables,
    checked_site,
    inventory_table,
    run_import,
)
from keydistill.distillation.signals.merging import merged
from keydistill.distillation.signals.schemas import CLICKS, ITEMS
from keydistill.distillation.signals.validation import ITEM_CELLS
from keydistill.tables import Reason, Reject

_QUERIES = pa.schema([("query_id", pa.string()), ("keyphrase", pa.string()), ("logged", pa.bool_())])
_LISTED = pa.schema([("query_id", pa.string()), ("item_id", pa.string()), ("place", pa.int32())])
_EVENTS = pa.schema(
    [
        ("query_id", pa.string()),
        ("item_id", pa.string()),
        ("place", pa.int32()),
        ("clicked", pa.bool_()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("line", pa.int64()),
    ]
)


def import_ubi(
    files: Sequence[Path], target: ImportTarget, *, items: Sequence[Path] = (), options: UbiOptions | None = None
) -> ImportSummary:
    """Import query and event logs as clicks: one row per keyphrase, item and position.

    A result of a query counts as shown once and as clicked once at the most. It was shown if there is an impression
    event, or a click. In a log without any impression event, everything that a query's list of results names was
    shown. Its position is the impression's ordinal, otherwise its place in the list, otherwise the click's ordinal.

    Args:
        files: CSV, JSONL or Parquet with rows of `ubi_queries` and `ubi_events`.
        target: Target of the import: where the signals folder goes.
        items: Files of items, see `read_items`; without any, the items are those whose events give a description or
            name.
        options: Options that say how the log is read.

    Raises:
        InputError: A file cannot be read, no result was shown, or `target.out` holds something.
        TooManyRejectsError: Too many rows were rejected; an event whose query is in no row is a reject.
    """
    read_options = options or UbiOptions()
    site = checked_site(read_options.site)

    def build(reader: ImportReader) -> Tables:
        titles = _read_log(files, reader, read_options)
        with duckdb.connect(":memory:", config={"temp_directory": str(reader.work / "spill")}) as database:
            database.execute("SET enable_progress_bar = false")
            for name in ("queries", "listed", "events"):
                file = str(reader.work / f"{name}.parquet").replace("'", "''")
                database.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{file}')")
            _reject_strays(database, reader)
            reader.ignore("events of queries without user_query", database.sql(_WORDLESS).fetchall()[0][0])
            clicks = database.sql(_CLICKS).to_arrow_table()
            volumes = database.sql(_VOLUMES).fetchall()
        clicks = clicks.append_column("site", pa.array([site] * clicks.num_rows, pa.string()))
        counts: dict[SiteKeyphrase, int] = {(site, keyphrase): count for keyphrase, count in volumes}
        cells = [list(titles), list(titles.values()), [None] * len(titles), [site] * len(titles)]
        rows = (pa.table(columns, schema=ITEMS) for file in items for columns in reader.rows(file, ITEM_CELLS))
        return {
            "items": merged("items", rows) if items else pa.table(cells, schema=ITEMS),
            "clicks": merged("clicks", [clicks.select(CLICKS.names).cast(CLICKS)]),
            "inventory": inventory_table(counts, {}, counts),
        }

    manifest_options = {
        "click_actions": list(read_options.click_actions),
        "impression_actions": list(read_options.impression_actions),
        "first_position": read_options.first_position,
        "site": read_options.site,
        "items": [str(file) for file in items],
    }
    return run_import("ubi", target, manifest_options, build)


# The first row of a query counts; a logged query goes before what an event says about its own.
_ASKED = """
    SELECT query_id, arg_min(keyphrase, (NOT logged, rowid)) AS keyphrase
    FROM (SELECT *, row_number() OVER () AS rowid FROM queries)
    WHERE keyphrase IS NOT NULL
    GROUP BY query_id
"""
_CLICKS = f"""
    WITH asked AS ({_ASKED}),
    listed_once AS (SELECT query_id, item_id, min(place) AS place FROM listed GROUP BY ALL),
    seen AS (
        SELECT query_id, item_id, min(place) AS place FROM events WHERE NOT clicked GROUP BY ALL
        UNION ALL
        SELECT * FROM listed_once WHERE NOT EXISTS (SELECT 1 FROM events WHERE NOT clicked)
    ),
    followed AS (SELECT query_id, item_id, min(place) AS place FROM events WHERE clicked GROUP BY ALL),
    results AS (
        SELECT query_id, item_id, coalesce(seen.place, listed_once.place, followed.place) AS position,
            followed.query_id IS NOT NULL AS clicked
        FROM seen FULL JOIN followed USING (query_id, item_id) LEFT JOIN listed_once USING (query_id, item_id)
    )
    SELECT item_id, keyphrase, position, count(*) AS impressions, count(*) FILTER (WHERE clicked) AS clicks
    FROM results JOIN asked USING (query_id)
    GROUP BY ALL ORDER BY keyphrase, position NULLS LAST, item_id
"""
_VOLUMES = f"SELECT keyphrase, count(*) FROM ({_ASKED}) GROUP BY ALL ORDER BY ALL"
_STRAYS = "SELECT source, row, line, query_id FROM events ANTI JOIN queries USING (query_id) ORDER BY ALL"


_WORDLESS = f"SELECT count(*) FROM events SEMI JOIN queries USING (query_id) ANTI JOIN ({_ASKED}) USING (query_id)"


def _reject_strays(database: duckdb.DuckDBPyConnection, reader: ImportReader) -> None:
    detail = "is the id of no query that could be used; import the log of queries as well"
    strays = database.execute(_STRAYS)
    while rows := strays.fetchmany(10_000):
        for source, row, line, query_id in rows:
            reader.rejects.add(Reject(source, row, line, "query_id", Reason.UNKNOWN_REFERENCE, detail, query_id))


def _read_log(files: Sequence[Path], reader: ImportReader, options: UbiOptions) -> dict[str, str]:
    """Write queries, their lists and events into the work folder; return the titles that events give."""
    titles: dict[str, str] = {}
    with (
        pq.ParquetWriter(reader.work / "queries.parquet", _QUERIES) as queries,
        pq.ParquetWriter(reader.work / "listed.parquet", _LISTED) as listed,
        pq.ParquetWriter(reader.work / "events.parquet", _EVENTS) as events,
    ):
        for file in files:
            for batch in reader.batches(file, COLUMNS, multiline=MULTILINE):
                rows = LogRows(batch, str(file), reader, options)
                rows.read()
                queries.write_table(pa.Table.from_pylist(rows.queries, schema=_QUERIES))
                listed.write_table(pa.Table.from_pylist(rows.listed, schema=_LISTED))
                events.write_table(pa.Table.from_pylist(rows.events, schema=_EVENTS))
                for item, title in rows.titles.items():
                    titles.setdefault(item, title)
    return titles
