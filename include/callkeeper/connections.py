"""Airflow's connections → settings, Airflow's context → actor: with dags/ and plugins/ the only code that imports Airflow."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    DagRunTriggerException,
)

from callkeeper import db, deletions, settings, wiring
from callkeeper.clock import helsinki_day
from callkeeper.deletions import Night
from callkeeper.deliveries import Outcome
from callkeeper.errors import (
    AirflowUnavailable,
    CallkeeperError,
    ConfigurationError,
    NotAllowed,
    NotBalanced,
    StoreUnavailable,
    TrailBroken,
)
from callkeeper.jobs.importing import Import
from callkeeper.notify import Message
from callkeeper.trail import witness
from callkeeper.trail.events import Actor

if TYPE_CHECKING:
    import httpx

    from callkeeper.jobs.leading import Stretch

log = logging.getLogger(__name__)

DATABASE, STORE, MAIL, AIRFLOW = "callkeeper_db", "callkeeper_store", "callkeeper_smtp", "callkeeper_airflow"
ANCHOR = "callkeeper_anchor"


def app() -> wiring.App:
    """The app of a task: what is secret comes from Airflow's connections, the rest from the settings."""
    override: dict[str, object] = {}
    pg = PostgresHook.get_connection(DATABASE)
    override |= {
        "db_host": pg.host,
        "db_port": pg.port or 5432,
        "db_name": pg.schema,
        "db_app_password": pg.password or "",
    }
    aws = S3Hook.get_connection(STORE)
    extra = aws.extra_dejson
    override |= {"store_access_key": aws.login or "", "store_secret_key": aws.password or ""}
    override |= {
        f"store_{mine}": extra[theirs]
        for mine, theirs in (("endpoint", "endpoint_url"), ("region", "region_name"))
        if theirs in extra
    }
    for identity in ("destroyer", "holder"):
        with contextlib.suppress(AirflowNotFoundException):  # a store with one identity for all has no such connection
            keys = BaseHook.get_connection(f"{STORE}_{identity}")
            override |= {
                f"store_{identity}_access_key": keys.login or "",
                f"store_{identity}_secret_key": keys.password or "",
            }
    for role in ("sealer", "ageing"):
        with contextlib.suppress(AirflowNotFoundException):
            override[f"db_{role}_password"] = BaseHook.get_connection(f"{DATABASE}_{role}").password or ""
    with contextlib.suppress(AirflowNotFoundException):
        keys = BaseHook.get_connection(ANCHOR)
        override |= {"anchor_access_key": keys.login or "", "anchor_secret_key": keys.password or ""}
        override |= {
            f"anchor_{mine}": keys.extra_dejson[theirs]
            for mine, theirs in (("endpoint", "endpoint_url"), ("region", "region_name"))
            if theirs in keys.extra_dejson
        }
    with contextlib.suppress(Exception):  # mail is not a must: doctor and the balance say so
        smtp = BaseHook.get_connection(MAIL)
        override |= {"smtp_host": smtp.host or "", "smtp_port": smtp.port or 25, "smtp_user": smtp.login or ""}
        override |= {"smtp_password": smtp.password or ""}
    return wiring.build(settings.load(**override))


class Told(AirflowFailException):
    """A failure of which the data team has been told already."""


@contextlib.contextmanager
def step() -> Iterator[wiring.App]:
    """A task's body: the app inside, and our errors as Airflow's, retried only where that helps.

    The error that Airflow logs has our words only: the library's own exception could show a value.
    """
    try:
        yield app()
    except NotBalanced as wrong:
        raise Told(str(wrong)) from None
    except CallkeeperError as wrong:
        kind = AirflowException if wrong.retry else AirflowFailException
        raise kind(str(wrong)) from None


