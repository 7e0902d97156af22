"""Generated passwords and keys: made once, kept in files that only their owner can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def write_private(path: Path, text: str, *, errors: str = "strict") -> None:
    """Writes the whole file or nothing of it, mode 0600, on disk when this returns."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(
        os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", errors=errors, newline=""
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def private_folder(path: Path) -> Path:
    """Makes the folder with mode 0700; one that exists keeps the mode it has."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def token() -> str:
    """A password that nobody types."""
    return secrets.token_urlsafe(24)


class Secrets:
    """A folder with one file a secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)

    def get(self, name: str, make: Callable[[], str] = token) -> str:
        """The secret of that name, made when it is asked for the first time."""
        path = self.folder / name
        if not path.exists():
            write_private(path, make())
        return path.read_text(encoding="utf-8")

    def put(self, name: str, value: str) -> None:
        """Keeps a value that was not made here; the same value again changes nothing."""
        path = self.folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != value:
            write_private(path, value)
