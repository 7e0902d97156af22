"""A file that a command writes for its caller: letters, packages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from callkeeper.errors import NotAllowed


@contextmanager
def new_file(path: Path, *, instead: bool = False) -> Iterator[BinaryIO]:
    """A new file that its owner alone reads; none, if what is to be in it cannot be written whole.

    What is there already stays, and NotAllowed is raised; with ``instead`` it goes first, since others may have been let read it.
    """
    try:
        if instead:
            path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise NotAllowed(f"{path} is there already.", mend="Choose another name.") from None
    except OSError as wrong:
        raise _unwritable(path, wrong) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException as wrong:
        path.unlink(missing_ok=True)
        if isinstance(wrong, OSError):
            raise _unwritable(path, wrong) from None
        raise


def _unwritable(path: Path, wrong: OSError) -> NotAllowed:
    return NotAllowed(f"{path} cannot be written ({type(wrong).__name__}).", mend="Choose another place.")
