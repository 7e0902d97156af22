"""Catalogue, store and vendors side by side, and the balance of all that was ever imported."""

from __future__ import annotations

from datetime import datetime

from callkeeper import db
from callkeeper.media import Store


def list_store(conn: db.Connection, store: Store) -> datetime:
    """Brings the store's complete listing into a table of this connection's; returns when it was begun. Commits."""
    raise NotImplementedError
