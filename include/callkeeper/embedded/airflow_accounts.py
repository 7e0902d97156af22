"""Run as a program, in the environment of an Airflow with FAB's auth manager: makes its roles of ours, and accounts.

One process, because each start of Airflow's own command line costs seconds. Standard input is a JSON object: ``accounts``, a list of
name, role, title, address and password (null: the account is not made, if it is not there); ``migrate``, whether to bring Airflow's
database up to date first. Standard output is a JSON object: which accounts were ``made``, ``changed`` (their role was another),
``missing``.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from callkeeper import roles


def main() -> None:
    """Safe to run again. An account's password stays as it is, its role becomes the one that is said."""
    asked = json.load(sys.stdin)
    done: dict[str, list[str]] = {"made": [], "changed": [], "missing": []}
    # Airflow's own words, and warnings, go elsewhere.
    with contextlib.redirect_stdout(sys.stderr):
        from airflow.cli.cli_parser import get_parser
        from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

        if asked["migrate"]:
            migrate = get_parser().parse_args(["db", "migrate"])
            migrate.func(migrate)
        with get_application_builder() as builder:
            _roles(builder.sm)
            for name, role, title, address, password in asked["accounts"]:
                if what := _account(builder.sm, name, role, title, address, password):
                    done[what].append(name)
    json.dump(done, sys.stdout)


def _roles(manager: Any) -> None:
    """The roles with exactly these rights; those of single DAGs (access_control) are Airflow's own to keep."""
    manager.sync_roles()
    manager.bulk_sync_roles([{"role": role, "perms": list(rights)} for role, rights in roles.PERMISSIONS.items()])
    for name, rights in roles.PERMISSIONS.items():
        role = manager.find_role(name)
        for permission in list(role.permissions):
            right = permission.action.name, permission.resource.name
            if right not in rights and not right[1].startswith(("DAG:", "DAG Run:")):
                manager.remove_permission_from_role(role, permission)


def _account(manager: Any, name: str, role: str, title: str, address: str, password: str | None) -> str | None:
    wanted = manager.find_role(role)
    if user := manager.find_user(name):
        others = [r for r in user.roles if r.name in roles.PERMISSIONS and r.name != role]
        if wanted in user.roles and not others:
            return None
        user.roles = [r for r in user.roles if r not in others and r is not wanted] + [wanted]
        manager.update_user(user)
        return "changed"
    if password is None:
        return "missing"
    if not manager.add_user(name, name, title, address, wanted, password):
        raise SystemExit(f"The account {name} could not be made.")
    return "made"


if __name__ == "__main__":
    main()
