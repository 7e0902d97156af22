"""The catalogue's database: connecting, roles, migrations, locks, named queries.

READ COMMITTED everywhere: a lock taken as its own statement, then a look, then the change (architecture, rule 3).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row
from psycopg.types.array import ListBinaryDumper
from psycopg.types.string import BytesBinaryDumper

from callkeeper.errors import CallkeeperError, DatabaseUnavailable, WrongCredentials
from callkeeper.settings import DatabaseRole, Settings

Connection = psycopg.Connection[Any]
Row = Any
"""A row of a named query: a named tuple with the query's columns."""

QUERIES = Path(__file__).parent / "queries"
MIGRATIONS = Path(__file__).parent / "migrations"
ROLES: tuple[DatabaseRole, ...] = ("owner", "app", "sealer", "ageing", "auditor", "witness")

BLOCKERS_LOCK = 0x63616C6C_0001
"""Exclusive: a blocker is being added. Shared: a call is being kept, or a deletion armed or sent."""


class DatabaseError(CallkeeperError):
    """A statement failed; the message has the SQLSTATE and the constraint, never a value."""


@cache
def queries() -> Any:
    """The named queries of queries/*.sql, one file a concept."""
    import aiosql

    return aiosql.from_path(QUERIES, "psycopg", mandatory_parameters=False)


_REFUSALS = {
    "password authentication failed": "28P01",
    "no pg_hba.conf entry": "28000",
    "is not permitted to log in": "28000",
    "permission denied for database": "28000",
    "too many connections": "53300",
    "too many clients": "53300",
}


def _state_of_refusal(text: str) -> str:
    """The SQLSTATE of a refused connection: libpq gives its words only."""
    return next((state for words, state in _REFUSALS.items() if words in text), "")


def reworded(wrong: psycopg.Error) -> CallkeeperError:
    """psycopg's errors print the values of a failing row; ours don't."""
    state = wrong.sqlstate or _state_of_refusal(str(wrong))
    if state.startswith("28"):
        return WrongCredentials(
            "The database refused the role or its password.", mend="Check the callkeeper_db connection."
        )
    if state.startswith("53"):  # psycopg's classes call it an OperationalError, too
        return DatabaseUnavailable(
            "The database is out of disk, memory or connections.", mend="Make room, then run the task again."
        )
    if isinstance(wrong, psycopg.OperationalError) or state.startswith(("08", "57P")):
        return DatabaseUnavailable(
            "The database did not answer, or went away.",
            mend="Is it running (on one machine: `make up`)? What was under way may be run again.",
        )
    what = " ".join(filter(None, (state, type(wrong).__name__, wrong.diag.table_name, wrong.diag.constraint_name)))
    return DatabaseError(
        f"A statement failed in the database: {what}.", mend="This is a fault of callkeeper: report it."
    )


@contextlib.contextmanager
def worded() -> Iterator[None]:
    """Rewrites database errors so that no value reaches a log."""
    try:
        yield
    except psycopg.Error as wrong:
        raise reworded(wrong) from None


def _parameters(settings: Settings, role: DatabaseRole) -> dict[str, Any]:
    password = getattr(settings, f"db_{role}_password").get_secret_value()
    return {
        "host": settings.db_host,
        "port": settings.db_port,
        "dbname": settings.db_name,
        "user": f"callkeeper_{role}",
        "password": password,
        "connect_timeout": 10,
        "application_name": "callkeeper",
    }


class _Hurried(psycopg.Connection[Any]):
    """A connection that waits for no answer beyond ``ends``: a server that is stopped keeps no time-out of its own."""

    ends: float

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, max(self.ends - monotonic(), 0.0))


