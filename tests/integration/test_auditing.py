"""The trail of real runs, sealed, exported, and judged by the auditor's verifier; and what a superuser does to it, found."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from callkeeper import __version__
from callkeeper.clock import HELSINKI
from callkeeper.commands import audit
from callkeeper.embedded.postgres import binaries
from callkeeper.errors import NotAllowed, NotFound
from callkeeper.jobs import ageing, auditing, sealing
from callkeeper.trail import verify
from callkeeper.trail.append import append
from callkeeper.trail.events import DayClosed
from deliver import PHM, PUNAVAARA, Call, deliver
from installation import ACTOR, DAY, Installation, at

LATER = datetime(2027, 6, 1, 0, 30, tzinfo=HELSINKI)
"""A night on which what came in is past its term."""


def seal(office: Installation) -> sealing.Sealed:
    with office.app.connect("sealer") as conn:
        sealing.heartbeat(conn, ACTOR)
        return sealing.run(conn, office.app.seal_keys, office.app.anchor, sealing.Rules(), ACTOR)


def export(
    office: Installation, folder: Path, first: date | None = None, last: date | None = None
) -> auditing.Exported:
    with office.app.connect("auditor") as conn:
        return auditing.export(conn, folder, first=first, last=last, code=__version__)


def judged(office: Installation, folder: Path, keep: tuple[str, ...] = ()) -> verify.Verdict:
    keys = [verify.parse_key(str(k.verifier)) for k in office.app.seal_keys.live]
    return verify.verify(folder, keys, [("kept", note.encode()) for note in keep])


def notes_of(office: Installation) -> list[str]:
    return [row.note for row in office.rows("select note from checkpoint order by epoch, size")]


@pytest.fixture
def lived(sealed_office: Installation) -> Installation:
    """An import, a rehearsal, the yes, a hold, a live night half a year later; sealed before and after it."""
    office = sealed_office
    calls = [Call(id=f"c{n}", start=at(9, n), line=(PHM, PUNAVAARA)[n % 2]) for n in range(8)]
    deliver(office.linna, DAY, [*calls, Call(id="long", start=at(11), ms=3100)])
    office.run("import 1")
    office.sweep("night 1")
    seal(office)
    office.go_live()
    (held,) = office.rows("select recording from recording order by recording limit 1")
    office.block(recordings=(held.recording,))
    office.set_clock(LATER - timedelta(days=1))
    office.forecast()
    office.set_clock(LATER)
    assert office.sweep("night 2").total("done") == 7
    seal(office)
    return office


# --- what is whole ----------------------------------------------------------------------------------------------------


def test_what_real_runs_wrote_is_verified_to_its_last_leaf(lived, tmp_path):
    done = export(lived, tmp_path / "b")
    verdict = judged(lived, tmp_path / "b", tuple(notes_of(lived)))

    assert verdict.ok, verdict.findings
    (epoch,) = verdict.epochs
    size = lived.value("select count(*) from leaf")
    assert (epoch.size, epoch.verified, epoch.bodies, epoch.unsealed) == (size, size, size, 0)
    assert (verdict.meaning["nights"], verdict.meaning["imports"], verdict.meaning["ended"]) == (2, 1, 7)
    assert (done.trail, done.epochs[0].bodies, done.epochs[0].missing) == ("callkeeper", size, 0)
    assert not set(verdict.remark_counts) - {"silence", "epoch"}


def test_no_clear_number_and_nothing_of_the_vendors_is_in_it(lived, tmp_path):
    export(lived, tmp_path / "b")
    text = b"".join(
        gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()
        for p in (tmp_path / "b").rglob("*")
        if p.is_file()
    )
    for word in (b"+358", b"0401", b".wav", b"rec/", b"pseudonym"):
        assert word not in text


def test_what_is_not_sealed_yet_is_counted(lived, tmp_path):
    lived.sweep("night 3")
    n = lived.value("select count(*) from event e where not exists (select from leaf where event_id = e.id)")

    export(lived, tmp_path / "b")
    verdict = judged(lived, tmp_path / "b")

    assert verdict.ok
    assert verdict.epochs[0].unsealed == n > 0


def test_a_range_of_days_has_their_bodies_and_all_leaves(lived, tmp_path):
    day = LATER.date()

    export(lived, tmp_path / "b", first=day, last=day)
    verdict = judged(lived, tmp_path / "b", tuple(notes_of(lived)))

    assert verdict.ok, verdict.findings
    (epoch,) = verdict.epochs
    assert 0 < epoch.bodies < epoch.size == epoch.verified
    assert epoch.bodies + epoch.out_of_range == epoch.size
    export(lived, tmp_path / "none", first=date(2020, 1, 1), last=date(2020, 1, 2))
    assert judged(lived, tmp_path / "none").epochs[0].bodies == 0


def test_a_key_that_was_rotated_is_learnt_from_the_trail(lived, tmp_path):
    first = str(lived.app.seal_keys.live[0].verifier)
    rules = sealing.Rules()
    with lived.app.connect("sealer") as conn:
        second = sealing.add_key(conn, lived.app.seal_keys, lived.app.anchor, rules, ACTOR)
        sealing.retire_key(conn, lived.app.seal_keys, lived.app.anchor, rules, ACTOR, first.split("+")[1])
    vars(lived.app).pop("seal_keys")
    seal(lived)

    export(lived, tmp_path / "b")

    for key in (first, str(second.verifier)):
        verdict = verify.verify(tmp_path / "b", [verify.parse_key(key)])
        assert verdict.ok, verdict.findings
    assert (tmp_path / "b/keys.txt").read_text().split() == [first, str(second.verifier)]


def test_bodies_that_expired_are_accounted_for(lived, tmp_path):
    # The runs of November 2026, three years and more later.
    lived.set_clock(LATER.replace(year=2030))
    with lived.app.connect("sealer") as conn:
        sealing.heartbeat(conn, ACTOR)
    with lived.app.connect("ageing") as conn:
        gone = ageing.age(conn, ACTOR)
    seal(lived)

    export(lived, tmp_path / "b")
    verdict = judged(lived, tmp_path / "b")

    assert sum(m.bodies for m in gone) > 10
    assert verdict.epochs[0].expired == sum(m.bodies for m in gone)
    assert set(verdict.counts) == {"expired_early"}, "real time is the checkpoints': three years have not gone by"


def test_an_older_database_is_restored_and_what_it_lost_is_told(lived, postgres, tmp_path):
    dump, before = tmp_path / "dump", notes_of(lived)
    where = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "-d", lived.settings.db_name]
    env = {**os.environ, "PGPASSWORD": postgres.password}
    subprocess.run([str(binaries() / "pg_dump"), *where, "-Fc", "-n", "callkeeper", "-f", dump], env=env, check=True)
    with lived.connect() as conn:
        append(conn, ACTOR, [DayClosed(vendor="linna", day="2026-11-24", state="complete")] * 5)
        conn.commit()
    seal(lived)
    lost = notes_of(lived)[-1]
    now = lived.value("select callkeeper_now() + interval '2 seconds'")
    lived.sql.execute("drop schema callkeeper cascade")
    subprocess.run([str(binaries() / "pg_restore"), *where, dump], env=env, check=True)
    lived.set_clock(now)
    with lived.app.connect("sealer") as conn:
        sealing.new_epoch(conn, lived.app.seal_keys, lived.app.anchor, "restored_backup", ACTOR)
    lived.sweep("night 3")
    seal(lived)

    export(lived, tmp_path / "b")
    verdict = judged(lived, tmp_path / "b", (*before, lost))

    assert verdict.ok, verdict.findings
    assert [e.lost for e in verdict.epochs] == [6, 0]
    assert verdict.remark_counts["epoch"] == 1

    # One body more, said to be lost with them.
    with as_superuser(lived, "class = 'deletion' order by id limit 1") as (part, row):
        lived.sql.execute(f"delete from {part} where id = %s", (row.id,))
        with lived.unguarded():
            lived.sql.execute(
                "update leaf set event_id = null, xid = null, class = null, at = null where event_id = %s", (row.id,)
            )
    export(lived, tmp_path / "c")
    assert "lost_unexplained" in judged(lived, tmp_path / "c").counts


# --- what a superuser does --------------------------------------------------------------------------------------------


@contextmanager
def as_superuser(office: Installation, which: str) -> Iterator[tuple[str, Any]]:
    """A sealed event's partition without its guards, and the event."""
    row = office.row(f"select tableoid::regclass::text as part, id, xid::text as xid, body from event where {which}")
    office.sql.execute(f"alter table {row.part} disable trigger all")
    yield row.part, row
    for guard in ("no_change", "no_truncate"):
        office.sql.execute(f"alter table {row.part} enable always trigger {guard}")


