"""Where backups of the database lie: how old they are is asked of the place itself, never read from a setting."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from callkeeper.errors import ConfigurationError, StoreUnavailable


class BackupPlace:
    """A folder or a bucket at ``url``; ``options`` are fsspec's. Nothing connects before the first question."""

    def __init__(self, url: str, options: Mapping[str, object]) -> None:
        self._url, self._options = url, options

    def ages(self) -> list[datetime]:
        """When each file there was written last, in UTC, in no order. Raises StoreUnavailable or ConfigurationError."""
        import fsspec

        try:
            fs, root = fsspec.core.url_to_fs(self._url, use_listings_cache=False, **self._options)
            if not fs.exists(root):
                raise FileNotFoundError
            found = fs.find(root, detail=True)
        except (ImportError, ValueError, TypeError):
            raise ConfigurationError(
                "The place of the backups cannot be used.",
                mend="Check CALLKEEPER_BACKUPS_LOCATION and backups.json in the secrets folder.",
            ) from None
        except Exception:  # noqa: BLE001  # this is the edge: every library of every place has its own errors
            raise StoreUnavailable(
                "The place of the backups did not answer, or is not there.", mend="Look whether it is mounted."
            ) from None
        return [_written(facts) for facts in found.values()]


def _written(facts: Mapping[str, Any]) -> datetime:
    """The time of a file's last change, however its library says it."""
    at = next((facts[name] for name in ("LastModified", "mtime", "last_modified") if name in facts), None)
    if isinstance(at, int | float):
        return datetime.fromtimestamp(at, UTC)
    if isinstance(at, datetime):
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    raise StoreUnavailable("The place of the backups does not say when a file was written.")
