"""Canary numbers, planted wherever a vendor can put one, and looked for wherever they could come out again."""

from __future__ import annotations

import io
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callkeeper import db, quality, wiring
from callkeeper.errors import CallkeeperError
from callkeeper.jobs import balancing, fetching, fulfilling, importing, leading, quarantining
from callkeeper.phone import E164
from callkeeper.tickets import Right
from callkeeper.vendors import fields
from deliver import Call, deliver, tone
from installation import ACTOR, DAY, EXCHANGE, OFFICER, Installation, at

SPELLINGS = (
    "0409990001", "040 999 0001", "+358409990001", "00358409990001", "+358 (0)40-999 0001", "358409990002",
    "sip:+358409990002@example.fi", "tel:+358-40-999-0002",
)  # fmt: skip
CANARY = re.compile(r"4\D{0,2}0\D{0,2}9\D{0,2}9\D{0,2}9\D{0,2}0\D{0,2}0\D{0,2}0\D{0,2}[12]")
HEX = re.compile("|".join(n.encode().hex() for n in ("409990001", "409990002")))
LOUD = (
    "callkeeper",
    "botocore",
    "boto3",
    "urllib3",
    "s3fs",
    "fsspec",
    "aiobotocore",
    "av",
    "libav",
    "great_expectations",
    "sqlalchemy",
)


def plant(vendor: Path) -> None:
    """A day with canaries in each place of its manifest, well spelled or not, in sound and in faulty records."""
    one, two = SPELLINGS[0], SPELLINGS[2]
    sound = [Call(id=f"rec-{n}-{spelling}", start=at(9, n), caller=spelling) for n, spelling in enumerate(SPELLINGS)]
    faulty = [
        Call(id=f"out-{one}", start=at(10), direction="outbound", caller=two),
        Call(id="who", start=at(10), caller=f"Matti {one}", fields={"agent": one, f"customer_{one}": two, "notes": f"call {one}"}),
        Call(id="words", start=f"at {one}", direction=one, ms=None, fields={"status": one, "segment_no": two}),
        Call(id="media", start=at(10), media={"codec": one, "content_type": f"audio/{one}", "encryption": two, f"x-{one}": two}),
        Call(id="path", start=at(10), media={"path": f"../{one}.wav"}),
        Call(id="swapped", start=at(10), caller="020 700 1234", line=one),
        Call(id="colon", start=at(10), audio=None, media={"path": f"c:{two}.wav"}),
        Call(id=f"gone-{one}", start=at(10), audio=None),
        Call(id="html", start=at(10), audio=f"<html>{one}</html>".encode(), media={"path": f"{two}.wav"}),
        Call(id="sum", start=at(10), media={"sha256": one, "path": f"in-{one}.wav"}),
        Call(id="wrong", start=at(10), media={"sha256": "00" * 32, "path": f"in-{two}-x.wav"}),
        Call(id="long", start=at(10), ms=3100, media={"path": f"long/{one}/{two}.wav"}),
        Call(id="call", start=at(10), fields={"recording_id": None, "call_id": two, "supersedes": one}),
        Call(id="old", start=at(10, day=DAY - timedelta(190)), caller=one),
        Call(id="held", start=at(10), caller=SPELLINGS[5]),
        f"a record that is none, {one}",
        {"recording_id": {"n": one}, "media": two, one: two},
    ]  # fmt: skip
    deliver(vendor, DAY, [*sound, *faulty], campaign=one, **{f"h{two}": two})
    folder = vendor / str(DAY)
    (folder / f"in-{one}.wav.tmp").write_bytes(b"")
    (folder / f"{SPELLINGS[1]}.wav").symlink_to("/etc/passwd")


BROKEN = {
    "cut off": '{"schema_version": 1, "delivery_seq": 1, "records": [{"caller_number": "0409990001',
    "no JSON": '0409990001 {"schema_version": 1}',
    "wrong version": '{"schema_version": "0409990001", "delivery_seq": 1, "business_date": "2026-11-24", "complete": true, "record_count": 0, "records": []}',
    "wrong date": '{"schema_version": 1, "delivery_seq": 1, "business_date": "0409990001", "complete": true, "record_count": 0, "records": []}',
    "wrong count": '{"schema_version": 1, "delivery_seq": 1, "business_date": "2026-11-24", "complete": true, "record_count": 409990001, "records": []}',
    "wrong sequence": '{"schema_version": 1, "delivery_seq": "0409990001", "business_date": "2026-11-24", "complete": true, "record_count": 0, "records": []}',
    "no word": '{"schema_version": 1, "delivery_seq": 1, "business_date": "2026-11-24", "complete": "0409990001", "record_count": 0, "records": []}',
    "no list": '{"schema_version": 1, "delivery_seq": 1, "business_date": "2026-11-24", "complete": true, "record_count": 0, "records": {"0409990001": "0409990002"}}',
    "more behind": '{"schema_version": 1, "delivery_seq": 1, "business_date": "2026-11-24", "complete": true, "record_count": 0, "records": []} 0409990001',
}  # fmt: skip


