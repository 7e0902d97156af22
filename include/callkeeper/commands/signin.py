"""Who sits at the command line: an Airflow account, never the shell's user (architecture, rule 13)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence

import click

from callkeeper import controllers, settings, wiring
from callkeeper.errors import NotAllowed, WrongCredentials
from callkeeper.wiring import App


def signed_in(account: str | None, roles: Sequence[str] = controllers.OFFICERS) -> tuple[App, str]:
    """The app, and who signed in to it, of one of these roles."""
    app = wiring.build(settings.load())
    return app, sign_in(app, account, roles)


def sign_in(app: App, account: str | None, roles: Sequence[str]) -> str:
    """The account's name, once Airflow has taken its password and the configuration's [people] name it in one of the roles.

    The password comes from a prompt, or from CALLKEEPER_PASSWORD for programs; never from the command line. Airflow's
    address comes from the installation's own file: whoever could name another server would sign in as anybody there.
    """
    airflow = settings.written(app.settings.home).airflow_url
    if app.settings.airflow_url != airflow:
        raise NotAllowed(
            "CALLKEEPER_AIRFLOW_URL is not the address that this installation's callkeeper.env has: nobody signs in there.",
            mend="Unset it, or write it into that file.",
        )
    name = account or click.prompt("Airflow account")
    with app.connect() as conn:
        its = controllers.duties(conn, app.config, name)
    if not its.intersection(roles):
        raise NotAllowed(
            f"{name} may not do this.", mend=f"It takes one of: {', '.join(roles)} ([people] in the configuration)."
        )
    password = os.environ.get("CALLKEEPER_PASSWORD") or click.prompt("Password", hide_input=True)
    request = urllib.request.Request(  # noqa: S310  # the address is a setting, not input
        f"{airflow.rstrip('/')}/auth/token",
        data=json.dumps({"username": name, "password": password}).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        # No proxy, which the environment could name as well.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=20) as answer:
            if "access_token" not in json.load(answer):
                raise WrongCredentials("Airflow gave no token.")
    except urllib.error.HTTPError as wrong:
        raise WrongCredentials(f"Airflow refused the account or its password (HTTP {wrong.code}).") from None
    except OSError:
        raise WrongCredentials(
            "Airflow does not answer: nobody can sign in.",
            mend="Start it (`make up`), or check CALLKEEPER_AIRFLOW_URL in callkeeper.env.",
        ) from None
    return name
