"""`keydistill collections`: what is stored, and what is live."""

import click

from cli.context import engine_of, settings_of
from cli.output import bytes_text, print_json, print_table


@click.group()
def collections() -> None:
    """List collections and what is live."""


@collections.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_collections(ctx: click.Context, as_json: bool) -> None:
    """All collections, with the alias that names each."""
    with engine_of(settings_of(ctx)) as engine:
        named_by = {target: alias for alias, target in engine.aliases().items()}
        found = [engine.info(name) for name in engine.collections()]
    if as_json:
        print_json(
            [
                {
                    "name": info.name,
                    "alias": named_by.get(info.name),
                    "state": info.state,
                    "points": info.points,
                    "dimension": info.dimension,
                    "disk_bytes": info.disk_bytes,
                    "payload_indexes": dict(info.payload_indexes),
                    "metadata": dict(info.metadata),
                }
                for info in found
            ]
        )
        return
    if not found:
        click.echo("no collections yet; build one with `keydistill reindex INVENTORY`")
        return
    print_table(
        ("collection", "alias", "state", "points", "size", "student"),
        [
            (
                info.name,
                named_by.get(info.name, "-"),
                info.state,
                f"{info.points:,}",
                bytes_text(info.disk_bytes),
                info.metadata.get("student_version", "-"),
            )
            for info in found
        ],
        right=("points", "size"),
    )