class Outputs:
    """Everything that came out of the runs of a test, piece by piece under the name of its place."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str]] = []

    def add(self, where: str, what: object) -> None:
        self.pieces.append((where, what if isinstance(what, str) else repr(what)))

    def failed(self, wrong: BaseException) -> None:
        """The error as a log shows it, and its arguments."""
        self.add("exception", "".join(traceback.format_exception(wrong)))
        self.add("exception", [wrong.args, str(wrong), getattr(wrong, "mend", ""), getattr(wrong, "faults", "")])

    def leaks(self, canary: re.Pattern[str] = CANARY) -> set[str]:
        return {where for where, text in self.pieces if canary.search(text) or HEX.search(text)}


def tables(office: Installation) -> Iterator[tuple[str, str]]:
    """Each column's values of each table and view, bytes as text and in hexadecimal."""
    names = office.rows(
        "select relname from pg_class where relnamespace = 'callkeeper'::regnamespace and relkind in ('r', 'v')"
    )
    for (table,) in names:
        cursor = office.sql.cursor(row_factory=lambda cursor: lambda values: values)
        rows = cursor.execute(f"select * from {table}").fetchall()
        for number, column in enumerate(cursor.description or ()):
            if column.name in ("sealed_number", "sealed_ref"):
                continue
            for row in rows:
                value: Any = row[number]
                yield (
                    f"{table}.{column.name}",
                    bytes(value).decode("latin-1") if isinstance(value, bytes) else str(value),
                )
                yield f"{table}.{column.name}", str(value)


def search(
    office: Installation, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], out: Outputs
) -> set[str]:
    """Where a canary came out: the tables, the store, the logs, stdout and stderr, and what was gathered."""
    out.pieces += tables(office)
    for version in office.app.store.versions(""):
        out.add("object key", version.key)
        head = office.app.store._s3.head_object(
            Bucket=office.settings.store_bucket, Key=version.key, VersionId=version.version_id
        )
        out.add("object metadata", {k: v for k, v in head.items() if k != "ResponseMetadata"})
    for record in caplog.records:
        out.add(f"log {record.name}", record.getMessage())
        out.add(f"log {record.name}", [record.args, record.exc_info and traceback.format_exception(*record.exc_info)])
    out.pieces += zip(("stdout", "stderr"), capfd.readouterr(), strict=True)
    return out.leaks()


@pytest.fixture
def loud(caplog) -> None:
    """Every logger that might speak, at its loudest."""
    before = {name: logging.getLogger(name).level for name in LOUD}
    for name in LOUD:
        caplog.set_level(logging.DEBUG, name)
    caplog.set_level(logging.DEBUG)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def night(office: Installation, out: Outputs, key: str, vendor: str = "linna") -> None:
    """One run as the DAG does it, whatever fails on its way; and what people would see of it."""
    with office.connect() as conn:
        try:
            importing_of(office, conn, key, out, vendor)
        except CallkeeperError as wrong:
            out.failed(wrong)
    with office.connect() as conn:
        result = balancing.balance(conn, key, ACTOR)
        mail = balancing.message(
            balancing.morning(conn, result, windows={"linna": 30}), link="https://example.fi/runbook"
        )
        out.pieces += [("mail", mail.subject), ("mail", mail.text), ("mail", mail.html or "")]
        for waiting in quarantining.waiting(conn):
            out.add("quarantine list", waiting)
            out.add("quarantine show", quarantining.one(conn, waiting.recording))


def importing_of(office: Installation, conn: db.Connection, key: str, out: Outputs, vendor: str = "linna") -> None:
    from callkeeper.jobs.preflight import preflight
    from callkeeper.media.probe import probe

    preflight(conn, office.app.config, run_key=key, day=DAY, first_day=None, only_vendor=vendor, actor=ACTOR)
    job = office.app.importing(conn, key, vendor, ACTOR)
    out.add("repr", job)
    staged = importing.stage(conn, job)
    out.add("xcom", staged)
    out.add("expectations", quality.run_suite(db.url(office.settings), run=job.run, vendor=vendor))
    out.add("xcom", importing.check(conn, job))
    out.add("xcom", fetching.fetch(conn, job, office.app.store, probe, lane=1, claim_rows=5))
    out.add("xcom", importing.keep(conn, job))
    out.add("xcom", importing.finish_days(conn, job))


