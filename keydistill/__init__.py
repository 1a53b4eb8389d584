"""Recommends advertiser keyphrases: distilled bi-encoder retrieval out of millions of buyer queries."""
