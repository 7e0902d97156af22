"""Writes the pages that are made from the code: settings.md, events.md, reasons.md, troubles.md, findings.md, notice.md, letters.md, access.md and the runbooks. A test compares."""

from __future__ import annotations

import ast
import dataclasses
import sys
import typing
from pathlib import Path

DOCS = Path(__file__).parent
PROJECT = DOCS.parent
MADE = "<!-- Made by docs/generate.py: change the code instead. -->\n\n"


def settings_page() -> str:
    from pydantic_core import PydanticUndefined

    from callkeeper.settings import Settings

    lines = [
        "# Settings", "",
        "Read from the environment, from `callkeeper.env` in the home folder, or, for what is secret, from a file of that",
        "name in the secrets folder (`CALLKEEPER_SECRETS_DIR`, by default `secrets/` in the home folder; mode 0600). The home",
        "folder is `CALLKEEPER_HOME`, by default `var/` in the project.", "",
        "| setting | default | meaning |", "|---|---|---|",
    ]  # fmt: skip
    for name, field in Settings.model_fields.items():
        default = field.default
        if default is PydanticUndefined:
            shown = {
                "home": "`var/`",
                "keys_dir": "`var/keys`",
                "trail_keys_dir": "`var/trail-keys`",
                "witness_dir": "`var/witness`",
            }[name]
        elif name in ("config_file", "notice_file"):
            shown = f"`{default.relative_to(PROJECT)}`"
        elif default is None or (hasattr(default, "get_secret_value")) or default == "":
            shown = ""
        else:
            shown = f"`{default}`"
        lines.append(f"| `CALLKEEPER_{name.upper()}` | {shown} | {field.description} |")
    return MADE + "\n".join(lines) + "\n"


def events_page() -> str:
    from callkeeper.trail import events

    lines = ["# Events of the trail", "", events.__doc__ or "", ""]
    kinds = [
        k
        for k in vars(events).values()
        if isinstance(k, type) and issubclass(k, events.Event) and k is not events.Event
    ]
    for kind in sorted(kinds, key=lambda k: (k.event_class, k.action)):
        lines += [
            f"## {kind.action}",
            "",
            f"Class `{kind.event_class}`, version {kind.version}. {kind.__doc__}",
            "",
            "| field | type |",
            "|---|---|",
        ]
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            hint = hints[field.name]
            shown = (
                hint.__name__
                if isinstance(hint, type) and not typing.get_args(hint)
                else str(hint).replace("typing.", "").replace("uuid.", "")
            )
            shown = shown.replace("collections.abc.", "").replace("|", "\\|")
            lines.append(f"| `{field.name.rstrip('_')}` | {shown} |")
        lines.append("")
    return MADE + "\n".join(lines)


def reasons_page() -> str:
    from callkeeper.quality import REASONS

    lines = [
        "# Why a call waits in quarantine",
        "",
        "| reason | what it means | what mends it | a person may let it pass |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{code}` | {r.means} | {r.mend} | {'yes' if r.releasable else 'no'} |"
        for code, r in REASONS.items()
        if r.gate
    ]
    lines += ["", "Only counted, never stopped:", "", "| check | what it means | what happens |", "|---|---|---|"]
    lines += [f"| `{code}` | {r.means} | {r.mend} |" for code, r in REASONS.items() if not r.gate]
    return MADE + "\n".join(lines) + "\n"


def troubles_page() -> str:
    from callkeeper.troubles import TROUBLES

    lines = [
        "# What can stand in a deletion's way",
        "",
        "`callkeeper deletions list` shows what is in trouble, open at a vendor, or waits for a person.",
        "",
        "| trouble | what it means | what to do |",
        "|---|---|---|",
    ]
    lines += [f"| `{code}` | {t.means} | {t.mend} |" for code, t in TROUBLES.items()]
    return MADE + "\n".join(lines) + "\n"


