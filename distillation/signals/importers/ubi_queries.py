"""Which query an event belongs to, and where each result stood: the part of UBI's import that is SQL."""

import duckdb

from keydistill.distillation.signals.import_reader import ImportReader
from keydistill.tables import Reason, Reject

# A logged query goes before what events say about their own. `asked` has the text of each query id that has one text;
# the second tells those apart that have several. `usable` are the events that are counted.
PREPARE = """
    CREATE TABLE texts AS
    SELECT query_id, min(keyphrase) AS keyphrase, max(keyphrase) AS other
    FROM queries JOIN (
        SELECT query_id, bool_or(logged) AS logged FROM queries WHERE keyphrase IS NOT NULL GROUP BY query_id
    ) USING (query_id, logged)
    WHERE keyphrase IS NOT NULL
    GROUP BY query_id;
    CREATE VIEW asked AS SELECT query_id, keyphrase FROM texts WHERE keyphrase = other;
    CREATE VIEW usable AS
    SELECT events.* FROM events JOIN asked USING (query_id)
    WHERE events.keyphrase IS NULL OR events.keyphrase = asked.keyphrase;
"""
_STRAYS = "SELECT source, row, line, query_id FROM events ANTI JOIN queries USING (query_id) ORDER BY ALL"
# Rows of one id with several texts: nobody knows which of them a click followed.
_AMBIGUOUS = """
    SELECT source, row, line, query_id, keyphrase, other FROM (
        SELECT source, row, line, query_id FROM queries WHERE logged UNION ALL
        SELECT source, row, line, query_id FROM events
    ) JOIN texts USING (query_id) WHERE keyphrase != other
    UNION ALL
    SELECT source, row, line, query_id, asked.keyphrase, events.keyphrase
    FROM events JOIN asked USING (query_id) WHERE events.keyphrase != asked.keyphrase
    ORDER BY ALL
"""
_WORDLESS = "SELECT count(*) FROM events SEMI JOIN queries USING (query_id) ANTI JOIN texts USING (query_id)"
# Several lists of a query are its pages, in the order of their times, otherwise of their rows: the second goes on where
# the first ends, without what the first had. Of one list alone the first click beyond its end says that pages before it
# are not in the log.
CLICKS_SQL = """
    WITH pages AS (
        SELECT *, dense_rank() OVER (PARTITION BY query_id ORDER BY logged_at, source, row, document) AS page
        FROM listed
    ),
    first_page AS (SELECT query_id, item_id, min(page) AS page FROM pages GROUP BY ALL),
    numbered AS (
        SELECT query_id, item_id, row_number() OVER (PARTITION BY query_id ORDER BY page, place) AS place
        FROM pages JOIN first_page USING (query_id, item_id, page)
    ),
    placed AS (SELECT query_id, item_id, min(place) AS place FROM numbered GROUP BY ALL),
    log AS (SELECT count(*) FILTER (WHERE NOT clicked) > 0 AS has_impressions FROM events),
    followed AS (SELECT query_id, item_id, min(place) AS place FROM usable WHERE clicked GROUP BY ALL),
    lengths AS (
        SELECT query_id, count(*) AS length FROM pages GROUP BY query_id HAVING max(page) = 1 AND count(*) > 1
    ),
    before AS (
        SELECT query_id, min(followed.place - placed.place) AS results
        FROM followed JOIN placed USING (query_id, item_id) JOIN lengths USING (query_id)
        GROUP BY query_id, length HAVING results >= length
    ),
    listed_once AS (
        SELECT query_id, item_id, place + if(has_impressions, 0, coalesce(before.results, 0)) AS place
        FROM placed LEFT JOIN before USING (query_id) CROSS JOIN log
    ),
    seen AS (
        SELECT query_id, item_id, min(place) AS place FROM usable WHERE NOT clicked GROUP BY ALL
        UNION ALL
        SELECT listed_once.* FROM listed_once CROSS JOIN log WHERE NOT has_impressions
    ),
    results AS (
        SELECT query_id, item_id, coalesce(seen.place, listed_once.place, followed.place) AS position,
            followed.query_id IS NOT NULL AS clicked
        FROM seen FULL JOIN followed USING (query_id, item_id) LEFT JOIN listed_once USING (query_id, item_id)
    )
    SELECT item_id, keyphrase, position, count(*) AS impressions, count(*) FILTER (WHERE clicked) AS clicks,
        if((SELECT count(*) FROM sales) > 0, count(sold.query_id), NULL) AS sales
    FROM results JOIN asked USING (query_id) LEFT JOIN (SELECT DISTINCT * FROM sales) AS sold USING (query_id, item_id)
    GROUP BY ALL ORDER BY keyphrase, position NULLS LAST, item_id
"""
VOLUMES_SQL = "SELECT keyphrase, count(*) FROM asked GROUP BY ALL ORDER BY ALL"


def reject_unusable(database: duckdb.DuckDBPyConnection, reader: ImportReader) -> None:
    """Account for rows whose query is in no row, or is several, or has no words; needs `PREPARE`."""
    detail = "is the id of no query that could be used; import the log of queries as well"
    strays = database.execute(_STRAYS)
    while rows := strays.fetchmany(10_000):
        for source, row, line, query_id in rows:
            reader.rejects.add(Reject(source, row, line, "query_id", Reason.UNKNOWN_REFERENCE, detail, query_id))
    ambiguous = database.execute(_AMBIGUOUS)
    while rows := ambiguous.fetchmany(10_000):
        for source, row, line, query_id, *texts in rows:
            one, other = sorted(texts)
            detail = f"is the id of {one!r} and of {other!r}; one query has one query_id"
            reader.rejects.add(Reject(source, row, line, "query_id", Reason.CONTRADICTION, detail, query_id))
    reader.ignore("events of queries without user_query", database.sql(_WORDLESS).fetchall()[0][0])
