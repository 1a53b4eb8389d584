"""`keydistill models`: the registry of students and assistants."""

from typing import TYPE_CHECKING, Any

import click

from keydistill.cli.completed_values import model_versions
from keydistill.cli.context import reading_settings_of
from keydistill.cli.output import bytes_text, print_json, print_table
from keydistill.errors import ModelError, one_line

if TYPE_CHECKING:
    from keydistill.distillation.registry import ModelVersion, Registry


@click.group()
def models() -> None:
    """List, compare and promote versions of students and assistants."""


@models.command("list")
@click.option("--kind", type=click.Choice(["student", "assistant"]), help="Kind of models to list.  [default: both]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_models(ctx: click.Context, kind: Any, as_json: bool) -> None:
    """List all versions, each kind from the oldest to the newest."""
    registry = _registry(ctx)
    versions = registry.versions(kind)
    promoted = _promoted(registry)
    if as_json:
        print_json([{**version.as_dict(), "promoted": version.full_name in promoted} for version in versions])
        return
    if not versions:
        click.echo(f"no models in {registry.root} yet; training publishes them there")
        return
    print_table(
        ("version", "promoted", "published", "size", "parent", "first metrics"),
        [
            (
                version.full_name,
                "yes" if version.full_name in promoted else "",
                version.created_at,
                bytes_text(version.bytes),
                version.lineage.parent or "-",
                ", ".join(f"{name} {_value(value)}" for name, value in _numbers(version)[:2]) or "-",
            )
            for version in versions
        ],
        right=("size",),
    )


@models.command("show")
@click.argument("version", shell_complete=model_versions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show_model(ctx: click.Context, version: str, as_json: bool) -> None:
    """Show everything that is known about VERSION (student/NAME, its beginning, or student/promoted)."""
    registry = _registry(ctx)
    model = registry.get(version)
    history = [entry for entry in registry.history(model.kind) if model.name in (entry.version, entry.previous)]
    if as_json:
        from dataclasses import asdict

        print_json(
            {
                **model.as_dict(),
                "promoted": model.full_name in _promoted(registry),
                "history": [asdict(entry) for entry in history],
            }
        )
        return
    from keydistill.distillation.registry import flattened

    click.echo(f"{'version':<12} {model.full_name}")
    click.echo(f"{'folder':<12} {model.folder}, {bytes_text(model.bytes)}")
    click.echo(f"{'published':<12} {model.created_at}")
    for entry in history:
        did = "promoted" if entry.version == model.name else f"replaced by {entry.version}"
        click.echo(f"{did} {entry.at} by {entry.by}{f': {one_line(entry.reason)}' if entry.reason else ''}")
    lineage = model.lineage
    blocks: list[tuple[str, list[tuple[str, object]]]] = [
        ("metrics", list(flattened(model.metrics).items())),
        (
            "made from",
            [(file.role, f"{file.path}, {_rows(file.rows)}, SHA-256 {file.sha256[:12]}") for file in lineage.inputs],
        ),
        ("settings", [("parent", lineage.parent), ("seed", lineage.seed), *flattened(lineage.settings).items()]),
        ("packages", list(lineage.packages.items())),
    ]
    for name, lines in blocks:
        if lines:
            click.echo(f"\n{name}")
            width = max(len(key) for key, _ in lines)
            for key, value in lines:
                click.echo(f"  {key:<{width}}  {_value(value)}")


@models.command()
@click.argument("a", shell_complete=model_versions)
@click.argument("b", shell_complete=model_versions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def compare(ctx: click.Context, a: str, b: str, as_json: bool) -> None:
    """Show the metrics of versions A and B side by side, and what differs in how they were made."""
    from keydistill.distillation.registry import differences, flattened

    registry = _registry(ctx)
    first, second = registry.get(a), registry.get(b)
    metrics = flattened(first.metrics), flattened(second.metrics)
    names = list(dict.fromkeys([*metrics[0], *metrics[1]]))
    differing = differences(first.lineage, second.lineage)
    if as_json:
        print_json(
            {
                "a": first.full_name,
                "b": second.full_name,
                "metrics": {name: {"a": metrics[0].get(name), "b": metrics[1].get(name)} for name in names},
                "lineage": {each.name: {"a": each.a, "b": each.b} for each in differing},
            }
        )
        return
    print_table(
        ("metric", first.full_name, second.full_name, "b - a"),
        [(name, *(_value(each.get(name)) for each in metrics), _gain(name, *metrics)) for name in names],
        right=(first.full_name, second.full_name, "b - a"),
    )
    click.echo("")
    if not differing:
        click.echo("Both were made from the same.")
        return
    print_table(
        ("differs in", first.full_name, second.full_name),
        [(each.name, _short(each.a), _short(each.b)) for each in differing],
    )


@models.command()
@click.argument("version", shell_complete=model_versions)
@click.option("--reason", default="", help="Reason for the promotion, kept in the history.")
@click.option("--dry-run", is_flag=True, help="Verify the version, show what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def promote(ctx: click.Context, version: str, reason: str, dry_run: bool, as_json: bool) -> None:
    """Make VERSION the one that the settings mean by "promoted". What is live changes with the next reindex."""
    registry = _registry(ctx)
    model = registry.get(version)
    before = registry.promoted_name(model.kind)
    if dry_run:
        model.verify()
    else:
        registry.promote(model, reason=reason)
    changes = before != model.name
    if as_json:
        print_json({"kind": model.kind, "from": before, "to": model.name, "changes": changes, "dry_run": dry_run})
        return
    if not changes:
        click.echo(f"{model.full_name} is the promoted {model.kind} already")
    else:
        click.echo(f"promoted {model.kind}: {before or 'nothing'} -> {model.name}")
    if dry_run:
        click.echo("dry run: nothing was changed")


@models.command()
@click.argument("versions", nargs=-1, metavar="[VERSION]...", shell_complete=model_versions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(ctx: click.Context, versions: tuple[str, ...], as_json: bool) -> None:
    """Compare every file of VERSIONs, or of all versions, with the hashes that were published."""
    registry = _registry(ctx)
    problems: list[ModelError] = []
    chosen = (
        [registry.get(version) for version in versions] if versions else registry.versions(on_problem=problems.append)
    )
    intact: list[ModelVersion] = []
    for version in chosen:
        try:
            version.verify()
            intact.append(version)
        except ModelError as error:
            problems.append(error)
    if as_json and not problems:
        print_json([{"version": version.full_name, "files": len(version.files), "ok": True} for version in intact])
        return
    for version in () if as_json else intact:
        click.echo(f"ok  {version.full_name}, {len(version.files)} files, {bytes_text(version.bytes)}")
    if problems:
        raise type(problems[0])("; ".join(map(str, problems)))
    if not chosen:
        click.echo(f"no models in {registry.root} yet")


def _registry(ctx: click.Context) -> "Registry":
    from keydistill.distillation.registry import Registry

    return Registry.of(reading_settings_of(ctx, "models"))


def _promoted(registry: "Registry") -> set[str]:
    from keydistill.distillation.registry import MODEL_KINDS

    return {f"{kind}/{name}" for kind in MODEL_KINDS if (name := registry.promoted_name(kind))}


def _numbers(version: "ModelVersion") -> list[tuple[str, float]]:
    from keydistill.distillation.registry import flattened

    return [(name, value) for name, value in flattened(version.metrics).items() if _is_number(value)]


def _gain(name: str, a: dict[str, Any], b: dict[str, Any]) -> str:
    if not (_is_number(a.get(name)) and _is_number(b.get(name))):
        return ""
    return f"{b[name] - a[name]:+.4g}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def _short(value: object) -> str:
    text = _value(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _rows(rows: int | None) -> str:
    return "no table" if rows is None else f"{rows:,} rows"
