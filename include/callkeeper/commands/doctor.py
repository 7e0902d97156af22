"""``callkeeper doctor``: what is wrong with this installation, and how to mend it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import shutil
import smtplib
import stat
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, cast, get_args
from uuid import uuid4

import click

from callkeeper import controllers, db, settings, wiring
from callkeeper.clock import HELSINKI, helsinki_day
from callkeeper.controllers import Severity
from callkeeper.errors import CallkeeperError, ConfigurationError, StoreRefused
from callkeeper.media import Destroyer, Holder, ObjectVersion, Store
from callkeeper.settings import DatabaseRole
from callkeeper.trail import witness
from callkeeper.wiring import App

SKEW_WARNED = timedelta(seconds=2)
SKEW_REFUSED = timedelta(seconds=60)
DISK_WARNED_BYTES = 5 * 2**30
DISK_REFUSED_BYTES = 2**30
SILENCE_MINUTES = 120
"""The trail is signed every hour: who hears nothing of it for so long asks why."""
_TIMEOUT_SECONDS = 5


class Verdict(StrEnum):
    ok = "ok"
    warn = "warn"
    fail = "fail"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at; ``mend`` is what a person should do, empty where all is well."""

    area: str
    verdict: Verdict
    what: str
    mend: str = ""


@click.command()
@click.argument("areas", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(areas: tuple[str, ...], as_json: bool) -> None:
    """Looks at everything that a night needs, or at some AREAS only, and says what to mend.

    Exit 1 if something must be mended.
    """
    if unknown := set(areas) - set(_LOOKS):
        raise click.UsageError(f"No such area: {', '.join(sorted(unknown))}. There are: {', '.join(_LOOKS)}.")
    checks = []
    for check in examine(wiring.build(settings.load()), areas):
        checks.append(check)
        if not as_json:
            _tell(check)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(check) for check in checks], indent=1))
    failed, warned = (sum(c.verdict is v for c in checks) for v in (Verdict.fail, Verdict.warn))
    if not as_json:
        click.echo(f"\n{len(checks)} looked at, {failed} to mend, {warned} to know about.")
    if failed:
        raise SystemExit(1)


def examine(app: App, areas: Collection[str] = ()) -> Iterator[Check]:
    """What was found in the areas (none named: in all), one after the other; changes nothing, and raises nothing."""
    told: dict[str, str] = {}
    for area, look in _LOOKS.items():
        if areas and area not in areas:
            continue
        try:
            yield from look(app)
        except CallkeeperError as wrong:
            if (first := told.setdefault(wrong.what, area)) == area:
                yield _fail(area, wrong.what, wrong.mend)
            else:
                yield _fail(area, f"Not looked at, for the reason told at {first}.", "")
        except Exception as wrong:  # noqa: BLE001  # one look must not end the others
            # What the error says may be anything, so only its kind is told.
            what = f"It could not be looked at ({type(wrong).__name__})."
            yield _fail(area, what, "This is a fault of callkeeper: report it.")


def _ok(area: str, what: str) -> Check:
    return Check(area=area, verdict=Verdict.ok, what=what)


def _warn(area: str, what: str, mend: str) -> Check:
    return Check(area=area, verdict=Verdict.warn, what=what, mend=mend)


def _fail(area: str, what: str, mend: str) -> Check:
    return Check(area=area, verdict=Verdict.fail, what=what, mend=mend)


def _faultless(app: App) -> bool:
    try:
        return bool(app.config)
    except ConfigurationError:
        return False  # _configuration has told it


def _configuration(app: App) -> Iterator[Check]:
    try:
        config = app.config
    except ConfigurationError as wrong:
        yield _fail("configuration", wrong.what, "Mend the file; `callkeeper config check` says when it is right.")
        for fault in wrong.faults:
            yield _fail("configuration", fault, "")
        return
    try:
        _ = app.notice
    except ConfigurationError as wrong:
        yield _fail(
            "configuration", f"{app.settings.notice_file.name}: {wrong}", "Mend the file: `callkeeper prove` reads it."
        )
    counts = f"{len(config.controllers)} controllers, {len(config.lines)} lines, {len(config.vendors)} vendors"
    yield _ok("configuration", f"{app.settings.config_file.name} is right: {counts}.")
    for finding in controllers.preflight_all(config, helsinki_day(datetime.now(UTC))):
        verdict = Verdict.fail if finding.severity is Severity.stops_import else Verdict.warn
        yield Check(area="configuration", verdict=verdict, what=finding.what, mend=finding.mend)


