"""The command line: ``callkeeper``. Each noun has a file in commands/, imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from callkeeper import __version__
from callkeeper.errors import CallkeeperError

COMMANDS = {
    "airflow": ("callkeeper.commands.airflow:group", "Make callkeeper's roles and accounts in an Airflow of your own."),
    "approve": ("callkeeper.commands.approve:approve", "What waits for a person's yes, and the yes."),
    "audit": (
        "callkeeper.commands.audit:group",
        "What an auditor takes home: the trail in a folder, a sample, the key.",
    ),
    "config": ("callkeeper.commands.config:group", "Check, compare and apply config/callkeeper.toml."),
    "days": ("callkeeper.commands.days:group", "Vendors' days that are not finished, and those a person gives up."),
    "deletions": ("callkeeper.commands.deletions:group", "Ways out that are not over, and what mends them."),
    "demo": (
        "callkeeper.commands.demo:demo",
        "Start everything, import ten days of made-up calls, let half-year-old ones go.",
    ),
    "disclosure": (
        "callkeeper.commands.disclosure:group",
        "Give recordings to an authority or a company of the group, by two people.",
    ),
    "doctor": ("callkeeper.commands.doctor:doctor", "Say what is wrong with this installation, and how to mend it."),
    "down": ("callkeeper.commands.stack:down", "Stop what `up` started."),
    "explain": ("callkeeper.commands.explain:explain", "One recording: its clock, what blocks it, what comes next."),
    "hold": ("callkeeper.commands.hold:group", "Keep recordings beyond their term, for a case; end it by two people."),
    "holds": ("callkeeper.commands.hold:register", "The register of holds."),
    "keys": ("callkeeper.commands.keys:group", "List, rotate and escrow the keys."),
    "prove": ("callkeeper.commands.prove:prove", "The notice's promises, asked of live data: kept, broken, not yet."),
    "quarantine": (
        "callkeeper.commands.quarantine:group",
        "What failed a check: why, what mends it, and a person's decision.",
    ),
    "reports": ("callkeeper.commands.reports:group", "What each night's deletions came to: to read, and as files."),
    "restore-check": (
        "callkeeper.commands.restore_check:restore_check",
        "After an older database was restored: what must not rise.",
    ),
    "seal": ("callkeeper.commands.seal:group", "Sign the trail now; its state, epochs and keys."),
    "stack": ("callkeeper.commands.stack:stack", "What of the embedded stack is running."),
    "status": ("callkeeper.commands.status:status", "The last nights' balances, unfinished days, quarantine."),
    "ticket": ("callkeeper.commands.ticket:group", "A person's request: take it in, see what is due, end it."),
    "up": ("callkeeper.commands.stack:up", "Start Postgres, the store and Airflow on this machine."),
    "watchdog": ("callkeeper.commands.watchdog:watchdog", "Exit non-zero, in words, when last night did not happen."),
}


class _Lazy(click.Group):
    """Imports a command's file only when it is called: the command line starts in a blink."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Keeps call recordings only as long as it may, and can prove it."""


def main() -> None:
    """Runs the command line; what goes wrong is told in words, without a traceback."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except CallkeeperError as wrong:
        click.secho(str(wrong), fg="red", err=True)
        sys.exit(75 if wrong.retry else 1)


if __name__ == "__main__":
    main()
