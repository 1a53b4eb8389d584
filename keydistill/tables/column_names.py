"""What other programs call columns that we know, written as `plain_name` has them; the first one in a file counts."""

from collections.abc import Mapping

ALIASES: Mapping[str, tuple[str, ...]] = {
    # Quepid, OpenSearch and UBI speak of queries, advertising tools of keywords and search terms.
    "keyphrase": (
        "query",
        "query_text",
        "user_query",
        "search_query",
        "search_term",
        "search_keyword",
        "keyword",
        "term",
    ),
    "item_id": ("docid", "doc_id", "document_id", "docno", "product_id", "listing_id", "asin", "sku", "id"),
    "title": ("product_title", "product_name", "item_title", "item_name", "name"),
    "grade": ("rating", "relevance_grade"),
    "search_volume": ("volume", "monthly_searches", "avg_monthly_searches", "searches"),
}
