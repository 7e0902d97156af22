"""Who sits at the command line: an Airflow account, never the shell's user (architecture, rule 13)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence

import click

from callkeeper import controllers
from callkeeper.errors import NotAllowed, WrongCredentials
from callkeeper.wiring import App


def sign_in(app: App, account: str | None, roles: Sequence[str]) -> str:
    """The account's name, once Airflow has taken its password and the configuration's [people] name it in one of the roles.

    The password comes from a prompt, or from CALLKEEPER_PASSWORD for programs; never from the command line.
    """
    name = account or click.prompt("Airflow account")
    with app.connect() as conn:
        its = controllers.duties(conn, app.config, name)
    if not its.intersection(roles):
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
