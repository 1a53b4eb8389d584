"""`keydistill exporter`: metrics of runs, aliases, workers and schedules."""

import click

from keydistill.cli.context import settings_of
from keydistill.telemetry import configure_logs


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=9_465, show_default=True, help="Port to listen on.")
@click.option("--once", is_flag=True, help="Print the metrics and end, as for node_exporter's textfile collector.")
@click.pass_context
def exporter(ctx: click.Context, host: str, port: int, once: bool) -> None:
    """Let Prometheus read what the records say: runs, aliases, workers, queues, schedules, models, disk.

    One such process per installation is enough. Metrics of the service are the service's own, at its /metrics.
    """
    from keydistill.exporter import exposition, run_exporter

    settings = settings_of(ctx)
    if once:
        click.echo(exposition(settings), nl=False)
        return
    configure_logs(logger="keydistill.exporter")
    run_exporter(settings, host, port)