def test_no_number_comes_out_of_a_night_with_every_kind_of_call(office, loud, caplog, capfd):
    plant(office.linna)
    office.suppress("caller", office.pseudonym("+358409990002"))
    office.block(pseudonyms=(office.pseudonym("+358409990001"),))
    out = Outputs()

    for key in ("first", "second", "third"):
        night(office, out, key)

    assert office.value("select count(*) from recording") >= 6
    assert office.value("select count(distinct reason) from quarantine") >= 7
    assert office.value("select count(*) from deletion") >= 2
    assert search(office, caplog, capfd, out) == set()


@pytest.mark.parametrize("broken", BROKEN)
def test_no_number_comes_out_of_a_manifest_that_cannot_be_read(office, loud, caplog, capfd, broken):
    deliver(office.linna, DAY, []).write_text(BROKEN[broken])
    out = Outputs()

    with suppress(CallkeeperError):
        office.run("broken")
    with office.connect() as conn:
        (day,) = balancing.morning(conn, balancing.balance(conn, "broken", ACTOR), windows={}).unfinished
    out.add("trouble", day.trouble)

    assert day.trouble
    assert search(office, caplog, capfd, out) == set()


def _ill(self, path, *_args, **_more):
    if path.endswith(".wav"):
        raise OSError(5, "Input/output error", path)
    return Path(path).open("rb")


@pytest.mark.parametrize("failing", ["staging", "quarantine", "vendor", "store", "probe", "keys"])
def test_no_number_comes_out_of_what_fails_on_the_way(office, loud, caplog, capfd, monkeypatch, failing):
    plant(office.linna)
    out = Outputs()
    if failing in ("staging", "quarantine"):
        office.sql.execute(f"alter table {failing} add constraint refuses check (vendor = 'nobody')")
    elif failing == "vendor":
        monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", _ill)
    elif failing == "store":
        vars(office.app)["store"] = wiring.build(
            office.settings.model_copy(update={"store_endpoint": "http://127.0.0.1:1"})
        ).store
    elif failing == "probe":
        monkeypatch.setattr("callkeeper.media.probe._demux", lambda *_: int("0409990001x"))
    elif failing == "keys":
        (office.settings.keys_dir / "reference.private.json").rename(office.folder / "private")

    try:
        with office.connect() as conn:
            importing_of(office, conn, "failing", out)
    except CallkeeperError as wrong:
        out.failed(wrong)
    finally:
        office.sql.execute("alter table staging drop constraint if exists refuses")
        office.sql.execute("alter table quarantine drop constraint if exists refuses")
        if failing == "keys":
            (office.folder / "private").rename(office.settings.keys_dir / "reference.private.json")
    office.change_settings()

    assert failing == "probe" or any(where == "exception" for where, _ in out.pieces)
    assert search(office, caplog, capfd, out) == set()


def test_no_number_comes_out_of_a_vendors_bucket(office, seaweed, loud, caplog, capfd):
    """s3fs and botocore log every path at their loudest."""
    plant(office.linna)
    client, bucket = seaweed.client(), "canary-vendor"
    client.create_bucket(Bucket=bucket)
    for file in (f for f in office.linna.rglob("*") if f.is_file() and not f.is_symlink()):
        client.put_object(Bucket=bucket, Key=f"drop/{file.relative_to(office.linna)}", Body=file.read_bytes())
    access_key, secret_key = seaweed.credentials("admin")
    options = f'{{"key": "{access_key}", "secret": "{secret_key}", "endpoint_url": "{seaweed.endpoint}"}}'
    office.settings.secrets_dir.mkdir(exist_ok=True)
    (office.settings.secrets_dir / "vendor_linna.json").write_text(options)
    office.configure((f"{office.folder}/linna", f"s3://{bucket}/drop"))
    caplog.clear()  # what the test itself has said to the store
    out = Outputs()
    try:
        night(office, out, "bucket")
        client.delete_object(Bucket=bucket, Key=f"drop/{DAY}/rec-0-{SPELLINGS[0]}.wav")
        caplog.clear()
        night(office, out, "bucket again")
    finally:
        (office.settings.secrets_dir / "vendor_linna.json").unlink()

    assert office.value("select count(*) from recording") >= 6
    assert search(office, caplog, capfd, out) == set()


@pytest.mark.parametrize("part", ["", "broken"])
def test_no_number_comes_out_of_an_exchange_whose_file_names_hold_them(office, loud, caplog, capfd, part):
    corpus = Path(__file__).parents[1] / "corpus" / "asterisk" / part
    numbers = re.compile(r"(?:(?:40|44|45|50)12345|9123450|4670174060)\d")
    assert sum(bool(numbers.search(file.name)) for file in corpus.rglob("2026/**/*.*")) >= 5
    office.configure(more=EXCHANGE.replace("{corpus}", str(corpus)))
    out = Outputs()

    for key in ("first", "second"):
        night(office, out, key, vendor="vaihde")

    assert office.rows("select from recording union all select from quarantine")
    search(office, caplog, capfd, out)
    assert out.leaks(numbers) == set()