def _regions(app: App) -> Iterator[Check]:
    """The bucket's real region; what the contracts say is the preflight's."""
    region = app.settings.store_region
    if app.settings.store_endpoint:
        yield _ok("regions", "The store is a server of your own; where it stands is what the configuration says.")
    elif not controllers.region_allowed(region):
        mend = "Move the bucket, then set CALLKEEPER_STORE_REGION."
        yield _fail("regions", f"The store's region {region} is not in the EU/EEA.", mend)
    elif _faultless(app) and app.config.store.region.lower() != region.lower():
        what = f"The store is in {region}, but the configuration says {app.config.store.region}."
        yield _fail("regions", what, "Write in [store] where it is.")
    else:
        yield _ok("regions", f"The store is in {region}, in the EU/EEA.")


def _database(app: App) -> Iterator[Check]:
    for role in get_args(DatabaseRole):
        if role == "app" or not getattr(app.settings, f"db_{role}_password").get_secret_value():
            continue  # only who has a password needs to get in
        try:
            with app.connect(role) as conn:
                db.now(conn)
            yield _ok("database", f"callkeeper_{role} can connect.")
        except CallkeeperError as wrong:
            yield _fail("database", f"callkeeper_{role}: {wrong.what}", wrong.mend)
    if not app.settings.db_app_password.get_secret_value():
        yield _fail("database", "There is no password for callkeeper_app.", "Set CALLKEEPER_DB_APP_PASSWORD.")
    with app.connect() as conn:
        spared = [row.name for row in db.queries().doctor_durability(conn)]
    yield _ok("database", "callkeeper_app can connect.")
    for name in spared:
        mend = "Set it to on: the catalogue's promises must outlive a power cut."
        yield _warn("database", f"Postgres runs with {name} off.", mend)


def _schema(app: App) -> Iterator[Check]:
    with app.connect() as conn:
        found = db.queries().doctor_revision(conn)
    if found == (wanted := db.newest_revision()):
        yield _ok("schema", f"The schema is at revision {found}, the newest.")
    else:
        mend = "Run `make up`, or migrate as callkeeper_owner."
        yield _fail("schema", f"The schema is at revision {found}, this version of callkeeper needs {wanted}.", mend)


def _rights(app: App) -> Iterator[Check]:
    with app.connect() as conn:
        too_much = [f"{row.privilege} on {row.name}" for row in db.queries().doctor_forbidden(conn)]
        unguarded = [row.name for row in db.queries().doctor_unguarded(conn)]
    if too_much:
        what = f"callkeeper_app may do what it must not: {_some(too_much)}."
        yield _fail("rights", what, "Revoke it; the trail proves nothing while it can be changed.")
    else:
        yield _ok("rights", "callkeeper_app can neither change nor empty the trail, the tombstones or the clock.")
    if unguarded:
        what = f"The trail is not guarded by its triggers in {_some(unguarded)}."
        yield _fail("rights", what, "Look who took them off, then enable them ALWAYS.")
    else:
        yield _ok("rights", "Every part of the trail is guarded by its triggers.")


def _register(app: App) -> Iterator[Check]:
    if not _faultless(app):
        return
    with app.connect() as conn:
        changes = controllers.diff(conn, app.config)
    if changes:
        what = "The file is not the configuration in force." if changes.version else "No configuration is in force yet."
        mend = "See `callkeeper config diff`, then `callkeeper config apply`; import waits for it."
        yield _fail("register", what, mend)
    else:
        yield _ok("register", f"Configuration {changes.version} is in force, and the file says the same.")


