"""The states that each kind of run goes through: one table of allowed moves per kind."""

from collections.abc import Mapping
from typing import Literal

Kind = Literal["reindex", "sync", "retrain"]
State = Literal[
    "planned",
    "snapshot",
    "building",
    "verifying",
    "gating",
    "ready",
    "live",
    "retired",
    "training",
    "applying",
    "done",
    "failed",
    "cancelled",
]
Moves = Mapping[State, frozenset[State]]

REINDEX: Moves = {
    "planned": frozenset({"snapshot", "failed", "cancelled"}),
    "snapshot": frozenset({"building", "failed", "cancelled"}),
    "building": frozenset({"verifying", "failed", "cancelled"}),
    "verifying": frozenset({"gating", "failed", "cancelled"}),
    "gating": frozenset({"ready", "failed", "cancelled"}),
    # Back, where a sync was accepted meanwhile: its changes come first.
    "ready": frozenset({"gating", "live", "failed", "cancelled"}),
    "live": frozenset({"retired"}),
    "retired": frozenset({"live"}),
    "failed": frozenset({"planned", "snapshot", "building", "verifying", "gating", "ready", "cancelled"}),
    "cancelled": frozenset(),
}

SYNC: Moves = {
    "planned": frozenset({"snapshot", "failed", "cancelled"}),
    # Done at once, where nothing would change.
    "snapshot": frozenset({"applying", "done", "failed", "cancelled"}),
    # Not cancelled: what was accepted is not lost, every collection catches up with it.
    "applying": frozenset({"done", "failed"}),
    "done": frozenset(),
    "failed": frozenset({"planned", "snapshot", "applying", "cancelled"}),
    "cancelled": frozenset(),
}

RETRAIN: Moves = {
    "planned": frozenset({"training", "failed", "cancelled"}),
    # Its stages are in the record, one by one.
    "training": frozenset({"done", "failed", "cancelled"}),
    "done": frozenset(),
    "failed": frozenset({"planned", "training", "cancelled"}),
    "cancelled": frozenset(),
}

MOVES: Mapping[Kind, Moves] = {"reindex": REINDEX, "sync": SYNC, "retrain": RETRAIN}


def working_states(kind: Kind) -> frozenset[State]:
    """States in which there is work to do, which may fail."""
    return frozenset(state for state, next_states in MOVES[kind].items() if "failed" in next_states)


def open_states(kind: Kind) -> frozenset[State]:
    """States in which a run is not over: somebody works on it, or it can be resumed."""
    return working_states(kind) | {"failed"}
