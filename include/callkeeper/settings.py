"""Every setting once: name, default, meaning. Rules and promises are not settings: they are in config/callkeeper.toml.

A setting is read from the environment (``CALLKEEPER_<NAME>``), from ``<home>/callkeeper.env``, or, for what is secret,
from a file of that name in the secrets folder (mode 0600). ``docs/settings.md`` is generated from this file.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from callkeeper.errors import ConfigurationError

DatabaseRole = Literal["owner", "app", "sealer", "ageing", "auditor", "witness"]

PROJECT = Path(__file__).resolve().parents[2]


def _home() -> Path:
    return Path(os.environ.get("CALLKEEPER_HOME", PROJECT / "var"))


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="CALLKEEPER_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=_home, description="Folder of the embedded stack: data, ports, logs.")
    config_file: Path = Field(
        PROJECT / "config" / "callkeeper.toml", description="Controllers, lines, processors, vendors, terms."
    )
    notice_file: Path = Field(
        PROJECT / "config" / "notice.toml", description="The notice's promises, their controls and their checks."
    )
    backups_location: str = Field(
        "",
        description="Folder, or s3:// or sftp:// URL, where the database's backups lie: `prove` asks how old the oldest is. "
        "fsspec's options for it: `backups.json` in the secrets folder. Empty: it is not asked.",
    )
    keys_dir: Path = Field(
        default_factory=lambda: _home() / "keys",
        description="Folder of the pseudonym, sealing and tombstone keys (mode 0700).",
    )

    db_host: str = Field("127.0.0.1", description="Postgres host of the catalogue.")
    db_port: int = Field(5432, description="Postgres port.")
    db_name: str = Field("callkeeper", description="Database of the catalogue; Airflow's metadata has another one.")
    db_owner_password: SecretStr = Field(
        SecretStr(""), description="Password of callkeeper_owner, which migrates. Not needed by tasks."
    )
    db_app_password: SecretStr = Field(
        SecretStr(""), description="Password of callkeeper_app, the tasks' and the command line's role."
    )
    db_sealer_password: SecretStr = Field(
        SecretStr(""), description="Password of callkeeper_sealer, which signs the trail."
    )
    db_ageing_password: SecretStr = Field(
        SecretStr(""), description="Password of callkeeper_ageing, which drops what is past its term."
    )
    db_auditor_password: SecretStr = Field(
        SecretStr(""), description="Password of callkeeper_auditor, which only reads."
    )
    db_witness_password: SecretStr = Field(
        SecretStr(""),
        description="Password of callkeeper_witness, Airflow's listener, which only tells what Airflow ran. It asks no Airflow connection.",
    )
    witness_dir: Path = Field(
        default_factory=lambda: _home() / "witness",
        description="Folder of the listener's marks: one for each sight until it is written; one folder for all of Airflow's machines.",
    )

    store_endpoint: str = Field("", description="URL of the S3 server; empty: AWS.")
    store_on_this_machine: bool = Field(
        False,
        description="The S3 server is on this very machine, in a network that nothing else is in (docker-compose.yaml): it is spoken to without TLS.",
    )
    store_region: str = Field("eu-north-1", description="Region of the bucket; must be in the EU/EEA.")
    store_bucket: str = Field(
        "callkeeper-recordings", description="Bucket of the recordings: versioned, Object Lock enabled, encrypted."
    )
    store_access_key: SecretStr = Field(
        SecretStr(""), description="Access key of the importing identity (may write and read, not delete versions)."
    )
    store_secret_key: SecretStr = Field(SecretStr(""), description="Its secret key.")

    store_destroyer_access_key: SecretStr = Field(
        SecretStr(""), description="Access key of the destroying identity (may delete versions, not lift holds)."
    )
    store_destroyer_secret_key: SecretStr = Field(SecretStr(""), description="Its secret key.")
    store_holder_access_key: SecretStr = Field(
        SecretStr(""), description="Access key of the identity that places and lifts legal holds (may not delete)."
    )
    store_holder_secret_key: SecretStr = Field(SecretStr(""), description="Its secret key.")

    trail_name: str = Field("callkeeper", description="The trail's name in its checkpoints; chosen once.")
    trail_keys_dir: Path = Field(
        default_factory=lambda: _home() / "trail-keys",
        description="Folder of the keys that sign the trail (mode 0700), apart from the other keys.",
    )
    trail_chunk_rows: int = Field(50_000, ge=1, le=1_000_000, description="Events sealed per transaction.")
    trail_wait_seconds: int = Field(
        30, ge=0, description="How long a run waits at its end for its events to come under a checkpoint."
    )
    trail_lag_minutes: int = Field(
        10, ge=0, description="Events that wait longer for a transaction to end, so as to be sealed, are an alarm."
    )
    anchor_endpoint: str = Field(
        "", description="URL of the S3 server of the anchor; empty: the recordings' own, in a bucket apart."
    )
    anchor_region: str = Field("", description="Region of the anchor's bucket; empty: the recordings'.")
    anchor_bucket: str = Field(
        "callkeeper-anchor", description="Bucket of checkpoints and leaf hashes: versioned, Object Lock enabled."
    )
    anchor_days: int = Field(1460, ge=1, description="Days for which nobody can delete what is put in the anchor.")
    anchor_access_key: SecretStr = Field(
        SecretStr(""), description="Access key of the anchoring identity (may put and read there, nothing else)."
    )
    anchor_secret_key: SecretStr = Field(SecretStr(""), description="Its secret key.")

    smtp_host: str = Field("", description="Mail relay; empty: no mail is sent, and doctor says so.")
    smtp_port: int = Field(25, description="Port of the mail relay.")
    smtp_user: str = Field("", description="User at the mail relay, if it asks for one.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password at the mail relay.")
    smtp_starttls: bool = Field(False, description="Whether the relay is spoken to over STARTTLS.")
    mail_from: str = Field("callkeeper@localhost", description="Sender of alarms and of the morning's balance.")
    mail_to: str = Field(
        "data-team@localhost", description="The data team's address for alarms and balances; several with commas."
    )

    mail_privacy: str = Field(
        "privacy@localhost",
        description="The privacy officer's and her deputies' address; several with commas; empty: the data team, and doctor says so.",
    )
    mail_escalation: str = Field(
        "", description="Who is told when the officer and her deputies do not answer; empty: the data team."
    )

    airflow_url: str = Field(
        "http://127.0.0.1:8080",
        description="Airflow's own address, as its programs reach it; the command line signs in there if `callkeeper.env` says the same.",
    )
    airflow_account: str = Field(
        "callkeeper",
        description="The tasks' own account in Airflow (role `callkeeper_notes`), with which `doctor` looks for paused DAGs.",
    )
    airflow_password: SecretStr = Field(SecretStr(""), description="That account's password.")
    airflow_public_url: str = Field(
        "", description="Airflow's address as people see it, for links in mails; empty: CALLKEEPER_AIRFLOW_URL."
    )
    airflow_keep_days: int = Field(
        400,
        ge=200,
        description="Days after which `airflow db clean` takes runs, tasks and logins out of Airflow's own database (in containers; "
        "a request's run may wait for months, and a year's nights are compared with the last year's).",
    )
    airflow_log_days: int = Field(
        190,
        ge=1,
        description="Days after which a task's log file goes (in containers): a recording's term, and a week.",
    )
    docs_url: str = Field(
        "", description="Where the runbooks can be read; empty: the DAG's page in Airflow, which shows them."
    )
    demo: bool = Field(False, description="A demonstration: a moved database clock is allowed.")

    import_first_day: date | None = Field(
        None,
        description="First day that import_recordings catches up on; `make up` writes yesterday; empty: no catching up.",
    )
    import_lanes: int = Field(2, ge=1, le=16, description="Parallel audio tasks per vendor.")
    import_relook_days: int = Field(
        7, ge=0, description="Finished days looked at again for late or corrected recordings."
    )
    import_chunk_rows: int = Field(
        1000, ge=1, le=10_000, description="Recordings put in the catalogue per transaction."
    )
    import_claim_rows: int = Field(25, ge=1, le=1000, description="Recordings whose audio one lane claims at a time.")
    deletion_lanes: int = Field(2, ge=1, le=16, description="Parallel tasks that delete in the store.")
    deletion_claim_rows: int = Field(
        1000, ge=1, le=1000, description="Recordings that a lane claims, and one call to the store deletes."
    )
    deletion_chunk_rows: int = Field(
        5000,
        ge=1,
        le=50_000,
        description="Recordings planned or armed per transaction: so long a hold may have to wait.",
    )
    deletion_slice_rows: int = Field(
        50_000, ge=1, description="Recordings that one night deletes at most: a backlog goes in slices."
    )
    deletion_lease_minutes: int = Field(
        15, ge=1, description="A claim of a worker that says nothing for so long may be taken over."
    )
    reconcile_sample: int = Field(200, ge=0, description="Recordings whose audio is read and hashed again each day.")
    watchdog_hours: int = Field(
        30, ge=1, description="Hours without a balanced import, or night of deletions, after which the watchdog barks."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @property
    def airflow_link(self) -> str:
        """The beginning of a link into Airflow that a person follows."""
        return (self.airflow_public_url or self.airflow_url).rstrip("/")

    @property
    def secrets_dir(self) -> Path:
        return Path(os.environ.get("CALLKEEPER_SECRETS_DIR", self.home / "secrets"))

    def vendor_options(self, vendor: str) -> dict[str, object]:
        """fsspec options (credentials, endpoint) of one vendor, from ``<secrets>/vendor_<name>.json``; empty if there is none."""
        return self._options(f"vendor_{vendor}")

    @property
    def backups_options(self) -> dict[str, object]:
        """fsspec options of the backups' place, from ``<secrets>/backups.json``; empty if there is none."""
        return self._options("backups")

    def _options(self, name: str) -> dict[str, object]:
        import json

        path = self.secrets_dir / f"{name}.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}


class _Written(Settings):
    """What the installation's own file says, whatever the environment does."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (dotenv_settings,)


def written(home: Path) -> Settings:
    """The settings in ``<home>/callkeeper.env`` alone: for what decides who somebody is."""
    return _Written(_env_file=home / "callkeeper.env")  # type: ignore[call-arg]  # pydantic-settings' own argument


def load(**override: object) -> Settings:
    """The settings of this process. Raises ConfigurationError with one line a fault."""
    home = Path(str(override.get("home") or _home()))
    secrets = Path(os.environ.get("CALLKEEPER_SECRETS_DIR", home / "secrets"))
    try:
        return Settings(
            _env_file=home / "callkeeper.env",  # type: ignore[call-arg]  # pydantic-settings' own arguments
            _secrets_dir=secrets if secrets.is_dir() else None,
            **override,  # type: ignore[arg-type]  # checked by pydantic
        )
    except ValidationError as wrong:
        faults = tuple(
            f"CALLKEEPER_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}"
            for e in wrong.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError("Settings are wrong.", mend="See docs/settings.md.", faults=faults) from None