SOME = "class = 'import' and body like '%recording.kept%' order by id limit 1"


def changed_row(office: Installation) -> None:
    with as_superuser(office, SOME) as (part, row):
        body = bytes(row.body).replace(b'"blocked":false', b'"blocked":true')
        assert body != bytes(row.body)
        office.sql.execute(f"update {part} set body = %s where id = %s", (body, row.id))


def redated_row(office: Installation) -> None:
    with as_superuser(office, SOME) as (part, row):
        office.sql.execute(f"update {part} set at = at + interval '1 minute' where id = %s", (row.id,))


def deleted_row(office: Installation) -> None:
    with as_superuser(office, SOME) as (part, row):
        office.sql.execute(f"delete from {part} where id = %s", (row.id,))


def truncated_partition(office: Installation) -> None:
    with as_superuser(office, SOME) as (part, _):
        office.sql.execute(f"truncate {part}")


def dropped_partition(office: Installation) -> None:
    with as_superuser(office, SOME) as (part, _):
        office.sql.execute(f"create table kept_aside as select * from {part}")
        office.sql.execute(f"delete from {part}")


def slipped_in_row(office: Installation) -> None:
    with as_superuser(office, SOME) as (_, row):
        body = bytes(row.body).replace(b'"vendor":"linna"', b'"vendor":"other"')
        office.sql.execute(
            "insert into event (xid, class, at, body) values (%s::xid8, 'import', callkeeper_now(), %s)",
            (row.xid, body),
        )


