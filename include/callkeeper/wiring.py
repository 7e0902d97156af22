"""Builds the app from its settings; no Airflow in it, and nothing connects before it is asked to."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from callkeeper import __version__, controllers, db
from callkeeper.controllers import Config
from callkeeper.errors import ConfigurationError
from callkeeper.jobs import deleting, sealing
from callkeeper.jobs.importing import Import, Rules
from callkeeper.media import Backups, Destroyer, Holder, Store
from callkeeper.notice import Notice, load_notice
from callkeeper.notify import Notifier
from callkeeper.pseudonyms import Keyring
from callkeeper.settings import DatabaseRole, Settings
from callkeeper.trail.anchor import Anchor
from callkeeper.trail.events import Actor
from callkeeper.trail.notes import SealKeys
from callkeeper.vendors import Vendor

if TYPE_CHECKING:
    from callkeeper.media.s3 import S3Store


@dataclass(frozen=True)
class App:
    """Everything a job needs, made from the settings when it is first asked for."""

    settings: Settings

    @cached_property
    def config(self) -> Config:
        return controllers.load_config(self.settings.config_file)

    @cached_property
    def notice(self) -> Notice:
        return load_notice(self.settings.notice_file)

    @property
    def backups(self) -> Backups | None:
        """Where backups of the database lie; None where no place is named."""
        from callkeeper.media.backups import BackupPlace

        s = self.settings
        return BackupPlace(s.backups_location, s.backups_options) if s.backups_location else None

    @cached_property
    def keyring(self) -> Keyring:
        return Keyring.load(self.settings.keys_dir)

    def connect(self, role: DatabaseRole = "app") -> AbstractContextManager[db.Connection]:
        return db.connect(self.settings, role)

    @cached_property
    def store(self) -> Store:
        """The store as the importer."""
        return self._s3("store")

    @cached_property
    def destroyer(self) -> Destroyer:
        """The store as who deletes."""
        return self._s3("store_destroyer")

    @cached_property
    def holder(self) -> Holder:
        """The store as who places and lifts legal holds."""
        return self._s3("store_holder")

    @cached_property
    def seal_keys(self) -> SealKeys:
        """The keys that sign the trail."""
        return SealKeys.load(self.settings.trail_keys_dir)

    @cached_property
    def anchor(self) -> Anchor:
        """Where checkpoints stand outside the database, as the identity that puts and reads there."""
        from callkeeper.media.s3 import S3Store

        s = self.settings
        access_key, secret_key = (
            (s.anchor_access_key, s.anchor_secret_key)
            if s.anchor_access_key
            else (s.store_access_key, s.store_secret_key)
        )
        vault = S3Store(
            endpoint=s.anchor_endpoint or s.store_endpoint,
            region=s.anchor_region or s.store_region,
            bucket=s.anchor_bucket,
            access_key=access_key.get_secret_value(),
            secret_key=secret_key.get_secret_value(),
            region_allowed=controllers.region_allowed,
            on_this_machine=s.store_on_this_machine and not s.anchor_endpoint,
        )
        return Anchor(vault, s.anchor_days)

    def _s3(self, identity: str) -> S3Store:
        """The store with an identity's keys; with the importer's where the settings have none for it."""
        from callkeeper.media.s3 import S3Store

        s = self.settings
        if not getattr(s, f"{identity}_access_key"):
            identity = "store"
        return S3Store(
            endpoint=s.store_endpoint,
            region=s.store_region,
            bucket=s.store_bucket,
            access_key=getattr(s, f"{identity}_access_key").get_secret_value(),
            secret_key=getattr(s, f"{identity}_secret_key").get_secret_value(),
            region_allowed=controllers.region_allowed,
            on_this_machine=s.store_on_this_machine,
        )

    @cached_property
    def notifier(self) -> Notifier:
        from callkeeper.notify.smtp import SmtpNotifier

        return SmtpNotifier.from_settings(self.settings)

    def vendor(self, name: str) -> Vendor:
        """The configured vendor of that name. Raises ConfigurationError if there is none."""
        entry = self.config.vendor(name).at(self.settings.home)
        options = self.settings.vendor_options(name)
        if entry.kind == "drop":
            from callkeeper.vendors.drop import Drop

            return Drop(name, location=entry.location, options=options, retention_days=entry.retention_days)
        from callkeeper.vendors.asterisk import Asterisk

        return Asterisk(
            name,
            cdr=f"{entry.location}/{entry.cdr}",
            recordings=f"{entry.location}/{entry.recordings}",
            options=options,
            cdr_timezone=entry.cdr_timezone,
            name_timezone=entry.name_timezone,
            retention_days=entry.retention_days,
        )

    def rules(self) -> Rules:
        return Rules(
            other_party=self.config.policy.other_party,
            retention_months=self.config.terms.retention_months,
            quarantine_days=self.config.terms.quarantine_days,
            relook_days=self.settings.import_relook_days,
            chunk_rows=self.settings.import_chunk_rows,
        )

    def deleting_rules(self) -> deleting.Rules:
        s = self.settings
        return deleting.Rules(
            chunk_rows=s.deletion_chunk_rows,
            claim_rows=s.deletion_claim_rows,
            slice_rows=s.deletion_slice_rows,
            lease_minutes=s.deletion_lease_minutes,
            retention_months=self.config.terms.retention_months,
        )

    def sealing_rules(self) -> sealing.Rules:
        s = self.settings
        return sealing.Rules(chunk_rows=s.trail_chunk_rows, lag_seconds=s.trail_lag_minutes * 60)

    def importing(
        self, conn: db.Connection, run_key: str, vendor: str, actor: Actor, *, narrowed: bool = False
    ) -> Import:
        """The import of a run that has passed its preflight; ``narrowed``: the run's day only."""
        run = db.queries().find_run(conn, run_key=run_key)
        conn.rollback()
        if run is None:
            raise ConfigurationError(
                "This run has no preflight.", mend="Clear the whole DAG run, not one of its tasks."
            )
        return Import(
            run=run.run,
            vendor=self.vendor(vendor),
            last_day=run.day,
            only_day=run.day if narrowed else None,
            keyring=self.keyring,
            rules=self.rules(),
            actor=actor,
        )

    def actor(self, conn: db.Connection, **who: object) -> Actor:
        """An actor with the versions of code and configuration that are in force."""
        applied = db.queries().config_last(conn)
        conn.rollback()
        return Actor(rule=__version__, config=applied.version if applied else None, **who)  # type: ignore[arg-type]  # Actor's own fields


def build(settings: Settings) -> App:
    """The app."""
    return App(settings)