@contextlib.contextmanager
def connect(settings: Settings, role: DatabaseRole = "app", *, seconds: float | None = None) -> Iterator[Connection]:
    """A connection of the role, closed at the end; an open transaction is rolled back, unless committed.

    ``seconds``: so long may connecting and all statements take together, at least 2, whatever the server does.
    Raises DatabaseUnavailable, WrongCredentials or DatabaseError, none of which shows a value.
    """
    with worded():
        parameters = _parameters(settings, role)
        if seconds is None:
            conn: Connection = psycopg.connect(**parameters, row_factory=namedtuple_row)
        else:
            ends = monotonic() + seconds
            parameters |= {"connect_timeout": int(seconds), "options": f"-c statement_timeout={int(seconds * 1000)}"}
            conn = _Hurried.connect(**parameters, row_factory=namedtuple_row)
            conn.ends = ends
        try:
            # The last one registered is taken. In COPY psycopg's own default for bytea is a slow one in Python; a list of UUIDs
            # as text costs six times as much as its bytes, and a night asks of thousands at a time.
            conn.adapters.register_dumper(bytes, BytesBinaryDumper)
            conn.adapters.register_dumper(list, ListBinaryDumper)
            conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            yield conn
        finally:
            conn.close()


def url(settings: Settings, role: DatabaseRole = "app") -> str:
    """The SQLAlchemy URL of the role (it holds the password: for handing over, never for printing)."""
    from sqlalchemy import URL

    p = _parameters(settings, role)
    return URL.create(
        "postgresql+psycopg",
        username=p["user"],
        password=p["password"],
        host=p["host"],
        port=p["port"],
        database=p["dbname"],
    ).render_as_string(hide_password=False)


def now(conn: Connection) -> datetime:
    """The present of every decision (architecture, rule 8)."""
    return conn.execute("select callkeeper.callkeeper_now()").fetchone()[0]  # type: ignore[index, no-any-return]  # one row


def lock_blockers(conn: Connection, *, exclusive: bool) -> None:
    """Takes the blockers' lock until the transaction ends, as a statement of its own (architecture, rule 3)."""
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    conn.execute(sql.SQL("select {}(%s)").format(sql.Identifier(function)), (BLOCKERS_LOCK,))


def ensure_roles(superuser: Connection, passwords: Mapping[DatabaseRole, str], database: str) -> None:
    """Makes the roles (architecture, rule 12) and the database, or brings their passwords up to date."""
    superuser.autocommit = True
    with worded():
        for role in ROLES:
            name, secret = sql.Identifier(f"callkeeper_{role}"), sql.Literal(passwords[role])
            exists = superuser.execute("select 1 from pg_roles where rolname = %s", (f"callkeeper_{role}",)).fetchone()
            verb = sql.SQL("alter" if exists else "create")
            superuser.execute(
                sql.SQL("{} role {} login nosuperuser nocreatedb nocreaterole noinherit password {}").format(
                    verb, name, secret
                )
            )
            for parameter, value in (
                ("search_path", "callkeeper"),
                ("timezone", "UTC"),
                ("default_transaction_isolation", "read committed"),
                ("idle_in_transaction_session_timeout", "10min"),
            ):
                superuser.execute(
                    sql.SQL("alter role {} set {} = {}").format(name, sql.Identifier(parameter), sql.Literal(value))
                )
        if not superuser.execute("select 1 from pg_database where datname = %s", (database,)).fetchone():
            superuser.execute(
                sql.SQL("create database {} owner callkeeper_owner encoding 'UTF8' template template0").format(
                    sql.Identifier(database)
                )
            )
        superuser.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))
        for role in ROLES:
            superuser.execute(
                sql.SQL("grant connect, temporary on database {} to {}").format(
                    sql.Identifier(database), sql.Identifier(f"callkeeper_{role}")
                )
            )


def migrate(settings: Settings) -> None:
    """Brings the schema to the newest revision, as the owner; at the newest already, it changes nothing."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, text

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = create_engine(url(settings, "owner"))
    try:
        with engine.begin() as connection:
            connection.execute(text("create schema if not exists callkeeper"))
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except Exception as wrong:
        cause = getattr(wrong, "orig", wrong)
        if isinstance(cause, psycopg.Error):
            raise reworded(cause) from None
        raise
    finally:
        engine.dispose()


def newest_revision() -> str:
    """The revision that this version of callkeeper needs."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config).get_current_head() or ""


def move_clock(owner: Connection, seconds: int) -> None:
    """Moves callkeeper_now() by whole seconds; for tests and the demo: only the owner has the right."""
    owner.execute("delete from callkeeper.clock_shift")
    if seconds:
        owner.execute("insert into callkeeper.clock_shift (shift) values (make_interval(secs => %s))", (seconds,))
    owner.execute("select callkeeper.ensure_trail_partitions()")
