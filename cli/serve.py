"""`keydistill serve`: the HTTP service, its API keys, and the sample of what it is asked for."""

from dataclasses import asdict
from pathlib import Path

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import print_json, print_table


@click.group(invoke_without_command=True)
@click.option("--host", help="Address to listen on; another than this machine's own needs API keys.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 takes a free one.")
@click.option("--processes", type=click.IntRange(1, 256), help="Processes behind the port.")
@click.option("--tls-cert", type=click.Path(path_type=Path, dir_okay=False), help="Certificate chain (PEM).")
@click.option(
    "--tls-key", type=click.Path(path_type=Path, dir_okay=False), help="Private key of the certificate (PEM)."
)
@click.option("--allow-without-keys", is_flag=True, help="Serve other machines although there is no API key.")
@click.option("--log-texts", is_flag=True, help="Log the titles of items.")
@click.pass_context
def serve(
    ctx: click.Context,
    host: str | None,
    port: int | None,
    processes: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    allow_without_keys: bool,
    log_texts: bool,
) -> None:
    """Answer over HTTP: keyphrases and vectors for items, by the live collection and its student.

    It follows swaps without a restart. Limits and everything else are settings whose names begin with `serve_`,
    `sample_` and `shadow_`.
    """
    if ctx.invoked_subcommand is not None:
        return
    from keydistill.serve import run_service

    settings = settings_of(
        ctx,
        serve_host=host,
        serve_port=port,
        serve_processes=processes,
        serve_tls_cert=tls_cert,
        serve_tls_key=tls_key,
        serve_log_texts=log_texts or None,
    )
    run_service(settings, allow_without_keys=allow_without_keys)


@serve.group()
def keys() -> None:
    """Make, list and remove API keys; a running service notices within seconds."""


@keys.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def new(ctx: click.Context, name: str, as_json: bool) -> None:
    """Make the API key NAME and print it, this once: only its hash is kept."""
    from keydistill.serve import KeyFile

    key = KeyFile.of(settings_of(ctx)).add(name)
    if as_json:
        print_json({"name": name, "key": key})
    else:
        click.echo(key)


@keys.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_keys(ctx: click.Context, as_json: bool) -> None:
    """List the API keys: their names, and when they were made."""
    from keydistill.serve import KeyFile

    settings = settings_of(ctx)
    file = KeyFile.of(settings)
    entries = file.read()
    if as_json:
        fixed = [{"name": name, "sha256": sha256, "created": None} for name, sha256 in settings.serve_keys.items()]
        print_json([*({"name": name, **asdict(entry)} for name, entry in entries.items()), *fixed])
        return
    rows = [(name, entry.created, str(file.path)) for name, entry in entries.items()]
    rows += [(name, "-", "settings") for name in settings.serve_keys]
    if rows:
        print_table(("name", "made", "where"), rows)
    else:
        click.echo("there is no API key; make one with `keydistill serve keys new NAME`", err=True)


@keys.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Remove the API key NAME."""
    from keydistill.serve import KeyFile

    KeyFile.of(settings_of(ctx)).remove(name)
    click.echo(f"{name} opens the service no more")


@serve.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File (.jsonl) to copy its items to.")
@click.option("--forget", is_flag=True, help="Delete it: all of its texts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sample(ctx: click.Context, out: Path | None, forget: bool, as_json: bool) -> None:
    """Show how much is in the sample of items that services were asked for (`sample_items`); no texts are shown."""
    from keydistill.serve import SampleFile

    if forget and out is not None:
        raise click.UsageError("Give either --out or --forget.")
    file = SampleFile.of(settings_of(ctx))
    if forget:
        file.forget()
    copied = None if out is None else file.copy(out)
    times = sorted(item.asked_at for item in file.read())
    state = {
        "file": str(file.path),
        "items": len(times),
        "oldest": times[0] if times else None,
        "newest": times[-1] if times else None,
        "copied": copied,
    }
    if as_json:
        print_json(state)
        return
    for name, value in state.items():
        if value is not None:
            click.echo(f"{name:<7} {value}")
