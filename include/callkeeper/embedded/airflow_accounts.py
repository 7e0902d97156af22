"""Run as a program, in Airflow's environment: migrates Airflow's database, then makes roles and accounts.

One process, because each start of Airflow's own command line costs seconds. Passwords come on standard input,
as a JSON object of account to password.
"""

from __future__ import annotations

import json
import sys

from callkeeper.embedded.airflow import ACCOUNTS, ROLES


def main() -> None:
    """Safe to run again: what is there already stays as it is."""
    from airflow.cli.cli_parser import get_parser
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    passwords: dict[str, str] = json.load(sys.stdin)
    migrate = get_parser().parse_args(["db", "migrate"])
    migrate.func(migrate)
    with get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        manager.bulk_sync_roles([{"role": role, "perms": permissions} for role, permissions in ROLES.items()])
        for account in ACCOUNTS:
            if manager.find_user(account.name):
                continue
            role = manager.find_role(account.role)
            email = f"{account.name}@localhost"
            if not manager.add_user(account.name, account.name, account.title, email, role, passwords[account.name]):
                raise SystemExit(f"The account {account.name} could not be made.")


if __name__ == "__main__":
    main()
