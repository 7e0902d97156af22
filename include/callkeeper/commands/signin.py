"""Who sits at the command line: an Airflow account, never the shell's user (architecture, rule 13)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

import click

from callkeeper import db
from callkeeper.errors import NotAllowed, WrongCredentials
from callkeeper.wiring import App


def _people_in_force(app: App) -> Mapping[str, Sequence[str]]:
    """[people] as applied last: whoever edits the file does not thereby give themselves a role. The file's before the first."""
    with app.connect() as conn:
        applied = db.queries().config_last(conn)
    people: Mapping[str, Sequence[str]] = (
        json.loads(applied.body)["people"] if applied else app.config.people.model_dump()
    )
    return people


def sign_in(app: App, account: str | None, roles: Sequence[str]) -> str:
    """The account's name, once Airflow has taken its password and the configuration's [people] name it in one of the roles.

    The password comes from a prompt, or from CALLKEEPER_PASSWORD for programs; never from the command line.
    """
    name = account or click.prompt("Airflow account")
    people = _people_in_force(app)
    allowed = {person for role in roles for person in people.get(role, ())}
    if name not in allowed:
        raise NotAllowed(
            f"{name} may not do this.", mend=f"It takes one of: {', '.join(roles)} ([people] in the configuration)."
        )
    password = os.environ.get("CALLKEEPER_PASSWORD") or click.prompt("Password", hide_input=True)
    request = urllib.request.Request(  # noqa: S310  # the address is a setting, not input
        f"{app.settings.airflow_url.rstrip('/')}/auth/token",
        data=json.dumps({"username": name, "password": password}).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            if "access_token" not in json.load(answer):
                raise WrongCredentials("Airflow gave no token.")
    except urllib.error.HTTPError as wrong:
        raise WrongCredentials(f"Airflow refused the account or its password (HTTP {wrong.code}).") from None
    except OSError:
        raise WrongCredentials(
            "Airflow does not answer: nobody can sign in.",
            mend="Start it (`make up`), or check CALLKEEPER_AIRFLOW_URL.",
        ) from None
    return name
