"""``callkeeper config``: is the file right, what would it change, and bring it into force."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click
from rich.console import Console
from rich.text import Text

from callkeeper import controllers, settings, wiring
from callkeeper.clock import helsinki_day
from callkeeper.controllers import Change, Changes, Config, Finding, Severity

APPLIERS = ("data_team", *controllers.OFFICERS)

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}


@click.group("config")
def group() -> None:
    """The configuration: controllers, lines, processors, vendors, terms."""


@group.command()
def check() -> None:
    """Says every fault of the file. Exit 1 if there is one, or if something in it stops the import."""
    app = wiring.build(settings.load())
    config = app.config
    findings = _tell(config)
    if not findings:
        click.secho(f"{app.settings.config_file.name} is right.", fg="green")
    if any(f.severity is Severity.stops_import for f in findings):
        raise SystemExit(1)


@group.command()
def diff() -> None:
    """Says what `apply` would change. Exit 0: nothing, 2: something."""
    app = wiring.build(settings.load())
    with app.connect() as conn:
        changes = controllers.diff(conn, app.config)
    _show(changes)
    _tell(app.config)
    if changes:
        raise SystemExit(2)


@group.command()
@click.option("--as", "account", help="Your Airflow account.")
@click.option("--yes", is_flag=True, help="Don't ask before.")
def apply(account: str | None, yes: bool) -> None:
    """Brings the file into force, and keeps what was. Deletes nothing; a second time it changes nothing.

    A change of who may decide, or hear recordings, is for the privacy officer and her deputies.
    """
    from callkeeper.commands.signin import sign_in

    app = wiring.build(settings.load())
    with app.connect() as conn:
        changes = controllers.diff(conn, app.config)
    _show(changes)
    if not changes:
        return
    if not yes:
        click.confirm("Bring this into force?", abort=True)
    who = sign_in(app, account, controllers.OFFICERS if changes.of_duties else APPLIERS)
    with app.connect() as conn:
        changes = controllers.apply(conn, app.config, app.actor(conn, account=who))
    click.secho(f"Configuration {changes.version} is in force.", fg="green")
    _tell(app.config)


def _tell(config: Config) -> Sequence[Finding]:
    findings = controllers.preflight_all(config, helsinki_day(datetime.now().astimezone()))
    for finding in findings:
        stops = finding.severity is Severity.stops_import
        click.secho(
            f"{'Stops the import' if stops else 'Warning'}: {finding.message}",
            fg="red" if stops else "yellow",
            err=True,
        )
    return findings


def _show(changes: Changes) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for change in changes.changes:
        console.print(_line(change))
        for field in change.fields if change.how == "changed" else ():
            console.print(
                Text.assemble(f"    {field.name}: ", (_said(field.old), "red"), " -> ", (_said(field.new), "green"))
            )
    if not changes:
        console.print(f"Nothing differs from configuration {changes.version}, which is in force.")
        return
    counts = ", ".join(f"{n} {how}" for how in ("added", "changed", "removed") if (n := changes.count(how)))
    against = f"configuration {changes.version}, which is in force" if changes.version else "nothing yet"
    console.print(f"{counts}, against {against}.")
    if changes.recordings_left:
        what = f"{changes.recordings_left} live recordings are of a line that would not be designated on their day."
        mend = (
            "They stay, with their controller and their term, until a person says that they were unlawful: "
            "`callkeeper approve unlawful`."
        )
        console.print(Text(f"{what} {mend}", "yellow"))


def _line(change: Change) -> Text:
    sign, colour = _SIGNS[change.how]
    return Text(f"{sign} {change.section}{f' {change.key}' if change.key else ''}", colour)


def _said(value: object) -> str:
    match value:
        case None | "" | []:
            return "(none)"
        case "9999-12-31":
            return "until further notice"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_said(v) for v in value)
        case dict():
            return ", ".join(f"{name} {_said(v)}" for name, v in value.items())
        case _:
            return str(value)
