"""Recommendations for whole files of items: by one generation, in parts that outlive a killed process."""

from keydistill.retrieval.batch.request import BatchRequest, BatchSummary
from keydistill.retrieval.batch.run import recommend_file

__all__ = ["BatchRequest", "BatchSummary", "recommend_file"]
