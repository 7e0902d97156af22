"""``callkeeper airflow``: its roles and accounts, in whatever Airflow with FAB's auth manager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from callkeeper import controllers, roles, settings
from callkeeper.embedded.airflow import NOTES_ACCOUNT
from callkeeper.errors import ConfigurationError, NotAllowed, SetupFailed


@click.group("airflow")
def group() -> None:
    """What callkeeper needs in an Airflow that `callkeeper up` did not make."""


@group.command("roles")
def roles_() -> None:
    """Makes callkeeper's roles, or puts them right. Run it in Airflow's own environment, before Airflow reads the DAGs.

    A DAG that names a role which is not there is not read. Where people sign in elsewhere (LDAP, OAuth), map their groups to these
    roles (AUTH_ROLES_MAPPING), and no account is made here.
    """
    _run([])
    for role in roles.PERMISSIONS:
        click.echo(f"{role:24} {roles.TITLES[role]}")
    click.echo("What each may do: docs/access.md.")


@group.command()
@click.option(
    "--passwords",
    type=click.File(encoding="utf-8"),
    help="A file (-: standard input) with lines `account: password`; whoever is not in it you are asked for.",
)
def accounts(passwords: TextIO | None) -> None:
    """Makes an account for everybody in [people] and `listeners`, and the tasks' own, each with the role of its duty.

    Accounts that are there keep their passwords. One account has one duty here: two people means two accounts.
    """
    wanted = _wanted()
    known = _read(passwords)
    if unknown := known.keys() - wanted.keys():
        raise NotAllowed(f"{len(unknown)} lines name an account that the configuration does not.")
    found = _run([(name, role, known.get(name)) for name, role in wanted.items()])
    if missing := found["missing"]:
        asked = [(name, wanted[name], _asked(name, wanted[name])) for name in missing]
        found["made"] += _run(asked)["made"]
    for name, role in wanted.items():
        what = "made" if name in found["made"] else "its role was put right" if name in found["changed"] else "is there"
        click.echo(f"{name:24} {role:24} {what}")


def _wanted() -> dict[str, str]:
    """Each account that the configuration names, and its role. Raises ConfigurationError where one would need two."""
    config = controllers.load_config(settings.load().config_file)
    duties = config.people.model_dump() | {"listeners": [a for c in config.controllers for a in c.listeners]}
    wanted: dict[str, str] = {NOTES_ACCOUNT: roles.NOTES}
    for duty, names in duties.items():
        for name in names:
            if wanted.setdefault(name, roles.OF_DUTY[duty]) != roles.OF_DUTY[duty]:
                raise ConfigurationError(
                    f"The account {name} has two duties: {roles.TITLES[wanted[name]]}, {roles.TITLES[roles.OF_DUTY[duty]]}.",
                    mend="Give each duty an account of its own.",
                )
    return wanted


def _asked(name: str, role: str) -> str:
    said: str = click.prompt(f"Password of {name} ({roles.TITLES[role]})", hide_input=True, confirmation_prompt=True)
    return said


def _read(file: TextIO | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, line in enumerate(file or (), start=1):
        name, _, password = (part.strip() for part in line.partition(":"))
        if name and not password:
            raise NotAllowed(f"Line {place} has no password.")
        if name:
            found[name] = password
    return found


def _run(wanted: Sequence[tuple[str, str, str | None]]) -> dict[str, list[str]]:
    """In a process of its own: Airflow takes seconds to import, and speaks a lot."""
    asked = [(name, role, roles.TITLES[role], f"{name}@localhost", password) for name, role, password in wanted]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "callkeeper.embedded.airflow_accounts"],
        env=dict(os.environ),
        input=json.dumps({"migrate": False, "accounts": asked}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SetupFailed(
            "Airflow did not take the roles and accounts.",
            mend="Run it where `airflow` runs, with Airflow's own environment; FAB's must be its auth manager.",
        )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found