def actor(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> Actor:
    """The task that acts, for the trail."""
    ti = context["ti"]
    return opened.actor(conn, dag=ti.dag_id, run=ti.run_id, task=ti.task_id, attempt=ti.try_number)


@contextlib.contextmanager
def importing(vendor: str, context: Mapping[str, Any]) -> Iterator[tuple[wiring.App, db.Connection, Import]]:
    """A step of import_recordings for one vendor: app, connection and the run's import."""
    with step() as opened, opened.connect() as conn:
        narrowed = context["params"].get("day") is not None
        yield (
            opened,
            conn,
            opened.importing(conn, context["run_id"], vendor, actor(opened, conn, context), narrowed=narrowed),
        )


@contextlib.contextmanager
def night(
    context: Mapping[str, Any], *, decides: bool = False
) -> Iterator[tuple[wiring.App, db.Connection, Night, Actor]]:
    """A step of delete_expired: app, connection, the run's night and who acts. ``decides``: by the clock, which must be right."""
    with step() as opened, opened.connect() as conn:
        if decides:
            _require_clock(opened, conn, context)
        found = deletions.find_night(conn, context["run_id"])
        conn.rollback()
        yield opened, conn, found, actor(opened, conn, context)


def _require_clock(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> None:
    from callkeeper.jobs import deleting

    if not opened.settings.demo:
        deleting.require_clock(conn, here=datetime.now(UTC), run_at=context.get("logical_date"))


def runbook(opened: wiring.App, dag_id: str) -> str:
    """Where a DAG's runbook can be read."""
    base = opened.settings.docs_url
    return f"{base.rstrip('/')}/runbooks/{dag_id}.md" if base else f"{opened.settings.airflow_link}/dags/{dag_id}"


def tell_failure(context: Mapping[str, Any]) -> None:
    """A task's failure callback: one mail to the data team, with ids and the runbook's link only."""
    if isinstance(context.get("exception"), Told):
        return
    ti = context["ti"]
    opened = app()
    if not opened.settings.smtp_host:
        log.warning("no mail relay is configured: nobody is told of this failure")
        return
    link = runbook(opened, ti.dag_id)
    where = f"{ti.dag_id}, {ti.task_id}" + (f" [{ti.map_index}]" if ti.map_index >= 0 else "")
    text = f"A task failed: {where}\nRun: {ti.run_id}\nTry: {ti.try_number}\n\nWhy stands in its log in Airflow. What to do: {link}\n"
    opened.notifier.send(Message(subject=f"callkeeper ALARM: {where} failed", text=text))


@contextlib.contextmanager
def _airflow(opened: wiring.App) -> Iterator[httpx.Client]:
    """Airflow's REST API as the tasks' own account. Raises httpx.HTTPError; ConfigurationError without its connection."""
    import httpx

    try:
        account = BaseHook.get_connection(AIRFLOW)
    except Exception:  # noqa: BLE001  # Airflow raises several kinds for a connection that is not there
        raise ConfigurationError(
            f"There is no connection {AIRFLOW}.",
            mend="It has Airflow's address, and an account of the role callkeeper_notes.",
        ) from None
    with httpx.Client(base_url=opened.settings.airflow_url.rstrip("/"), timeout=10) as http:
        answer = http.post("/auth/token", json={"username": account.login, "password": account.password})
        answer.raise_for_status()
        http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http


def note_run(opened: wiring.App, dag_id: str, run_id: str, note: str) -> None:
    """Puts a note on the DAG run, where the connection callkeeper_airflow allows it; 1,000 characters at most."""
    import httpx

    try:
        with _airflow(opened) as http:
            http.patch(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"note": note[:1000]}).raise_for_status()
    except ConfigurationError as wrong:
        log.info("%s The run gets no note.", wrong)
    except httpx.HTTPError as wrong:
        log.warning("the run's note could not be set: %s", type(wrong).__name__)


def failed_tasks(context: Mapping[str, Any]) -> list[str]:
    """The run's tasks that failed, or could not begin."""
    ti, run_id = context["ti"], context["run_id"]
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[run_id]).get(run_id, {})
    return sorted(name for name, state in states.items() if state in ("failed", "upstream_failed"))


