"""`keydistill plan`: what an inventory of a given size wants."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import bytes_text, duration_text, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keydistill.capacity import Capacity, Figures

_GB = 1_000_000_000


@click.command()
@click.option("--keyphrases", type=click.IntRange(1, 10**10), required=True, help="Number of keyphrases.")
@click.option("--dimension", type=click.IntRange(min=1), help="Length of their vectors; else that of the figures.")
@click.option("--engine", type=click.Choice(["embedded", "server"]), help="Engine that holds them.")
@click.option("--quantization", help="Quantization of the vectors.")
@click.option("--shards", type=click.IntRange(min=1), help="Number of shards; else as many as the nodes want.")
@click.option("--replicas", type=click.IntRange(min=1), help="Number of copies of each shard.")
@click.option("--workers", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Workers that embed.")
@click.option(
    "--changed-per-day", type=click.IntRange(min=0), default=0, help="Keyphrases that are new or changed on a day."
)
@click.option("--payload-bytes", type=click.FloatRange(min=0), help="Bytes of payload per keyphrase on the disk.")
@click.option("--node-memory", type=click.FloatRange(min=0.1), help="Memory of a node in GB; else the measured one's.")
@click.option("--node-disk", type=click.FloatRange(min=0.1), help="Disk of a node in GB; else any.")
@click.option("--kills", type=click.IntRange(0, 1_000), default=0, help="Workers that are killed in the rebuild.")
@click.option("--figures", "figures_path", type=click.Path(path_type=Path), help="File that `keydistill bench` wrote.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    keyphrases: int,
    dimension: int | None,
    quantization: str | None,
    node_memory: float | None,
    node_disk: float | None,
    figures_path: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what an inventory wants: memory, disk, shards, nodes, and the time of a rebuild and of a sync.

    It is computed from what `keydistill bench` measured on this machine, or, where nothing was, from figures that come
    along; docs/scaling.md has the formulas. Nothing is changed.
    """
    from keydistill.capacity import default_figures, figures_file, plan_capacity, read_figures, wanted_of

    # By the settings, so that contradictions are told as always.
    settings = settings_of(ctx, quantization=quantization)
    measured = figures_file(settings)
    path = figures_path or (measured if measured.is_file() else None)
    figures = default_figures() if path is None else read_figures(path)
    wanted = wanted_of(
        settings,
        keyphrases,
        dimension or settings.dimension or figures.trials[-1].dimension,
        node_memory_bytes=round(node_memory * _GB) if node_memory else figures.machine["memory_bytes"],
        node_disk_bytes=round(node_disk * _GB) if node_disk else None,
        **options,
    )
    capacity = plan_capacity(wanted, figures)
    source = "figures that come along: nothing was measured here yet, run `keydistill bench`"
    source = source if path is None else str(path)
    if as_json:
        origin = {"from": source, "measured_at": figures.measured_at, "machine": figures.machine}
        print_json({"figures": origin, **capacity.as_dict()})
        return
    _print(capacity, figures, source)


def _print(capacity: "Capacity", figures: "Figures", source: str) -> None:
    wanted, machine, total = capacity.wanted, figures.machine, capacity.wanted.keyphrases
    _line("figures", source)
    busy = f", load {machine['load_before']} before" if machine.get("load_before", 0) >= 1 else ""
    _line("", f"of {machine['cpu']}, {machine['cores']} cores, {figures.measured_at[:10]}{busy}")
    _line("plan", f"{total:,} keyphrases of {wanted.dimension} dimensions, {wanted.quantization}, {wanted.engine}")
    click.echo()
    print_table(
        ("part", "kept", "bytes per keyphrase", "disk", "memory"),
        [
            (part.name, part.tier, f"{part.disk:,.0f}", _size(part.disk * total), _size(part.memory * total))
            for part in capacity.parts
            if part.disk
        ],
        right=("bytes per keyphrase", "disk", "memory"),
    )
    click.echo()
    copies = f", {wanted.replicas} replicas" if wanted.replicas > 1 else ""
    node = f"{_sizes(capacity.node_disk_bytes, capacity.node_memory_bytes)}, headroom of 20% in it"
    _line("collection", _sizes(capacity.disk_bytes, capacity.memory_bytes))
    _line("steady", f"{_sizes(**capacity.steady)}: what is live, and what is kept for a rollback{copies}")
    _line("in a rebuild", f"{_sizes(**capacity.rebuild)}: these, and the next one{copies}")
    if wanted.engine == "server":
        _line("nodes", f"{capacity.nodes}, each with {node}")
        _line("shards", f"{capacity.shards}, of {capacity.keyphrases_per_shard:,} keyphrases")
    else:
        _line("machine", node)
    _line("rebuild", f"{_steps(capacity.seconds)}; gate and verification beside")
    played = capacity.played
    again = f", {played.redone} parts begun again" if wanted.kills else ""
    _line(
        "embedding",
        f"{duration_text(capacity.worker_seconds)} of one worker's time; {wanted.workers} at work, busy for "
        f"{played.busy_share:.0%} of it{again}",
    )
    if capacity.sync_seconds:
        _line("daily sync", _steps(capacity.sync_seconds))


def _line(what: str, text: str) -> None:
    click.echo(f"{what:<15}{text}")


def _steps(seconds: "Mapping[str, float]") -> str:
    steps = ", ".join(f"{step} {duration_text(each)}" for step, each in seconds.items())
    return f"{duration_text(sum(seconds.values()))}: {steps}"


def _sizes(disk: float, memory: float) -> str:
    return f"{_size(disk)} on disk, {_size(memory)} in memory"


def _size(count: float) -> str:
    return bytes_text(round(count))