def _clock(app: App) -> Iterator[Check]:
    with app.connect() as conn:
        before = datetime.now(UTC)
        clock = db.queries().doctor_clock(conn)
        after = datetime.now(UTC)
    if not clock.moved:
        yield _ok("clock", "callkeeper_now() is the real time.")
    elif app.settings.demo:
        yield _ok("clock", f"callkeeper_now() is moved by {clock.moved}; this is a demonstration.")
    else:
        mend = "As callkeeper_owner: delete from callkeeper.clock_shift. Then look what was decided meanwhile."
        yield _fail("clock", f"callkeeper_now() is moved by {clock.moved}: every term is counted wrongly.", mend)
    skew = skew_between(before, clock.at, after)
    what = f"This machine's clock and the database's differ by {skew.total_seconds():.1f} s."
    if skew <= SKEW_WARNED:
        yield _ok("clock", what)
    else:
        verdict = Verdict.warn if skew <= SKEW_REFUSED else Verdict.fail
        mend = "Let both follow a time server (chrony, systemd-timesyncd)."
        yield Check(area="clock", verdict=verdict, what=what, mend=mend)


def skew_between(before: datetime, answer: datetime, after: datetime) -> timedelta:
    """How far the other clock is off at least: its answer was made somewhere between question and answer."""
    return max(before - answer, answer - after, timedelta(0))


def _keys(app: App) -> Iterator[Check]:
    if app.settings.keys_dir.is_dir():
        yield from _private("keys", app.settings.keys_dir)
    live = {key.key_id: key.purpose for key in app.keyring.keys if key.retired_at is None}
    with app.connect() as conn:
        registered = {row.key_id for row in db.queries().registered_keys(conn) if row.retired_at is None}
    if only_here := sorted(live.keys() - registered):
        what = f"{len(only_here)} keys on this machine are not registered in the catalogue: {_some(only_here)}."
        yield _fail("keys", what, "Run `make up`, which registers them.")
    if only_there := sorted(registered - live.keys()):
        what = f"{len(only_there)} keys of the catalogue are not on this machine: {_some(only_there)}."
        yield _fail("keys", what, "Restore the escrow: what they sealed or found is lost without them.")
    if live.keys() == registered:
        yield _ok("keys", f"All {len(live)} keys are here and registered: {', '.join(sorted(set(live.values())))}.")


def _escrow(app: App) -> Iterator[Check]:
    with app.connect() as conn:
        keys = [row for row in db.queries().registered_keys(conn) if row.retired_at is None]
    missing = sum(row.escrowed_at is None for row in keys)
    if keys and not missing:
        yield _ok("escrow", f"All {len(keys)} keys are in a recorded escrow.")
    else:
        what = f"{missing} of {len(keys)} keys are in no recorded escrow: if this machine is lost, so is every number."
        yield _warn("escrow", what, "Run `callkeeper keys escrow FILE`, and keep the file in another place.")


def _secrets(app: App) -> Iterator[Check]:
    folder = app.settings.secrets_dir
    if folder.is_dir():
        yield from _private("secrets", folder)


