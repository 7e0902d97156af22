"""``make secrets``: the folders and secrets that docker-compose.yaml mounts, and ``.env``. What is there already stays as it is.

Files are 0600 and belong to whom the containers run as: whoever calls this, or, when root does, the image's own user.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from callkeeper.containers.places import BACKUPS, FOLDERS, MOUNTED, PLACES
from callkeeper.embedded import airflow, installation, store
from callkeeper.embedded.secrets import Secrets, private_folder, write_private
from callkeeper.errors import CallkeeperError, SetupFailed
from callkeeper.pseudonyms import Keyring
from callkeeper.settings import PROJECT, Settings
from callkeeper.trail.notes import SealKeys

DATA, PORT, UID = "CALLKEEPER_DATA", "CALLKEEPER_PORT", "CALLKEEPER_UID"
IMAGES_USER = 50000
"""The user of Apache Airflow's image."""
# A person changes these, once there is a mail relay of the company's, and a place for backups in another house.
_ONCE = ("CALLKEEPER_SMTP_HOST", "CALLKEEPER_SMTP_PORT", "CALLKEEPER_BACKUPS_LOCATION", "CALLKEEPER_AIRFLOW_PUBLIC_URL")


class Given(Secrets):
    """Secrets that were made before and are only read: a container makes none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, make: object = None) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise SetupFailed(
                f"The secret {name} is not here.", mend="Run `make secrets` on the host, then `docker compose up -d`."
            ) from None
        except PermissionError:
            raise SetupFailed(
                f"The secret {name} is another user's.",
                mend=f"{UID} in .env must be the owner of the data folder's files; `make secrets` says who that is.",
            ) from None

    def put(self, name: str, value: str) -> None:
        raise NotImplementedError


def make(data: Path, *, uid: int, port: int) -> None:
    """Makes folders, secrets and keys in ``data`` for containers that run as ``uid``, with Airflow on the host's ``port``; overwrites none.

    What follows from the secrets (the store's file of identities, Redis' configuration) is written anew.
    """
    before = os.umask(0o077)
    try:
        private_folder(data)
        for name in FOLDERS:
            private_folder(data / name)
        for name in MOUNTED:
            # The engine cannot make a mount's place inside a mount that is read-only.
            private_folder(data / "home" / name)
        secrets = Secrets(data / "secrets")
        secrets.get("postgres_password")
        installation.make_passwords(secrets)
        secrets.get("airflow_db_password")
        for name, how in airflow.KEYS.items():
            secrets.get(name, how)
        for account in airflow.ACCOUNTS:
            secrets.get(f"airflow_{account.name}_password")
        for name, how in store.SECRETS.values():
            secrets.get(name, how)
        secrets.put("store_identities.json", store.identities(secrets))
        secrets.put("redis.conf", _redis(secrets.get("redis_password")))
        Keyring.create(data / "keys")
        SealKeys.create(data / "trail-keys", str(Settings.model_fields["trail_name"].default))
        ours = {
            **PLACES.settings(),
            "CALLKEEPER_STORE_ON_THIS_MACHINE": "true",
            "CALLKEEPER_BACKUPS_LOCATION": str(BACKUPS),
            "CALLKEEPER_AIRFLOW_PUBLIC_URL": f"http://localhost:{port}",
        }
        once = {name: ours.pop(name) for name in _ONCE}
        installation.write_settings(data / "home" / "callkeeper.env", ours, once=once)
    finally:
        os.umask(before)
    if os.geteuid() == 0:
        _give(data, uid)


def _redis(password: str) -> str:
    """Redis carries messages only, which Airflow sends again: nothing is written to a disk."""
    return f'requirepass {password}\nsave ""\nappendonly no\ndir /tmp\n'


def _give(data: Path, uid: int) -> None:
    """To whom the containers run as; folders that a server keeps are that server's own affair."""
    for path in (data, *(data / name for name in FOLDERS)):
        os.chown(path, uid, 0)
    for folder in (data / "home", data / "secrets", data / "keys", data / "trail-keys"):
        for path in folder.rglob("*"):
            os.chown(path, uid, 0, follow_symlinks=False)


def settings_of(env: Path) -> dict[str, str]:
    """The lines NAME=value of an ``.env``."""
    if not env.exists():
        return {}
    lines = (line.partition("=") for line in env.read_text(encoding="utf-8").splitlines())
    return {name.strip(): value.strip().strip("'\"") for name, _, value in lines if name and not name.startswith("#")}


def make_env(project: Path, *, uid: int) -> dict[str, str]:
    """Makes ``.env`` of ``.env.example``, unless it is there; returns what it says."""
    env = project / ".env"
    if not env.exists():
        text = (project / ".env.example").read_text(encoding="utf-8")
        write_private(env, text.replace(f"{UID}=\n", f"{UID}={uid}\n"))
    return settings_of(env)


def main() -> None:
    """``python -m callkeeper.containers.secrets``, in the project."""
    try:
        says = make_env(PROJECT, uid=os.geteuid() or IMAGES_USER)
        try:
            uid = int(says[UID])
        except (KeyError, ValueError):
            raise SetupFailed(
                f"{UID} is missing in .env.", mend=f"Write {UID}={os.geteuid() or IMAGES_USER}."
            ) from None
        if uid == 0:
            raise SetupFailed(f"{UID} is 0 in .env: no container runs as root.", mend=f"Write {UID}={IMAGES_USER}.")
        if os.geteuid() not in (0, uid):
            raise SetupFailed(
                f"{UID} is {uid} in .env, and you are {os.geteuid()}: the containers could not read your files.",
                mend=f"Write {UID}={os.geteuid()}.",
            )
        data = PROJECT / says.get(DATA, "./var/compose")
        make(data, uid=uid, port=int(says.get(PORT, 8080)))
    except CallkeeperError as wrong:
        sys.exit(str(wrong))
    secrets = Secrets(data / "secrets")
    say = sys.stdout.write
    say(f"The secrets are in {data / 'secrets'}, mode 0600. Settings: {data / 'home' / 'callkeeper.env'} and .env\n\n")
    for account in airflow.ACCOUNTS:
        if account.name != airflow.NOTES_ACCOUNT:
            say(f"  {account.name:<9} {secrets.get(f'airflow_{account.name}_password')}  ({account.title})\n")
    say("\nNext: docker compose up -d\n")


if __name__ == "__main__":
    main()
