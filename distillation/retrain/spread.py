"""The choice of the mined pairs that are put to the judge."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keydistill.distillation.pairs import STRATA


def spread_over_strata(pairs: pa.Table, limit: int, seed: int) -> pa.Table:
    """At most `limit` pairs, spread evenly over the strata, in random order: a budget may stop anywhere."""
    stratum = pc.index_in(pairs["stratum"], value_set=pa.array(STRATA)).to_numpy()
    order = np.random.default_rng(seed).permutation(len(pairs))
    # The n-th pair of each stratum comes before the n+1-th of any.
    by_stratum = order[np.argsort(stratum[order], kind="stable")]
    counts = np.bincount(stratum, minlength=len(STRATA))
    turn = np.concatenate([np.arange(count) for count in counts])
    places = by_stratum[np.argsort(turn, kind="stable")][:limit]
    return pairs.take(pa.array(places))