def changed_leaf(office: Installation) -> None:
    with office.unguarded():
        office.sql.execute("update leaf set leaf_hash = sha256('x') where seq = 7")


def changed_row_and_leaf(office: Installation) -> None:
    """Both, so that they fit each other."""
    changed_row(office)
    with office.unguarded():
        office.sql.execute(
            r"update leaf l set leaf_hash = sha256('\x00'::bytea || convert_to(e.id || ' ' || e.xid || ' ' || e.class || ' ', 'UTF8') || e.body) "
            "from event e where e.id = l.event_id"
        )


def deleted_leaf(office: Installation) -> None:
    with office.unguarded():
        office.sql.execute("delete from leaf where seq = 7")


def changed_horizon(office: Installation) -> None:
    with office.unguarded():
        office.sql.execute(
            r"update checkpoint set note = regexp_replace(note, 'horizon (\d+)', 'horizon 1\1') where size > 1"
        )


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (changed_row, {"changed_body"}), (redated_row, {"missing_body"}), (deleted_row, {"missing_body"}),
        (truncated_partition, {"missing_body"}), (dropped_partition, {"missing_body"}), (slipped_in_row, {"unsealed_behind"}),
        (changed_leaf, {"wrong_root", "changed_body"}), (changed_row_and_leaf, {"wrong_root"}),
        (deleted_leaf, {"leaves_missing", "wrong_root", "wrong_counts", "changed_body", "misplaced_body", "missing_body"}),
        (changed_horizon, {"bad_signature"}),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)  # fmt: skip
def test_what_a_superuser_does_to_the_trail_is_found_by_name(lived, tmp_path, act, found):
    act(lived)
    export(lived, tmp_path / "b")
    assert set(judged(lived, tmp_path / "b").counts) == found


def test_a_sealed_tail_that_is_cut_is_found_by_the_anchor(lived, tmp_path):
    outside = notes_of(lived)
    with lived.unguarded():
        (size,) = lived.row("select size from checkpoint order by size desc offset 1 limit 1")
        lived.sql.execute(
            "delete from anchored where number in (select number from checkpoint where size > %s)", (size,)
        )
        lived.sql.execute("delete from checkpoint where size > %s", (size,))
        ids = [r.event_id for r in lived.rows("delete from leaf where seq >= %s returning event_id", size)]
    for row in lived.rows("select distinct tableoid::regclass::text as part from event where id = any (%s)", ids):
        lived.sql.execute(f"alter table {row.part} disable trigger all")
        lived.sql.execute(f"delete from {row.part} where id = any (%s)", (ids,))
        for guard in ("no_change", "no_truncate"):
            lived.sql.execute(f"alter table {row.part} enable always trigger {guard}")

    export(lived, tmp_path / "b")

    assert judged(lived, tmp_path / "b").ok, "inside, nothing tells of it"
    assert set(judged(lived, tmp_path / "b", tuple(outside)).counts) == {"cut_tail"}


