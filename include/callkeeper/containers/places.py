"""Where things are inside the containers; docker-compose.yaml mounts and names them so, and a test holds the two together."""

from __future__ import annotations

from pathlib import Path

from callkeeper.embedded.installation import Places

HOME = Path("/opt/callkeeper")
"""The installation's home: callkeeper.env, and in folders of their own keys, the listener's marks, what vendors deliver."""
SECRETS = Path("/run/secrets")
AIRFLOW = Path("/opt/airflow")
LOGS = AIRFLOW / "logs"

AIRFLOW_PORT, STORE_PORT, POSTGRES_PORT, REDIS_PORT, MAIL_PORT = 8080, 8333, 5432, 6379, 1025

MOUNTED = ("keys", "trail-keys", "witness", "vendors", "backups", "files")
"""Folders of the home that are mounted one by one, only into the containers that need them."""
FOLDERS = ("home", "secrets", *MOUNTED, "postgres", "store", "logs", "mail")
"""What is kept, a folder each in the installation's data folder on the host."""

BACKUPS = HOME / "backups"

PLACES = Places(
    home=HOME,
    db_host="postgres",
    db_port=POSTGRES_PORT,
    store_endpoint=f"http://store:{STORE_PORT}",
    smtp_host="mail",
    smtp_port=MAIL_PORT,
    airflow_url=f"http://airflow-apiserver:{AIRFLOW_PORT}",
)
