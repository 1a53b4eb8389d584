"""`keydistill doctor`: what is wrong with an installation, and what to run."""

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import CANNOT_WORK, NEEDS_SOMEBODY, print_json, print_table
from keydistill.errors import one_line


@click.command()
@click.option("--fix", is_flag=True, help="Mend what is safe to mend: permissions, stale leases, leftovers.")
@click.option("--list", "only_list", is_flag=True, help="List the checks and do none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, fix: bool, only_list: bool, as_json: bool) -> None:
    """Check settings, machine, engine, Redis, aliases, collections, records, leases, schedules and models.

    The exit status is 0 if nothing is wrong or all was mended, 3 if somebody should look, and 4 if queries or builds
    cannot work.
    """
    from keydistill.doctor import CHECKS, Patient, diagnose

    if only_list:
        if as_json:
            print_json([{"check": check.name, "summary": check.summary} for check in CHECKS])
        else:
            print_table(("check", "makes sure that"), [(check.name, check.summary) for check in CHECKS])
        return
    diagnoses = diagnose(Patient(settings_of(ctx, makes_home=False)), fix=fix)
    severities = {each.complaint.severity for each in diagnoses if not each.fixed}
    exit_status = CANNOT_WORK if "error" in severities else NEEDS_SOMEBODY if severities else 0
    if as_json:
        print_json(
            [
                {
                    "check": each.check,
                    "severity": each.complaint.severity,
                    "text": each.complaint.text,
                    "run": each.complaint.cure,
                    "fixable": each.complaint.fix is not None,
                    "fixed": each.fixed,
                }
                for each in diagnoses
            ]
        )
        ctx.exit(exit_status)
    for each in diagnoses:
        label = "fixed" if each.fixed else each.complaint.severity
        click.echo(f"{label:<9}{each.check}: {one_line(each.complaint.text)}")
        if not each.fixed:
            click.echo(f"{'':<9}{one_line(each.complaint.cure)}")
    if not diagnoses:
        click.echo(f"all {len(CHECKS)} checks are fine")
    ctx.exit(exit_status)
