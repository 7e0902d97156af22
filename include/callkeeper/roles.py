"""Who may do what in Airflow: its roles of ours, made from here, and the table that a test holds a real Airflow to (docs/access.md).

Airflow's rights open its doors; what is decided there, callkeeper asks its own configuration's [people] for once more (docs/adr/0233).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

DATA_TEAM, OFFICER, APPROVER, LISTENER, AUDITOR, NOTES, ADMIN = (
    "callkeeper_data_team",
    "callkeeper_officer",
    "callkeeper_approver",
    "callkeeper_listener",
    "callkeeper_auditor",
    "callkeeper_notes",
    "Admin",
)
OF_DUTY: Mapping[str, str] = {
    "data_team": DATA_TEAM,
    "privacy_officers": OFFICER,
    "deputies": OFFICER,
    "approvers": APPROVER,
    "auditors": AUDITOR,
    "listeners": LISTENER,
}
"""Which role an account takes by its duty in the configuration."""

_Permission = tuple[str, str]


def _may(resource: str, *actions: str) -> list[_Permission]:
    return [(f"can_{action}", resource) for action in actions]


def _menus(*menus: str) -> list[_Permission]:
    return [("menu_access", menu) for menu in menus]


_SELF: list[_Permission] = [
    *_may("Website", "read"),
    *_may("My Password", "read", "edit"),
    *_may("My Profile", "read", "edit"),
]
_LOOK: list[_Permission] = [
    *_SELF,
    *_may("DAG Runs", "read"),
    *_may("DAG Versions", "read"),
    *_may("Task Instances", "read"),
    *_may("Task Logs", "read"),
    *_may("Assets", "read"),
    *_may("Jobs", "read"),
    *_may("HITL Detail", "read"),
    *_menus("Browse", "DAGs", "DAG Runs", "Task Instances", "Assets", "Jobs", "HITL Detail", "Docs", "Documentation"),
]
# Airflow's menu asks for this before it shows a plugin's page.
_DESK = _may("Plugins", "read")
# No role of ours has a right to all DAGs: each DAG names those it admits (access_control), and which of them create its runs.
PERMISSIONS: Mapping[str, list[_Permission]] = {
    DATA_TEAM: [
        *_LOOK,
        # "DAG Runs: create" it has of the nightly ones only, by their access_control.
        *_may("DAG Runs", "edit"),
        *_may("Task Instances", "create", "edit"),
        *_may("DAG Code", "read"),
        *_may("DAG Warnings", "read"),
        *_may("ImportError", "read"),
        *_may("XComs", "read"),
    ],
    OFFICER: [*_LOOK, *_DESK, *_may("DAG Runs", "create"), *_may("HITL Detail", "edit")],
    APPROVER: [*_LOOK, *_DESK, *_may("DAG Runs", "create"), *_may("HITL Detail", "edit")],
    # No DAG, and no page of ours yet: the desk is for those who answer requests.
    LISTENER: _SELF,
    AUDITOR: _LOOK,
    # The tasks' own account: all that it may change is a run's note. It asks who answered a question, and which ids accounts have.
    NOTES: [
        *_may("DAGs", "read"),
        *_may("DAG Runs", "read", "edit"),
        *_may("Task Instances", "read"),
        *_may("HITL Detail", "read"),
        *_may("Users", "read"),
    ],
}

# --- What that must come to -------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """Of which kind a DAG is."""

    nightly = "nightly"
    by_hand = "by hand"


BY_HAND = frozenset({"subject_request", "legal_hold", "disclose"})
"""The DAGs in which a person decides; all others run by the clock."""


def kind_of(dag: str) -> Kind:
    return Kind.by_hand if dag in BY_HAND else Kind.nightly


_BOTH = frozenset(Kind)
_NIGHTLY, _HAND = frozenset({Kind.nightly}), frozenset({Kind.by_hand})

WITH_A_DAG: Mapping[str, Mapping[str, frozenset[Kind]]] = {
    "see it and its runs": dict.fromkeys((DATA_TEAM, OFFICER, APPROVER, AUDITOR, NOTES, ADMIN), _BOTH),
    "read a task's log": dict.fromkeys((DATA_TEAM, OFFICER, APPROVER, AUDITOR, ADMIN), _BOTH),
    "read what tasks hand on (XCom)": dict.fromkeys((DATA_TEAM, ADMIN), _BOTH),
    "trigger it": {DATA_TEAM: _NIGHTLY, OFFICER: _HAND, APPROVER: _HAND, ADMIN: _BOTH},
    "clear its tasks": dict.fromkeys((DATA_TEAM, ADMIN), _BOTH),
    "mark a task by hand": dict.fromkeys((DATA_TEAM, ADMIN), _BOTH),
    "change a run's note or state": dict.fromkeys((DATA_TEAM, NOTES, ADMIN), _BOTH),
    "pause it": {DATA_TEAM: _BOTH, OFFICER: _HAND, APPROVER: _HAND, NOTES: _BOTH, ADMIN: _BOTH},
    "answer its questions": {OFFICER: _HAND, APPROVER: _HAND, ADMIN: _BOTH},
    "delete a run of it": {ADMIN: _BOTH},
    "delete it": {ADMIN: _BOTH},
}
"""What each role may do with which DAGs, by Airflow's rights; whoever is not named may not."""

BESIDES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(
        (
            "read variables", "write variables", "read connections", "write connections", "read pools", "write pools",
            "read Airflow's own log", "make accounts",
        ),
        frozenset({ADMIN}),
    ),
    "list accounts": frozenset({NOTES, ADMIN}),
    # Airflow shows it to nobody, unless [api] expose_config says so.
    "read Airflow's configuration": frozenset(),
}  # fmt: skip
"""What each role may do besides."""

TITLES: Mapping[str, str] = {
    DATA_TEAM: "data team",
    OFFICER: "privacy officer, deputy",
    APPROVER: "approver",
    LISTENER: "listener",
    AUDITOR: "auditor",
    NOTES: "the tasks' own",
    ADMIN: "admin",
}
