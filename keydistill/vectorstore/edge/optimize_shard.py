"""Optimise one embedded shard: run as a script, `python -P optimize_shard.py FOLDER`.

It imports nothing of ours: a child is started for every collection that is finished, and the engine's library alone is
there in a twentieth of a second.
"""

import ctypes
import signal
import sys

import qdrant_edge

_PR_SET_PDEATHSIG = 1


def _optimize(folder: str) -> None:
    if sys.platform == "linux":
        # A caller that is killed cannot stop us, and we would go on holding the shard.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    shard = qdrant_edge.EdgeShard.load(folder)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    _optimize(sys.argv[1])