def _private(area: str, folder: Path) -> Iterator[Check]:
    """Folder 0700, files 0600: nobody else on the machine reads them.

    A container's engine makes the folder into which it mounts secrets itself: that one is root's, and open to look at.
    """
    engines = folder.stat().st_uid == 0 != os.geteuid() and not folder.stat().st_mode & stat.S_IWOTH
    looked_at = [*folder.iterdir()] if engines else [folder, *folder.iterdir()]
    open_to_others = [p.name for p in looked_at if p.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if open_to_others:
        mend = f"chmod 700 {folder}; chmod 600 {folder}/*. If others use this machine, rotate what could be read."
        yield _fail(area, f"In {folder}, others than the owner may read or write {_some(open_to_others)}.", mend)
    else:
        yield _ok(area, f"{folder} is its owner's only.")


def _witness(app: App) -> Iterator[Check]:
    """Airflow's listener; whether it can connect is looked at with the other roles."""
    if not app.settings.db_witness_password.get_secret_value():
        mend = "Set CALLKEEPER_DB_WITNESS_PASSWORD for all of Airflow's programs."
        yield _warn("witness", "Airflow's listener has no password: the trail has no second witness.", mend)
        return
    waiting = witness.missed(app.settings.witness_dir)
    if waiting:
        mend = "The next seal counts it into the trail. Could Airflow's scheduler and tasks reach the database?"
        yield _warn("witness", f"Airflow's listener could not write {len(waiting)} things that it saw.", mend)
    else:
        yield _ok("witness", "What Airflow's listener saw is in the trail.")


def _store(app: App) -> Iterator[Check]:
    wrong = app.store.check()
    for what in wrong:
        yield _fail("store", what, "See docs/runbooks/store.md.")
    if not wrong:
        yield _ok(
            "store", f"The bucket {app.settings.store_bucket} is versioned, lockable and encrypted, and can be written."
        )


def _identities(app: App) -> Iterator[Check]:
    """What each of the store's identities must be refused, tried on objects of its own (architecture, rule 4)."""
    own = {name: bool(getattr(app.settings, f"store_{name}_access_key")) for name in ("destroyer", "holder")}
    if not all(own.values()):
        keys = ", ".join(f"CALLKEEPER_STORE_{name.upper()}_ACCESS_KEY" for name, given in own.items() if not given)
        what = (
            "The store is not told apart who writes, who deletes and who holds: whoever deletes can lift a hold first."
        )
        yield _warn("identities", what, f"If the store knows several identities, set {keys} and the secret keys.")
        return
    destroyer, holder = app.destroyer, app.holder
    # The store's one class has every side; whether the identity may is the question.
    for name, identity in (("importer", cast(Destroyer, app.store)), ("holder", cast(Destroyer, holder))):
        probe = _probe(app.store)
        with contextlib.suppress(StoreRefused):
            identity.delete([probe])
        if _is_there(destroyer, probe):
            yield _ok("identities", f"The {name} cannot delete a version.")
        else:
            yield _warn("identities", f"The {name} can delete a version: only the destroyer should.", _IDENTITIES)
        destroyer.delete([probe])
    probe = _probe(app.store)
    which = probe.key, probe.version_id
    if not holder.hold(*which) or not holder.is_held(*which):
        yield _fail("identities", "A legal hold that the holder places does not stand.", _IDENTITIES)
        return
    with contextlib.suppress(StoreRefused):
        cast(Holder, destroyer).release(*which)
    if holder.is_held(*which):
        yield _ok("identities", "The destroyer cannot lift a legal hold.")
    else:
        what = (
            "The destroyer can lift a legal hold: nothing but callkeeper itself then stands between a hold and its end."
        )
        yield _warn("identities", what, _IDENTITIES)
        holder.hold(*which)
    destroyer.delete([probe])
    if _is_there(destroyer, probe):
        yield _ok("identities", "The destroyer cannot delete what is under a legal hold.")
    else:
        yield _fail("identities", "The store deletes what is under a legal hold: no hold protects.", _IDENTITIES)
    holder.release(*which)
    destroyer.delete([probe])
    if _is_there(destroyer, probe):
        yield _fail("identities", "The destroyer cannot delete a version: nothing would ever go.", _IDENTITIES)
    else:
        yield _ok("identities", "The destroyer can delete what is under none.")


_IDENTITIES = "See docs/runbooks/store.md: what each of the store's identities may do."


def _probe(store: Store) -> ObjectVersion:
    text = b"callkeeper doctor\n"
    stored = store.put(
        f"doctor/{uuid4()}",
        io.BytesIO(text),
        sha256=hashlib.sha256(text).digest(),
        size_bytes=len(text),
        content_type="text/plain",
    )
    return ObjectVersion(key=stored.key, version_id=stored.version_id, is_delete_marker=False, size_bytes=len(text))


def _is_there(destroyer: Destroyer, probe: ObjectVersion) -> bool:
    return any(v.version_id == probe.version_id for v in destroyer.versions(probe.key))


def _trail(app: App) -> Iterator[Check]:
    """The keys that sign, the last signature, and what of it stands outside."""
    folder = app.settings.trail_keys_dir
    if folder.is_dir():
        yield from _private("trail", folder)
    keys = app.seal_keys
    yield _ok(
        "trail", f"{len(keys.live)} keys sign the trail: {', '.join(k.verifier.key_hash.hex() for k in keys.live)}."
    )
    if folder.resolve().is_relative_to(app.settings.keys_dir.resolve()):
        yield _warn("trail", "The sealing keys lie among the other keys.", "Move CALLKEEPER_TRAIL_KEYS_DIR apart.")
    with app.connect() as conn:
        found = db.queries().doctor_sealed(conn)
    if found.at is None:
        yield _warn("trail", "The trail has never been signed.", "Is the DAG seal_audit paused?")
    elif found.minutes > SILENCE_MINUTES:
        what = f"The trail was last signed {found.minutes // 60} hours ago, at {found.at:%Y-%m-%d %H:%M} UTC."
        yield _fail("trail", what, "Look at the DAG seal_audit, and at its runbook.")
    else:
        yield _ok("trail", f"The trail was last signed {found.minutes} minutes ago.")
    if found.unanchored:
        what = f"{found.unanchored} checkpoints do not stand in the anchor yet."
        yield _warn("trail", what, "The next sealing puts them there; if it does not, see its log.")


def _anchor(app: App) -> Iterator[Check]:
    wrong = app.anchor.vault.check_vault()
    for what in wrong:
        yield _fail("anchor", what, "See docs/runbooks/store.md.")
    if not wrong:
        yield _ok("anchor", f"What is put in {app.settings.anchor_bucket} stays: nobody can delete it before its term.")
    if not app.settings.anchor_access_key:
        what = "The anchor is written by the identity that imports: whoever has its key could fill it with another history."
        yield _warn(
            "anchor", what, "Give the anchor an identity of its own: CALLKEEPER_ANCHOR_ACCESS_KEY and its secret key."
        )


def _vendors(app: App) -> Iterator[Check]:
    if not _faultless(app):
        return
    yesterday = helsinki_day(datetime.now(UTC)) - timedelta(days=1)
    for entry in app.config.vendors:
        try:
            app.vendor(entry.id).day_status(yesterday, HELSINKI)
            yield _ok("vendors", f"{entry.id} answers.")
        except CallkeeperError as wrong:
            yield _fail("vendors", f"{entry.id}: {wrong.what}", wrong.mend)


def _mail(app: App) -> Iterator[Check]:
    s = app.settings
    if not s.smtp_host:
        yield _warn("mail", "There is no mail relay: alarms reach nobody.", "Set CALLKEEPER_SMTP_HOST.")
        return
    try:
        with smtplib.SMTP(s.smtp_host, s.smtp_port, timeout=_TIMEOUT_SECONDS) as relay:
            if s.smtp_starttls:
                relay.starttls()
            if s.smtp_user:
                relay.login(s.smtp_user, s.smtp_password.get_secret_value())
            relay.noop()
    except smtplib.SMTPAuthenticationError:
        yield _fail(
            "mail", "The mail relay refused the user or the password.", "Check CALLKEEPER_SMTP_USER and its password."
        )
    except (OSError, smtplib.SMTPException):
        mend = "Check CALLKEEPER_SMTP_HOST, CALLKEEPER_SMTP_PORT and CALLKEEPER_SMTP_STARTTLS."
        yield _fail("mail", f"The mail relay {s.smtp_host}:{s.smtp_port} does not answer: alarms reach nobody.", mend)
    else:
        yield _ok("mail", f"The mail relay {s.smtp_host}:{s.smtp_port} answers.")
    if not s.mail_privacy.strip(" ,"):
        what = (
            "No address of the privacy officer's is set: what she and her deputies must decide goes to the data team."
        )
        yield _fail("mail", what, "Set CALLKEEPER_MAIL_PRIVACY.")


def _airflow(app: App) -> Iterator[Check]:
    url = f"{app.settings.airflow_url.rstrip('/')}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  # the address is a setting
            health = json.load(answer)
    except (OSError, ValueError):
        mend = "Start it (`make up`), or check CALLKEEPER_AIRFLOW_URL."
        yield _fail("airflow", f"Airflow does not answer at {app.settings.airflow_url}: no night happens.", mend)
        return
    ill = [part for part, state in health.items() if state and state.get("status") not in ("healthy", None)]
    if ill:
        yield _fail(
            "airflow", f"Airflow is not well: {_some(ill)}.", "Look at that component's log, then start it again."
        )
    else:
        yield _ok("airflow", "Airflow is well: database, scheduler, triggerer and DAG processor.")
    yield from _paused(app)


def _paused(app: App) -> Iterator[Check]:
    """DAGs that do nothing: whoever may edit one in Airflow may pause it, and nothing is red then."""
    s, base = app.settings, app.settings.airflow_url.rstrip("/")
    if not s.airflow_password.get_secret_value():
        yield _warn(
            "airflow",
            "Whether a DAG is paused was not looked at: there is no password for that.",
            f"Put the password of Airflow's account {s.airflow_account} into the secret callkeeper_airflow_password.",
        )
        return
    said = {"username": s.airflow_account, "password": s.airflow_password.get_secret_value()}
    try:
        token = _answer(f"{base}/auth/token", said, {"Content-Type": "application/json"})["access_token"]
        found = _answer(f"{base}/api/v2/dags?tags=callkeeper&limit=100", None, {"Authorization": f"Bearer {token}"})
    except (OSError, ValueError, KeyError):
        mend = f"Is {s.airflow_account} there, with the role callkeeper_notes? `callkeeper airflow accounts`."
        yield _warn("airflow", "Whether a DAG is paused could not be looked at: Airflow refused the account.", mend)
        return
    known = {dag["dag_id"]: dag["is_paused"] for dag in found["dags"]}
    if paused := sorted(dag for dag, is_paused in known.items() if is_paused):
        yield _warn(
            "airflow",
            f"Paused, and so never run: {', '.join(paused)}.",
            "Unpause them in Airflow, unless you want it so.",
        )
    elif known:
        yield _ok("airflow", f"None of the {len(known)} DAGs is paused.")
    else:
        yield _fail(
            "airflow",
            "Airflow has none of callkeeper's DAGs.",
            "`callkeeper airflow roles`; look at its import errors.",
        )


def _answer(url: str, body: object, headers: Mapping[str, str]) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=dict(headers))  # noqa: S310  # the address is a setting
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
        return dict(json.load(answer))