def test_a_history_that_is_written_anew_with_the_key_itself_is_found_by_the_anchor(lived, seaweed, tmp_path):
    outside = notes_of(lived)
    changed_row(lived)
    with lived.unguarded():
        lived.sql.execute("truncate anchored, checkpoint, leaf, epoch restart identity")
    seaweed.make_bucket("another-anchor")
    lived.change_settings(anchor_bucket="another-anchor")
    seal(lived)

    export(lived, tmp_path / "b")

    assert judged(lived, tmp_path / "b").ok, "with the key, a whole history can be written anew"
    assert set(judged(lived, tmp_path / "b", tuple(outside)).counts) <= {"two_histories", "cut_tail"}
    assert judged(lived, tmp_path / "b", tuple(outside)).counts["two_histories"]


# --- the commands -----------------------------------------------------------------------------------------------------


def test_nothing_sealed_and_a_folder_in_use_are_refused(sealed_office, tmp_path):
    with pytest.raises(NotFound):
        export(sealed_office, tmp_path / "b")
    seal(sealed_office)
    (tmp_path / "x").write_text("mine")
    with pytest.raises(NotAllowed):
        export(sealed_office, tmp_path)


def test_the_commands_say_what_was_exported_and_the_key(lived, tmp_path, monkeypatch):
    monkeypatch.setattr(audit.settings, "load", lambda: lived.settings)
    runner = CliRunner()

    ran = runner.invoke(audit.group, ["export", str(tmp_path / "b")], catch_exceptions=False)
    assert "0 events are not sealed yet" in ran.output
    assert f"epoch 1: size {lived.value('select count(*) from leaf')}" in ran.output

    key = runner.invoke(audit.group, ["key"], catch_exceptions=False).output.splitlines()
    assert verify.main([str(tmp_path / "b"), "--key", key[0]]) == 0
    assert verify.main([str(tmp_path / "b"), "--fingerprint", key[1].strip()]) == 0


def test_a_sample_tells_whole_stories_in_words_and_can_be_proven(lived, tmp_path, monkeypatch):
    monkeypatch.setattr(audit.settings, "load", lambda: lived.settings)
    runner = CliRunner()
    words = ["sample", "--seed", "spring visit", "-n", "8", "--proofs", str(tmp_path / "proofs.json")]

    told = runner.invoke(audit.group, words, catch_exceptions=False).output

    assert runner.invoke(audit.group, words, catch_exceptions=False).output == told
    with lived.app.connect("auditor") as conn:
        items = auditing.sample(conn, seed="spring visit", n=8)
        others = auditing.sample(conn, seed="autumn visit", n=8)
    assert {i.kind for i in items} == {"deleted recording", "held recording", "quarantined recording", "hold", "run"}
    assert [i.id for i in items] != [i.id for i in others]
    deleted = next(i for i in items if i.kind == "deleted recording")
    assert [t.what.event.action for t in deleted.story] == [
        "recording.kept", "deletion.planned", "deletion.armed", "deletion.sending", "deletion.store_gone", "deletion.vendor_asked",
        "deletion.vendor_answered", "deletion.done",
    ]  # fmt: skip
    assert f"deleted recording {deleted.id}" in told
    assert "The end of a recording: gone in the store and at the vendor" in told
    key = str(lived.app.seal_keys.live[0].verifier)
    assert verify.main([str(tmp_path / "proofs.json"), "--key", key]) == 0


def test_the_auditors_page_works_as_it_is_written(lived, tmp_path):
    """From a folder and a key to a verdict, with the one file, in a Python that knows nothing of callkeeper."""
    export(lived, tmp_path / "FOLDER")
    (tmp_path / "KEY").write_text(f"{lived.app.seal_keys.live[0].verifier}\n")
    (tmp_path / "CHECKPOINTS").mkdir()
    anchor = lived.app.anchor
    for (epoch, size), where in anchor.standing().notes.items():
        (tmp_path / "CHECKPOINTS" / f"{epoch}-{size}.note").write_bytes(anchor.read(where))
    shutil.copy(verify.__file__, tmp_path / "verify.py")
    page = (Path(__file__).parents[2] / "docs" / "auditor.md").read_text()
    (line,) = re.findall(r"```sh\n(.*)\n```", page)

    python, *words = line.split()
    ran = subprocess.run([sys.executable, "-I", *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert python == "python"
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "VERIFIED, to these sizes" in ran.stdout
    assert f"Compared with {len(notes_of(lived))} checkpoints" in ran.stdout
    for name in re.findall(r"`([a-z]+_[a-z_]+)`", page):
        assert name in verify.FINDINGS or name in verify.REMARKS
