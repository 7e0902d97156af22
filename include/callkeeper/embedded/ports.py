"""TCP ports of 127.0.0.1, chosen free and kept."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path

from callkeeper.embedded.secrets import write_private
from callkeeper.errors import SetupFailed

# Below the range that Linux and macOS hand out to outgoing connections: one of those could sit on a kept port at the next start.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """One free port a name."""
    ports: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(ports) == len(names):
            break
        if is_free(port):
            ports.append(port)
    else:
        raise SetupFailed("There are not enough free TCP ports on 127.0.0.1 between 20000 and 32000.")
    return dict(zip(names, ports, strict=True))


def kept_ports(file: Path, names: Sequence[str]) -> dict[str, int]:
    """The ports in the file; names that it doesn't have yet get a free one."""
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    missing = [name for name in names if name not in known]
    if missing:
        known |= free_ports(missing)
        write_private(file, json.dumps(known, indent=1) + "\n")
    return {name: known[name] for name in names}
