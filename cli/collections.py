"""`keydistill collections`: what is stored, what is live, and changing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from keydistill.cli import completed_values
from keydistill.cli.context import engine_of, reading_settings_of, sources_of
from keydistill.cli.output import bytes_text, print_json, print_table

if TYPE_CHECKING:
    from keydistill.ingest.aliases import AliasChanges


@click.group()
def collections() -> None:
    """List collections; swap, roll back and prune them."""


@collections.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_collections(ctx: click.Context, as_json: bool) -> None:
    """List all collections, with the alias that names each."""
    with engine_of(reading_settings_of(ctx)) as engine:
        named_by = {target: alias for alias, target in engine.aliases().items()}
        lost = engine.lost()
        infos = [engine.info(name) for name in engine.collections() if name not in lost]
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
                    "disk_is_estimated": info.disk_is_estimated,
                    "payload_indexes": dict(info.payload_indexes),
                    "storage": None if info.spec is None else {**info.spec.as_dict(), **info.made},
                    "metadata": dict(info.metadata),
                }
                for info in infos
            ]
            + [
                {"name": name, "alias": named_by.get(name), "state": "lost", "problem": lost[name].problem}
                for name in lost
            ]
        )
        return
    if not infos and not lost:
        click.echo("no collections yet; build one with `keydistill reindex INVENTORY`")
        return
    print_table(
        ("collection", "alias", "state", "points", "size", "student"),
        [
            (
                info.name,
                named_by.get(info.name, "-"),
                info.state,
                "-" if info.points is None else f"{info.points:,}",
                ("~" if info.disk_is_estimated else "") + bytes_text(info.disk_bytes),
                info.metadata.get("student_version", "-"),
            )
            for info in infos
        ]
        + [(name, named_by.get(name, "-"), "lost", "-", "-", "-") for name in lost],
        right=("points", "size"),
    )
    for each in lost.values():
        click.echo(f"warning: {each.problem}", err=True)


_take_over = click.option(
    "--take-over", is_flag=True, default=None, help="Move the alias although another installation owns it."
)
_why = click.option("--why", metavar="TEXT", help="Reason for the change, kept in the history.")


@collections.command("swap")
@click.argument("run_id", metavar="RUN", shell_complete=completed_values.run_ids)
@_why
@click.option("--force", is_flag=True, help="Swap although the gate refused; needs --why, which is kept.")
@_take_over
@click.pass_context
def swap_collection(ctx: click.Context, run_id: str, why: str | None, force: bool, take_over: bool | None) -> None:
    """Put the collection of RUN live: one built with `reindex --no-swap`, or one that the gate refused (--force)."""
    with _changes(ctx, take_over) as changes:
        run = changes.swap(run_id, why, force=force)
    click.echo(f"alias {run.alias} names {run.collection}")


@collections.command("rollback")
@click.option(
    "--to",
    metavar="COLLECTION",
    shell_complete=completed_values.collections,
    help="Collection to go back to.  [default: the one before]",
)
@_why
@_take_over
@click.option("--force", is_flag=True, help="Go back to a collection that was itself rolled back from; needs --to.")
@click.pass_context
def rollback_collection(
    ctx: click.Context, to: str | None, why: str | None, take_over: bool | None, force: bool
) -> None:
    """Put an earlier collection live again, with the student that built it."""
    with _changes(ctx, take_over) as changes:
        run = changes.rollback(to, why, force=force)
    click.echo(f"alias {run.alias} names {run.collection}, built by student {run.student_version}")


@collections.command("hold")
@click.argument("alias", shell_complete=completed_values.aliases)
@click.option("--why", metavar="TEXT", required=True, help="Reason for the hold, kept in the history.")
@click.pass_context
def hold_alias(ctx: click.Context, alias: str, why: str) -> None:
    """Stop every swap and rollback of ALIAS, those of schedules too, until it is released."""
    with _changes(ctx, alias=alias) as changes:
        change = changes.hold(why)
    click.echo(f"alias {alias} is held since {change.at}")


@collections.command("release")
@click.argument("alias", shell_complete=completed_values.aliases)
@_why
@click.pass_context
def release_alias(ctx: click.Context, alias: str, why: str | None) -> None:
    """Let ALIAS be swapped again."""
    with _changes(ctx, alias=alias) as changes:
        changes.release(why)
    click.echo(f"alias {alias} may be swapped again")


@collections.command("prune")
@click.option("--keep", type=click.IntRange(0), default=1, show_default=True, help="Earlier collections to keep.")
@click.option(
    "--collection",
    "named",
    metavar="NAME",
    shell_complete=completed_values.collections,
    multiple=True,
    help="Collection to drop although no run or no history says where it comes from; may be given more than once.",
)
@_why
@click.option("--dry-run", is_flag=True, help="Show what would be dropped, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def prune_collections(
    ctx: click.Context, keep: int, named: tuple[str, ...], why: str | None, dry_run: bool, as_json: bool
) -> None:
    """Drop collections that nothing needs: not live, not kept for a rollback, and past their grace time.

    And forget old runs, as `keydistill runs prune` does.
    """
    from keydistill.ingest.aliases import Pruning, RunRetention
    from keydistill.runs import open_store

    settings = reading_settings_of(ctx)
    with engine_of(settings) as engine:
        store = open_store(settings)
        pruning = Pruning(settings, engine, store)
        plan = pruning.plan(keep, named) if dry_run else pruning.prune(keep, why, named=named)
        if not dry_run:
            RunRetention(settings, engine, store).prune()
    if as_json:
        print_json({"dry_run": dry_run, "drop": plan.drop, "kept": plan.keep})
        return
    verb = "would be dropped" if dry_run else "dropped"
    rows = [*((name, verb) for name in plan.drop), *((name, f"kept: {reason}") for name, reason in plan.keep.items())]
    if rows:
        print_table(("collection", "what"), rows)
    click.echo("dry run: nothing was changed" if dry_run else f"{len(plan.drop)} dropped")


@collections.command("adopt")
@click.option("--dry-run", is_flag=True, help="Show what would be adopted, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def adopt_collections(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Rebuild a catalogue that is missing or damaged from the folders of collections and the records of runs.

    In a catalogue that is there, enter the folders that it does not name.
    """
    from keydistill.ingest.aliases import Adoption
    from keydistill.runs import open_store

    settings = reading_settings_of(ctx)
    with engine_of(settings) as engine:
        adoption = Adoption(settings, engine, open_store(settings))
        plan = adoption.plan() if dry_run else adoption.adopt()
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "collections": {name: entry.state for name, entry in plan.collections.items()},
                "aliases": plan.aliases,
                "unknown": plan.unknown,
            }
        )
        return
    for name, entry in plan.collections.items():
        click.echo(f"collection {name}: {entry.state}")
    for alias, target in plan.aliases.items():
        click.echo(f"alias {alias} names {target}")
    for name in plan.unknown:
        click.echo(f"{name}: no card and no run says what it is; the next build moves it to {settings.home / 'trash'}")
    adopted = f"{len(plan.collections)} collections"
    click.echo(f"{adopted} would be adopted; dry run: nothing was changed" if dry_run else f"{adopted} adopted")


@collections.command("history")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def collections_history(ctx: click.Context, as_json: bool) -> None:
    """Show what the aliases named when, and who changed them, newest first."""
    from keydistill.runs import open_store

    changes = list(reversed(open_store(reading_settings_of(ctx)).history()))
    if as_json:
        print_json([change.as_dict() for change in changes])
    elif not changes:
        click.echo("nothing was swapped yet")
    else:
        print_table(
            ("at", "by", "action", "alias", "from", "to", "why"),
            [
                (
                    each.at,
                    each.by,
                    each.action,
                    each.alias,
                    each.before or "nothing",
                    each.after or "-",
                    each.why or "-",
                )
                for each in changes
            ],
        )


@contextmanager
def _changes(ctx: click.Context, take_over: bool | None = None, alias: str | None = None) -> "Iterator[AliasChanges]":
    from keydistill.ingest.aliases import AliasChanges
    from keydistill.runs import open_store

    settings = reading_settings_of(ctx, take_over=take_over, alias=alias)
    with engine_of(settings) as engine:
        yield AliasChanges(settings, engine, open_store(settings), sources=sources_of(settings))
