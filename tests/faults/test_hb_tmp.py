import sys, time

sys.path[:0] = ["/work/main/tests", "/work/main/include"]
from callkeeper import blockers, db
from callkeeper.jobs import holding
from callkeeper.blockers import Predicate
from fakes.store import FakeStore
from installation import ACTOR, DAY, NOW, at
from datetime import timedelta

N = 2_000_000


def timed(name, f):
    t = time.monotonic()
    r = f()
    print(f"{name}: {time.monotonic() - t:.3f} s -> {r}")
    return r


def test_it(office):
    office.sql.execute(
        f"""
    insert into recording (recording, controller, vendor, line, direction, started_at, duration_ms, caller_state, pseudonym,
     pseudonym_key, identity, revision, sealed_ref, object_key, version_id, sha256, size_bytes, audio_ms, codec, channels,
     sample_rate_hz, legal_hold, delivery, retention_months)
     select gen_random_uuid(), case when mod(n,2)=0 then 'phm' else 'punavaara' end, 'linna', '+3581027080'||lpad(mod(n,50)::text,2,'0'), 'inbound', %s - make_interval(secs => n*8), 1, 'known', sha256(int4send(n/5)), 'k', sha256(int4send(n)), 'x', sha256(int4send(n))||sha256(int4send(n)),
     'rec/' || n, 'v'||n, 'x', 1, 1, 'pcm_s16le', 1, 8000, false, 1, 6 from generate_series(1, {N}) n""",
        (NOW,),
    )
    office.sql.execute(
        "insert into deletion (recording, vendor, trigger, state, due_at, absence_checked_at) select gen_random_uuid(),'linna','retention_expired','done', now(), now() from generate_series(1,500000)"
    )
    office.sql.execute(
        "insert into deletion (recording, vendor, controller, trigger, state, due_at) select recording,'linna',controller,'retention_expired','planned', eligible_at from recording order by eligible_at limit 100000"
    )
    office.sql.execute("vacuum analyze")
    import hashlib

    def pn(n):
        return hashlib.sha256(n.to_bytes(4, "big")).digest()

    store = FakeStore()

    def seq():
        office.sql.execute("select pg_stat_force_next_flush()")
        return office.value("select seq_scan from pg_stat_user_tables where relname='recording'")

    with office.connect() as conn:
        for k in range(30):
            h = [None]

            def one():
                h[0] = office.block(pseudonyms=(pn(1000 + k), pn(5000 + k)))

            if k < 3:
                timed("place", one)
                timed("cover number", lambda: blockers.cover(conn, h[0]))
            else:
                one()
                blockers.cover(conn, h[0])
        print("seq", seq())
        b = office.block(line="+358102708007", from_at=NOW - timedelta(days=30))
        timed("cover line month", lambda: blockers.cover(conn, b))
        b = office.block(controller="phm", from_at=NOW - timedelta(days=20), to_at=NOW - timedelta(days=10))
        timed("cover controller 10 days", lambda: blockers.cover(conn, b))
        ids = tuple(r.recording for r in office.rows("select recording from recording limit 100"))
        b = office.block(recordings=ids)
        timed("cover 100 ids", lambda: blockers.cover(conn, b))
        print("seq", seq())
        timed("preview number", lambda: holding.preview(conn, Predicate(pseudonyms=(pn(3),))).counts)
        timed("preview count only", lambda: blockers.count(conn, Predicate(pseudonyms=(pn(3),))))
        conn.rollback()
        q = db.queries()
        n = timed("unsettled", lambda: len(list(q.unsettled(conn))))
        conn.rollback()
        timed("drop stale", lambda: q.drop_stale_covers(conn))
        conn.rollback()
        import io

        for r in office.rows(
            "select r.object_key, r.version_id from blocker_cover c join recording r using (recording)"
        ):
            from fakes.store import _Version

            store._bucket.objects.setdefault(r.object_key, {})[r.version_id] = _Version(data=b"x")
        timed("settle all", lambda: dict(holding.settle(conn, store, ACTOR)))
        timed("settle again", lambda: dict(holding.settle(conn, store, ACTOR)))
        timed("unsettled", lambda: len(list(q.unsettled(conn))))
        conn.rollback()
        for row in office.rows("explain (analyze, costs off) " + q.unsettled.sql.replace("%%", "%")):
            print(row[0])
