"""Lists that advertisers can use: what is done between the nearest keyphrases and the list that is answered."""

from keydistill.retrieval.lists.build import ListArguments, Neighbours, Reranker, build_lists
from keydistill.retrieval.lists.options import ListOptions
from keydistill.retrieval.lists.variants import plural_folded, variant_keys

__all__ = ["ListArguments", "ListOptions", "Neighbours", "Reranker", "build_lists", "plural_folded", "variant_keys"]