def _disk(app: App) -> Iterator[Check]:
    there = next(p for p in (app.settings.home, *app.settings.home.parents) if p.exists())
    free = shutil.disk_usage(there).free
    what = f"{free / 2**30:.1f} GiB are free under {app.settings.home}."
    if free >= DISK_WARNED_BYTES:
        yield _ok("disk", what)
    else:
        verdict = Verdict.warn if free >= DISK_REFUSED_BYTES else Verdict.fail
        yield Check(area="disk", verdict=verdict, what=what, mend="Make room: a full disk stops import in its middle.")


_LOOKS: Mapping[str, Callable[[App], Iterator[Check]]] = {
    "configuration": _configuration,
    "regions": _regions,
    "database": _database,
    "schema": _schema,
    "rights": _rights,
    "register": _register,
    "clock": _clock,
    "witness": _witness,
    "keys": _keys,
    "escrow": _escrow,
    "secrets": _secrets,
    "store": _store,
    "identities": _identities,
    "trail": _trail,
    "anchor": _anchor,
    "vendors": _vendors,
    "mail": _mail,
    "airflow": _airflow,
    "disk": _disk,
}


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


_COLOURS = {Verdict.ok: "green", Verdict.warn: "yellow", Verdict.fail: "red"}


def _tell(check: Check) -> None:
    click.echo(f"{click.style(f'{check.verdict:4}', fg=_COLOURS[check.verdict])}  {check.area:13}  {check.what}")
    if check.mend:
        click.echo(f"{'':21}{click.style(check.mend, dim=True)}")