def preflight(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> list[str]:
    """The vendors that the run may import from; the run's day is its parameter, its interval's, or yesterday."""
    from callkeeper.jobs.preflight import preflight as ask

    params, interval = context["params"], context.get("data_interval_start")
    manual = not str(context["run_id"]).startswith(("scheduled__", "backfill__"))
    if params.get("day"):
        day = date.fromisoformat(params["day"])
    elif interval is not None and not manual:
        day = helsinki_day(interval)
    else:
        day = helsinki_day(db.now(conn)) - timedelta(days=1)
    done = ask(
        conn,
        opened.config,
        run_key=context["run_id"],
        day=day,
        first_day=None if params.get("day") else opened.settings.import_first_day,
        only_vendor=params.get("vendor"),
        actor=actor(opened, conn, context),
    )
    return list(done.vendors)


def balance(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> dict[str, int]:
    """The run's balance: on its note, in the morning's mail; raises where something needs somebody."""
    from callkeeper import controllers
    from callkeeper.jobs import balancing

    ti, run_id = context["ti"], context["run_id"]
    result = balancing.balance(conn, run_id, actor(opened, conn, context))
    failures = failed_tasks(context)
    found = controllers.preflight_all(opened.config, helsinki_day(db.now(conn)))
    stopped = [f for f in found if f.severity is controllers.Severity.stops_import]
    windows = {v.id: v.retention_days for v in opened.config.vendors}
    news = balancing.morning(conn, result, windows=windows, findings=[str(f) for f in found], failures=failures)
    link = runbook(opened, ti.dag_id)
    mail = balancing.message(news, link=link)
    log.info("%s", mail.text)
    note_run(opened, ti.dag_id, run_id, balancing.note(news))
    asked = context["params"].get("vendor")
    unreadable = [d for d in news.unfinished if d.trouble and asked in (None, d.vendor)]
    red = bool(failures or stopped or unreadable or not result.balanced)
    if opened.settings.smtp_host and (red or not balancing.was_mailed(conn, run_id)):
        opened.notifier.send(mail)
        balancing.mark_mailed(conn, result.run)
    if red:
        raise NotBalanced(
            f"{len(failures)} tasks failed, {len(stopped)} rules stop an import, {len(unreadable)} days are in trouble, "
            f"the counts {'add' if result.balanced else 'DO NOT add'} up.",
            mend=f"The mail and this log say which. {link}",
        )
    return {str(outcome): result.total(outcome) for outcome in Outcome}


def legal_hold(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> dict[str, int]:
    """The run's action on its case, in the name of whoever triggered it; what came of it on the run's note."""
    from callkeeper.controllers import duties
    from callkeeper.jobs import holding

    params, account = context["params"], context["dag_run"].triggering_user_name
    if not account:
        raise NotAllowed("Nobody's account has triggered this run.", mend="Trigger it by hand, signed in.")
    done = holding.act(
        conn,
        params["case"],
        params["action"],
        account=account,
        duties=duties(conn, opened.config, account),
        actor=replace(actor(opened, conn, context), account=account),
        holder=opened.holder,
        review_on=_day(params["review_on"]),
        ends_on=_day(params["ends_on"]),
    )
    log.info("%s", done.text)
    note_run(opened, context["ti"].dag_id, context["run_id"], done.text)
    _tell_placed(opened, conn)
    return done.counts()


def begin_request(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> Stretch:
    """Carries the run's ticket to what a person must do next; where that is a question in Airflow, its people and its text lie in XCom."""
    from callkeeper.jobs import leading

    params, ti, dag_run = context["params"], context["ti"], context["dag_run"]
    account = dag_run.triggering_user_name
    stretch = leading.begin(
        opened,
        conn,
        ticket=params["ticket"],
        right=params["right"],
        what=params["action"],
        run=context["run_id"],
        account=account,
        actor=replace(actor(opened, conn, context), account=account),
        extension_reason=params["extension_reason"],
        lives=lambda run: _lives(opened, ti.dag_id, run),
    )
    if stretch.question:
        people = leading.asked(opened, conn, stretch.ticket, stretch.question)
        ti.xcom_push("question", stretch.question)
        ti.xcom_push("asked", _users(opened, people))
        ti.xcom_push("text", stretch.text)
        if stretch.question == "second":
            _tell_second(opened, ti, stretch)
    _tell_stretch(opened, context, stretch)
    return stretch


def record_answer(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> Stretch:
    """Makes rows of ours of what a person answered in Airflow; asks Airflow itself who that was, not what a task says of it."""
    from callkeeper.jobs import leading

    ti, run_id = context["ti"], context["run_id"]
    question = ti.xcom_pull(task_ids="begin", key="question")
    account, chosen, params = _answer(opened, ti.dag_id, run_id, question)
    stretch = leading.record(
        opened,
        conn,
        ticket=context["params"]["ticket"],
        question=question,
        chosen=chosen,
        params=params,
        run=run_id,
        account=account,
        actor=replace(actor(opened, conn, context), account=account),
    )
    _tell_stretch(opened, context, stretch)
    return stretch


def go_on(context: Mapping[str, Any], stretch: Stretch) -> None:
    """Has Airflow start the ticket's next run, if there is one, as TriggerDagRunOperator would, whose import alone takes a second.

    A run of that id is the next one already, whoever triggered it.
    """
    if stretch.goes_on is None:
        return
    conf = {"ticket": stretch.ticket, "right": stretch.right.value, "action": "advance"}
    raise DagRunTriggerException(
        trigger_dag_id=context["ti"].dag_id,
        dag_run_id=stretch.goes_on,
        conf=conf,
        reset_dag_run=False,
        skip_when_already_exists=True,
        wait_for_completion=False,
        allowed_states=[],
        failed_states=[],
        poke_interval=60,
        deferrable=False,
    )


def _tell_stretch(opened: wiring.App, context: Mapping[str, Any], stretch: Stretch) -> None:
    log.info("%s", stretch.text)
    note_run(opened, context["ti"].dag_id, context["run_id"], stretch.text)


def _tell_second(opened: wiring.App, ti: Any, stretch: Stretch) -> None:
    """To the officer and her deputies, who may be the second person, or know who is."""
    if not opened.settings.smtp_host:
        return
    link = f"{opened.settings.airflow_link}/dags/{ti.dag_id}/runs/{ti.run_id}"
    text = f"{stretch.ticket} ({stretch.right}) is approved, and waits for a second person's yes:\n{link}\n"
    message = Message(subject=f"callkeeper: {stretch.ticket} waits for a second person", text=text)
    try:
        opened.notifier.send(message, to=opened.settings.mail_privacy)
    except CallkeeperError as wrong:
        # The question is asked all the same, and stands in Airflow and on the desk.
        log.warning("nobody was mailed that a second person is waited for: %s", wrong)


def _lives(opened: wiring.App, dag_id: str, run: str) -> bool | None:
    """Whether a run still waits or works; None where Airflow does not say."""
    import httpx

    try:
        with _airflow(opened) as http:
            answer = http.get(f"/api/v2/dags/{dag_id}/dagRuns/{run}")
            if answer.status_code == httpx.codes.NOT_FOUND:
                return False
            answer.raise_for_status()
            return answer.json()["state"] in ("queued", "running")
    except (ConfigurationError, httpx.HTTPError) as wrong:
        log.warning("Airflow does not say whether %s still runs: %s", run, type(wrong).__name__)
        return None


def _users(opened: wiring.App, accounts: Sequence[str]) -> list[dict[str, str]]:
    """Airflow's ids of these accounts, as an Airflow question names people. Raises NotAllowed if none of them has one."""
    import httpx

    try:
        with _airflow(opened) as http:
            answer = http.get("/callkeeper-people/ids", params={"account": list(accounts)})
            answer.raise_for_status()
            ids: dict[str, str] = answer.json()
    except httpx.HTTPError as wrong:
        raise AirflowUnavailable(
            f"Airflow did not tell who these accounts are ({type(wrong).__name__}).",
            mend=f"The account of {AIRFLOW} needs `can_read` on Users, and Airflow our plugin callkeeper_people.",
        ) from None
    if not ids:
        # A question with no names on it could be answered by anybody who may answer questions.
        raise NotAllowed(
            f"None of {', '.join(accounts)} has an account in Airflow.", mend="Make one, or mend [people]."
        )
    return [{"id": ids[account], "name": account} for account in accounts if account in ids]


def _answer(opened: wiring.App, dag_id: str, run_id: str, task: str) -> tuple[str, str, dict[str, Any]]:
    """Who answered a question, what, and with which fields, as Airflow noted it. Raises NotAllowed where nobody did."""
    import httpx

    try:
        with _airflow(opened) as http:
            found = http.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}/-1/hitlDetails")
            found.raise_for_status()
            detail = found.json()
    except httpx.HTTPError as wrong:
        raise AirflowUnavailable(
            f"Airflow did not tell what was answered ({type(wrong).__name__}).",
            mend=f"The account of {AIRFLOW} needs `can_read` on HITL Detail.",
        ) from None
    who, chosen = detail.get("responded_by_user"), detail.get("chosen_options")
    if not (detail.get("response_received") and who and chosen):
        raise NotAllowed(
            "Nobody has answered: a task that was marked by hand is no answer.",
            mend="Clear the task that asks, and answer it; or trigger the ticket again.",
        )
    return who["name"], chosen[0], detail.get("params_input") or {}


def disclose(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> dict[str, int]:
    """The run's action on its disclosure, in the name of whoever triggered it; what came of it on the run's note.

    Others see Airflow's runs: what the law forbids to tell is not there for it, whoever asks.
    """
    from callkeeper.controllers import duties
    from callkeeper.jobs import disclosing

    params, account = context["params"], context["dag_run"].triggering_user_name
    if not account:
        raise NotAllowed("Nobody's account has triggered this run.", mend="Trigger it by hand, signed in.")
    done = disclosing.act(
        conn,
        opened,
        params["disclosure"],
        params["action"],
        account=account,
        duties=duties(conn, opened.config, account),
        actor=replace(actor(opened, conn, context), account=account),
        channel=params["channel"],
        openly=True,
    )
    log.info("%s", done.text)
    note_run(opened, context["ti"].dag_id, context["run_id"], done.text)
    return done.counts()


def _tell_placed(opened: wiring.App, conn: db.Connection) -> None:
    from callkeeper.jobs import holding

    if opened.settings.smtp_host:
        holding.tell_placed(conn, opened.notifier, to=opened.settings.mail_privacy)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise NotAllowed("A date is none of the calendar's.") from None


def prove_notice(opened: wiring.App, context: Mapping[str, Any]) -> dict[str, int]:
    """The notice's answers: into the store, the trail and the run's note, mailed if red; raises where something needs somebody."""
    from callkeeper import __version__
    from callkeeper.jobs import proving

    ti, s = context["ti"], opened.settings
    proof = proving.prove(opened, opened.notice, code=__version__, run=context["run_id"])
    link = runbook(opened, ti.dag_id)
    mail = proving.message(proof, link=link)
    log.info("%s", mail.text)
    # Where store or database is down, whoever must know of it is told all the same.
    sha256, lost = None, None
    try:
        sha256 = proving.write(opened.store, proof)
    except CallkeeperError as wrong:
        log.error("the answers are not in the store: %s", wrong)
        lost = wrong
    try:
        with opened.connect() as conn:
            proving.record(conn, proof, actor(opened, conn, context), sha256=sha256)
    except CallkeeperError as wrong:
        log.error("the answers are not in the trail: %s", wrong)
        lost = wrong
    note_run(opened, ti.dag_id, context["run_id"], proving.note(proof))
    if proof.red and s.smtp_host:
        opened.notifier.send(mail)
        opened.notifier.send(mail, to=s.mail_privacy)
    if proof.red:
        raise NotBalanced(f"{len(proof.red)} promises need somebody.", mend=f"The mail and this log say which. {link}")
    if lost is not None:
        raise lost
    return {str(verdict): proof.count(verdict) for verdict in proving.Verdict}


def watch_deadlines(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> dict[str, int]:
    """What falls due, mailed to the officer and her deputies; on the run's note, in its log and its result counts only."""
    from callkeeper.jobs import watching

    ti, s = context["ti"], opened.settings
    digest = watching.look(conn, deputies_told=bool(s.mail_privacy))
    note = watching.note(digest)
    log.info("%s", note)
    note_run(opened, ti.dag_id, context["run_id"], note)
    watching.tell(
        conn,
        opened.notifier if s.smtp_host else None,
        digest,
        actor(opened, conn, context),
        link=runbook(opened, ti.dag_id),
        privacy=s.mail_privacy,
        escalation=s.mail_escalation,
    )
    tell_paused(opened)
    return digest.counts()


def tell_paused(opened: wiring.App) -> list[str]:
    """Mails the data team which of our DAGs are paused: a right to edit one is a right to pause it, and then nothing is red."""
    import httpx

    try:
        with _airflow(opened) as http:
            found = http.get("/api/v2/dags", params={"tags": ["callkeeper"], "paused": True, "limit": 100})
            found.raise_for_status()
            paused = sorted(dag["dag_id"] for dag in found.json()["dags"])
    except (httpx.HTTPError, ConfigurationError) as wrong:
        log.warning("whether a DAG is paused could not be looked at: %s", type(wrong).__name__)
        return []
    if paused:
        log.warning("paused: %s", ", ".join(paused))
        if opened.settings.smtp_host:
            text = f"These DAGs are paused, and so never run: {', '.join(paused)}.\n\nUnpause them in Airflow, unless you want it so.\n"
            opened.notifier.send(Message(subject=f"callkeeper: {len(paused)} DAGs are paused", text=text))
    return paused


def open_night(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> Night:
    """The run's night, opened; what an earlier run left in its middle is balanced first. Raises ClockWrong."""
    from callkeeper.jobs import deleting, reporting

    _require_clock(opened, conn, context)
    who = actor(opened, conn, context)
    begun = deleting.open_night(conn, context["run_id"], who)
    for day in reporting.close_earlier(conn, begun, who):
        log.warning("the night of %s was cut off; it is balanced now", day)
    return begun


def settle_holds(opened: wiring.App, conn: db.Connection, who: Actor) -> dict[str, int]:
    """The store's legal holds in line with the register. Raises StoreUnavailable where the store leaves some undone."""
    from callkeeper.jobs import holding

    _tell_placed(opened, conn)
    done = holding.settle(conn, opened.holder, who)
    if done["unreachable"]:
        raise StoreUnavailable(
            f"{done['unreachable']} legal holds are not in line with the register: the store did not answer, or refused.",
            mend="What is held stays: the register is asked before each deletion. `callkeeper doctor` says what is wrong.",
        )
    return dict(done)


def end_night(
    opened: wiring.App, conn: db.Connection, ended: Night, who: Actor, context: Mapping[str, Any]
) -> dict[str, int]:
    """The night's balance, forecast and report, its note and its mails; raises where something needs somebody."""
    from callkeeper.jobs import deleting, holding, reporting, telling

    s, ti = opened.settings, context["ti"]
    deleting.forecast(conn, ended)
    deleting.balance(conn, ended, who)
    holds = holding.alarms(conn)
    report = reporting.tell(
        conn,
        ended,
        hold_alarms=sum(alarm.level == "privacy" and not alarm.officers_only for alarm in holds),
        keep_years=opened.config.terms.deletion_evidence_years,
    )
    unwritten = reporting.write_what_waits(conn, opened.store, ended.day)
    found = telling.alarms(report, failures=failed_tasks(context), unwritten=unwritten, now=db.now(conn))
    conn.rollback()
    link = runbook(opened, ti.dag_id)
    log.info("%s", telling.message(report, found, link=link).text)
    note_run(opened, ti.dag_id, context["run_id"], telling.note(report, found))
    if s.smtp_host:
        telling.mail(
            conn, opened.notifier, report, found, link=link, privacy=s.mail_privacy, escalation=s.mail_escalation
        )
    red = [alarm for alarm in found if alarm.red]
    if red:
        raise NotBalanced(f"{len(red)} things need somebody.", mend=f"The mail and this log say what. {link}")
    return {term: report.total(term) for term in ("due", "withdrawn", *deletions.TERMS)}


def end_reconciliation(opened: wiring.App, conn: db.Connection, context: Mapping[str, Any]) -> dict[str, int]:
    """The reconciliation's balance, its note and, with findings, its mail; raises where something needs somebody."""
    from callkeeper.jobs import reconciling

    ti, run_id = context["ti"], context["run_id"]
    who, first_day = actor(opened, conn, context), opened.settings.import_first_day
    result = reconciling.balance(conn, run_id, who, first_day=first_day)
    link = runbook(opened, ti.dag_id)
    mail = reconciling.message(result, link=link)
    log.info("%s", mail.text)
    note_run(opened, ti.dag_id, run_id, reconciling.note(result))
    if opened.settings.smtp_host and result.findings and not result.mailed:
        opened.notifier.send(mail)
        reconciling.mark_mailed(conn, result.reconciliation)
    if not result.balanced:
        raise NotBalanced(f"{len(result.findings)} findings.", mend=f"The mail and this log say what. {link}")
    return dict(result.counts)


@contextlib.contextmanager
def sealing(context: Mapping[str, Any]) -> Iterator[tuple[wiring.App, db.Connection, Actor]]:
    """A step that seals: app, a connection of the sealer's role and who acts."""
    with step() as opened:
        with opened.connect() as conn:
            who = actor(opened, conn, context)
        with opened.connect("sealer") as conn:
            yield opened, conn, who


def seal_run(context: Mapping[str, Any]) -> dict[str, int]:
    """Brings what the run has told the trail under a checkpoint; what takes too long is left to the hourly run, in words.

    Raises TrailBroken, as Airflow's: the task is red then, and the run's own colour is its own.
    """
    from callkeeper.jobs import sealing as job

    with sealing(context) as (opened, conn, who):
        done = job.cover(
            conn,
            opened.seal_keys,
            opened.anchor,
            opened.sealing_rules(),
            who,
            seconds=opened.settings.trail_wait_seconds,
        )
    if done.covered:
        log.info("sealed: %d events, the run's own among them", done.events)
    else:
        log.warning("not all of the run is sealed yet: %s. The hourly run of seal_audit goes on.", done.why)
    return {"sealed": done.events, "covered": int(done.covered)}


def seal_hour(context: Mapping[str, Any]) -> dict[str, int]:
    """A sign of life, then all that can be sealed; who is in the way, or that the trail is broken, is mailed and makes the run red."""
    from callkeeper.jobs import sealing as job

    with sealing(context) as (opened, conn, who):
        link = runbook(opened, context["ti"].dag_id)
        job.heartbeat(conn, who)
        if missed := witness.tell_missed(conn, opened.settings.witness_dir, who):
            log.warning("Airflow's listener missed %d starts and ends of runs and tasks since the last run", missed)
        try:
            done = job.run(conn, opened.seal_keys, opened.anchor, opened.sealing_rules(), who)
        except TrailBroken as wrong:
            _alarm(
                opened,
                "the trail is not what was sealed",
                f"{wrong}\n\nNothing is signed until a person has looked: {link}\n",
            )
            raise Told(str(wrong)) from None
        log.info("%s", done)
        if done.lags(opened.sealing_rules()):
            what = f"{done.waiting} events have waited up to {done.lag_seconds // 60} minutes to be sealed, for {done.who}."
            _alarm(opened, "the trail waits for a transaction", f"{what}\n\nEnd it. What to do: {link}\n")
            raise Told(what)
    return done.counts()


def age_trail(context: Mapping[str, Any]) -> dict[str, int]:
    """Drops the bodies that are past their term. Raises where some may not go."""
    from callkeeper.jobs import ageing

    with step() as opened:
        with opened.connect() as conn:
            who = actor(opened, conn, context)
        with opened.connect("ageing") as conn:
            marks = ageing.age_marks(conn, who)
            return ageing.report(ageing.age(conn, who)) | {"marks": marks}


def age_files(context: Mapping[str, Any]) -> dict[str, int]:
    """Deletes the reports and tombstones that are past their term. Raises where a clock is wrong, or some stay."""
    from callkeeper.jobs import ageing

    with step() as opened, opened.connect() as conn:
        _require_clock(opened, conn, context)
        return ageing.age_files(conn, opened.destroyer, opened.config, actor(opened, conn, context))


def age_tickets(context: Mapping[str, Any]) -> dict[str, int]:
    """Erases what is personal of tickets and disclosures that are past their term. Raises where a clock is wrong."""
    from callkeeper.jobs import disclosing, fulfilling

    with step() as opened, opened.connect() as conn:
        _require_clock(opened, conn, context)
        who = actor(opened, conn, context)
        return {
            "tickets": fulfilling.forget_past_term(conn, who),
            "disclosures": disclosing.forget_past_term(conn, who),
        }


def _alarm(opened: wiring.App, subject: str, text: str) -> None:
    """To the data team and the privacy officer."""
    if not opened.settings.smtp_host:
        log.warning("no mail relay is configured: nobody is told")
        return
    message = Message(subject=f"callkeeper ALARM: {subject}", text=text)
    opened.notifier.send(message)
    opened.notifier.send(message, to=opened.settings.mail_privacy)