def findings_page() -> str:
    from callkeeper.trail.verify import FINDINGS, REMARKS

    lines = [
        "# What the verifier finds", "",
        "The names that `callkeeper-verify` gives to what it finds; they stay the same from release to release. See [for the auditor](auditor.md).", "",
        "## Broken", "", "Each of these makes the exit code 1.", "", "| finding | what it means |", "|---|---|",
    ]  # fmt: skip
    lines += [f"| `{name}` | {meaning} |" for name, meaning in FINDINGS.items()]
    lines += ["", "## To be known", "", "These break nothing.", "", "| remark | what it means |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in REMARKS.items()]
    return MADE + "\n".join(lines) + "\n"


def notice_page() -> str:
    from callkeeper.jobs.proving import CHECKS, SCHEMA, Verdict
    from callkeeper.notice import load_notice

    notice = load_notice(PROJECT / "config" / "notice.toml")
    lines = [
        "# The notice, promise by promise", "",
        f"The notice to callers of {notice.notice.version} ([its text](notice-fi.txt)), as `callkeeper prove` and the DAG `prove_notice`",
        "ask it. An answer is *kept*, *broken*, *could not be checked* (as red as broken) or *not yet applicable*. The quotes are the",
        "promise; the English is a rendering.", "",
    ]  # fmt: skip
    for promise in notice.promises:
        lines += [f"## {promise.title}", "", f"`{promise.id}`", ""]
        lines += [f"> {' '.join(quote.split())}\n" for quote in promise.quotes]
        check = " ".join((CHECKS[promise.evidence].__doc__ or "").split())
        lines += [f"{promise.english}", "", f"- **Control.** {promise.control}"]
        lines += [f"- **Kept when** (`{promise.evidence}`): {check[0].lower()}{check[1:]}", ""]
    lines += [
        "## The answers as JSON", "",
        f"`{SCHEMA}`: canonical JSON (sorted ASCII keys, no spaces, no floats, a line's end), in the store as",
        "`reports/notice/<day>/proof.json` beside the page for people; its SHA-256 is the `digest` of the event `notice.proven`. `at` is the",
        "database's present, `day` its Helsinki day, `run` the DAG's run, `notice` the notice's version, `code` and `config_version` those in",
        f"force, `counts` how many promises came to {', '.join(f'`{v}`' for v in Verdict)}. `answers` has for each promise its words (`promise`) and its",
        "`answer`: `verdict`, `figure`, `says` and, if it is red, `mend`.", "",
    ]  # fmt: skip
    return MADE + "\n".join(lines)


def letters_page() -> str:
    import dataclasses
    import re

    from jinja2 import meta

    from callkeeper import letters
    from callkeeper.letters import facts

    folder = Path(letters.__file__).parent / "templates"
    reader = letters._environment("fi")  # its filters are asked for, too
    every = [field.name for field in dataclasses.fields(facts.Facts) if field.default is dataclasses.MISSING]

    def asked(template: str) -> set[str]:
        tree = reader.parse((folder / template).read_text(encoding="utf-8"))
        return meta.find_undeclared_variables(tree).union(
            *(asked(t) for t in meta.find_referenced_templates(tree) if t)
        )

    def title(kind: str, language: str) -> str:
        first = (folder / language / f"{kind}.txt").read_text(encoding="utf-8").splitlines()[0]
        return " / ".join(part for part in re.split(r"{%.*?%}", first.removeprefix("# ")) if part)

    lines = [
        "# The letters", "",
        "What a person who asked, or a recipient of her data, is told: each as a tagged PDF (PDF/UA-1) and as plain text, in Finnish,",
        "Swedish and English ([why they are so](adr/0195-a-letter-lacks-nothing-and-has-no-field-for-a-hold.md)). Every letter carries the",
        "controller and its contact, the ticket, the right, the day of receipt and its own day, and cannot be printed without. *It tells*",
        "are the facts that its template may ask for besides; one that is not known stops it, and is named. *Complaint*: it names the",
        "authority and the judicial remedy. Name and address are filled in for one print, and kept nowhere.", "",
        "The texts: [`templates/`](../include/callkeeper/letters/templates), the words of codes: [`words/`](../include/callkeeper/letters/words),",
        "each letter as it reads: [`tests/golden/letters/`](../tests/golden/letters).", "",
    ]  # fmt: skip
    for kind in facts.Kind:
        rights = sorted(facts.RIGHTS_OF.get(kind, facts.RIGHTS), key=facts.RIGHTS.index)
        tells = sorted(asked(f"fi/{kind}.txt") - {"w", "kind", *every})
        complaint = "while the vendor has not confirmed" if "vendor_open" in tells else "no"
        complaint = "yes" if kind in facts.GIVE_LESS else complaint
        lines += [
            f"## {kind}", "",
            *(f"- {language}: {title(kind, language)}" for language in letters.LANGUAGES),
            f"- Answers: {', '.join(rights)}. Complaint: {complaint}.",
            f"- It tells: {', '.join(f'`{name}`' for name in tells) or 'nothing besides'}.", "",
        ]  # fmt: skip
    return MADE + "\n".join(lines)


def access_page() -> str:
    from callkeeper import controllers, disclosures, roles
    from callkeeper.jobs import approving, holding, listening

    kinds = {frozenset(): "–", frozenset(roles.Kind): "yes"} | {frozenset({kind}): kind.value for kind in roles.Kind}
    columns = [*roles.TITLES]
    head = [
        "| | " + " | ".join(f"{roles.TITLES[role]}<br>`{role}`" for role in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    words = {
        "data_team": "data team", "privacy_officers": "privacy officer", "deputies": "deputy", "approvers": "approver",
        "listeners": "listener of its company",
    }  # fmt: skip

    def whose(duties: typing.Iterable[str]) -> str:
        return ", ".join(words[duty] for duty in duties)

    first, second = whose(holding.PLACERS), whose(holding.SECONDERS)
    decided = [
        ("place a hold", first, "ratify within 3 days: another account of " + second),
        ("extend, narrow, release a hold", first, "before it takes effect: another account of " + second),
        ("take in, search, refuse, release a request", whose(controllers.OFFICERS), ""),
        ("approve what a request does", whose(controllers.OFFICERS), "erasure, objection, audio on weak evidence: another account of " + whose(controllers.SECONDERS)),
        ("ask for a disclosure, hand it over", whose(controllers.OFFICERS), "before anything is made: another account of " + whose(controllers.SECONDERS)),
        ("see a disclosure that the law forbids to tell", whose(controllers.OFFICERS), "the second is one of these, too"),
        *((f"say yes to {subject.replace('_', ' ')}", whose(approving.APPROVERS[subject]), "") for subject in approving.Subject),
        (f"listen for {', '.join(listening.PURPOSES).replace('_', ' ')}", words["listeners"], "asked and noted by the core; no page offers it yet"),
        (f"listen for {', '.join(listening.LAWFUL_PURPOSES).replace('_', ' ')}", whose(listening.OFFICERS), ""),
    ]  # fmt: skip
    assert set(disclosures.PURPOSES["group_company"]) == set(listening.PURPOSES)
    lines = [
        "# Who may do what", "",
        "Two doors, one after the other. Airflow's rights say what an account can open there; what is *decided* there, callkeeper asks its own",
        "configuration in force for once more (`[people]`, `listeners`), so that an admin of Airflow, a cleared task or a task that was marked",
        "by hand decides nothing ([why](adr/0233-airflow-opens-the-door-the-core-asks-again.md)). A test signs in as each account on a real Airflow, and tries each of",
        "these over its REST API on every DAG (`tests/acceptance/test_access.py`).", "",
        "## In Airflow", "",
        f"*by hand*: {', '.join(f'`{dag}`' for dag in sorted(roles.BY_HAND))}. *nightly*: all others.", "",
        *head,
        *(
            f"| {doing} | " + " | ".join(kinds[may.get(role, frozenset())] for role in columns) + " |"
            for doing, may in roles.WITH_A_DAG.items()
        ),
        *(
            f"| {doing} | " + " | ".join("yes" if role in may else "–" for role in columns) + " |"
            for doing, may in roles.BESIDES.items()
        ), "",
        "- A right to edit a DAG is Airflow's right to clear and to pause it, too: `callkeeper doctor` and each morning's `watch_deadlines` say which are paused.",
        "- Clearing a run by hand repeats what its own account asked for, which is done once; whoever clears it is no second person.",
        "- The admin reads runs, logs and parameters: they hold ticket numbers, ids and counts, and nothing personal.", "",
        "## In callkeeper, whatever Airflow lets", "",
        "| to | takes | and |", "|---|---|---|",
        *(f"| {what} | {who} | {more} |" for what, who, more in decided), "",
        "## In an Airflow of your own", "",
        "FAB must be its auth manager (`AIRFLOW__CORE__AUTH_MANAGER=airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager`). In Airflow's",
        "own environment, before it reads the DAGs:", "",
        "```",
        "callkeeper airflow roles      # makes the roles, or puts them right after an update",
        "callkeeper airflow accounts   # an account for everybody in [people] and `listeners`, and the tasks' own; asks for passwords",
        "```", "",
        "Where people sign in by LDAP or OAuth, leave the second out: map their groups to the roles (FAB's `AUTH_ROLES_MAPPING`); the account's",
        "name in Airflow is the one that `[people]` names. One account has one duty: two people are two accounts.", "",
        "| duty in the configuration | role in Airflow |", "|---|---|",
        *(f"| `{duty}` | `{role}` |" for duty, role in roles.OF_DUTY.items()), "",
    ]  # fmt: skip
    return MADE + "\n".join(lines)


def pages() -> dict[Path, str]:
    made = {
        DOCS / "settings.md": settings_page(),
        DOCS / "events.md": events_page(),
        DOCS / "reasons.md": reasons_page(),
        DOCS / "troubles.md": troubles_page(),
        DOCS / "findings.md": findings_page(),
        DOCS / "notice.md": notice_page(),
        DOCS / "letters.md": letters_page(),
        DOCS / "access.md": access_page(),
    }
    for dag in sorted((PROJECT / "dags").glob("*.py")):
        made[DOCS / "runbooks" / f"{dag.stem}.md"] = MADE + (ast.get_docstring(ast.parse(dag.read_text())) or "") + "\n"
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        sys.stdout.write(f"{path.relative_to(PROJECT)}\n")