# --- can it fail? -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [Right.erasure, Right.access])
def test_no_number_and_no_reason_comes_out_of_a_request_that_is_led(office, loud, caplog, capfd, right):
    """What a run shows and hands on, what it refuses, what is typed into a question, an evidence's note, a refusal's reasons."""
    plant(office.linna)
    office.run()
    out, keyring, number = Outputs(), office.app.keyring, E164("+358409990001")
    with office.connect() as conn:
        today = office.value("select helsinki_day(callkeeper_now())")
        ticket = fulfilling.open_ticket(
            conn, keyring, right=right, received_on=today, channel="email", language="fi", numbers=[number], account="officer", actor=OFFICER,
        )  # fmt: skip
        fulfilling.prove_identity(
            conn, keyring, ticket, evidence="other", from_at=at(0), to_at=at(23), note=f"rang from {SPELLINGS[1]}", account="officer",
            actor=OFFICER,
        )  # fmt: skip
        fulfilling.note_reasons(conn, keyring, ticket, f"about {SPELLINGS[2]}", account="officer", actor=OFFICER)
        said = [
            ("Approve", {"scope": SPELLINGS[0]}),
            ("Refuse", {"ground": SPELLINGS[2]}),
            ("Approve", {"scope": SPELLINGS[0], "erasure_ground": SPELLINGS[1]}),
            ("Extend", {"extension_reason": SPELLINGS[3]}),
            (SPELLINGS[0], {SPELLINGS[0]: SPELLINGS[0]}),
            ("Refuse", {"ground": "manifestly_unfounded"}),
        ]
        for n, (chosen, params) in enumerate(said, start=1):
            run = f"{ticket}--{n}"
            facts: dict[str, Any] = {"ticket": ticket, "run": run, "account": "officer", "actor": OFFICER}
            try:
                out.add("a question", leading.begin(office.app, conn, right=right, what="advance", **facts))
                answer = {"question": "decide", "chosen": chosen, "params": params}
                out.add("an answer", leading.record(office.app, conn, **answer, **facts))
            except CallkeeperError as wrong:
                conn.rollback()
                out.failed(wrong)
                # Nobody answered it: the next run takes over.
                conn.execute("update ticket set question = null where ticket = %s", (ticket,))
                conn.commit()
        assert fulfilling.show(conn, ticket).state == "refused"

    assert len(out.pieces) > 8
    assert search(office, caplog, capfd, out) == set()


def test_a_field_name_with_a_number_in_it_would_be_found(office, loud, caplog, capfd, monkeypatch):
    plant(office.linna)
    monkeypatch.setattr(fields, "field_name", lambda name: name)

    office.run()

    assert "tally.reason" in search(office, caplog, capfd, Outputs())


def test_a_reference_in_a_log_would_be_found(office, loud, caplog, capfd, monkeypatch):
    plant(office.linna)
    real = fetching._fetch_one

    def chatty(conn, job, store, probe, row):
        fetching.log.debug("opening %s", job.keyring.unseal("reference", row.sealed_ref, row.identity).decode())
        return real(conn, job, store, probe, row)

    monkeypatch.setattr(fetching, "_fetch_one", chatty)
    office.run()

    assert "log callkeeper.jobs.fetching" in search(office, caplog, capfd, Outputs())


def test_an_error_that_keeps_its_librarys_text_would_be_found(office, loud, caplog, capfd, monkeypatch):
    plant(office.linna)

    real = fetching._fetch_one

    def chained(conn, job, store, probe, row):
        ref = job.keyring.unseal("reference", row.sealed_ref, row.identity).decode()
        if not CANARY.search(ref):
            return real(conn, job, store, probe, row)
        try:
            return (office.folder / ref).read_bytes()
        except OSError as wrong:
            raise CallkeeperError("A file is not there.") from wrong

    monkeypatch.setattr(fetching, "_fetch_one", chained)
    out = Outputs()

    with pytest.raises(CallkeeperError) as failed:
        office.run()
    out.failed(failed.value)

    assert "exception" in search(office, caplog, capfd, out)


def test_a_number_beside_the_sealed_one_would_be_found(office, loud, caplog, capfd):
    plant(office.linna)
    office.run()
    office.sql.execute(
        "update recording set revision = %s where pseudonym = %s", (b"0409990001", office.pseudonym("+358409990001"))
    )

    assert search(office, caplog, capfd, Outputs()) == {"recording.revision"}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_search_knows_the_spelling(spelling):
    assert CANARY.search(spelling)
    assert HEX.search(re.sub(r"\D", "", spelling).encode().hex())


def test_the_planted_audio_is_sound():
    assert io.BytesIO(tone()).read(4) == b"RIFF"
