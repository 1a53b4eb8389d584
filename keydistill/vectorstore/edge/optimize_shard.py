"""Optimise one embedded shard: run as a script, `python -P optimize_shard.py FOLDER`.

It imports nothing of ours: a child is started for every collection that is finished, and the engine's library alone is
there in a twentieth of a second.
"""

import ctypes
import json
import os
import signal
import sys

import qdrant_edge

_PR_SET_PDEATHSIG = 1
# Where few points are expected to pass a filter, the engine does not ask the graph: it takes the condition that the
# fewest points pass and looks at all of these. Two independent conditions may then be passed by sqrt(threshold * N) of
# N points each: by 81,000 of a million with the engine's usual threshold of 10,000 KB at 384 dimensions. Here it is at
# most 25,000, for any N between 100,000 and 6.5 million (docs/tuning.md).
_LEAST, _MOST, _PRODUCT = 100, 6_500, 650_000_000


def full_scan_points(points: int) -> int:
    """The number of passing points below which a collection of so many `points` answers without its graph."""
    return max(_LEAST, min(_MOST, _PRODUCT // max(1, points)))


def optimize(folder: str) -> None:
    """Optimise the closed shard in a folder."""
    shard = qdrant_edge.EdgeShard.load(folder)
    info = shard.info()
    # A graph that is there, as in a copy that a sync changed, would be made anew for another threshold.
    if info.indexed_vectors_count == 0:
        shard.close()
        _set_full_scan_threshold(os.path.join(folder, "edge_config.json"), full_scan_points(info.points_count))
        shard = qdrant_edge.EdgeShard.load(folder)
    shard.optimize()
    shard.flush()
    shard.close()


def _set_full_scan_threshold(file: str, points: int) -> None:
    """Change the threshold in the file where the engine keeps the settings of a shard, which is closed."""
    with open(file, encoding="utf-8") as stored:
        config = json.load(stored)
    bytes_per_point = 4 * config["vectors"][""]["size"]
    config["hnsw_config"]["full_scan_threshold"] = -(-points * bytes_per_point // 1024)
    with open(f"{file}.new", "w", encoding="utf-8") as draft:
        json.dump(config, draft)
    os.replace(f"{file}.new", file)


if __name__ == "__main__":
    if sys.platform == "linux":
        # A caller that is killed cannot stop us, and we would go on holding the shard.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    optimize(sys.argv[1])
