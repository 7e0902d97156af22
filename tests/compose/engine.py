"""A container engine: the user's where one answers; else one of our own, in a private folder, that leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compose

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE = Path(next(iter(compose.__path__))) / "docker-compose"
"""The program itself: the script that its package puts beside Python's forgets how it ended."""
PACKAGES = (
    "docker.io", "containerd", "runc", "tini", "debootstrap", "iptables", "libip4tc2", "libip6tc2", "libxtables12", "libmnl0",
    "libnfnetlink0", "libnetfilter-conntrack3", "libnftnl11",
)  # fmt: skip
"""Debian's, unpacked into the private folder: nothing is installed on this machine."""


class NoEngine(Exception):
    """There is no engine here, and none can be brought; why, in words."""


@dataclass(frozen=True)
class Engine:
    """How to speak to an engine; ``folder`` is where our own lives, None for the user's."""

    env: Mapping[str, str]
    folder: Path | None = None

    @property
    def is_ours(self) -> bool:
        return self.folder is not None

    def run(self, *command: str, seconds: float = 900, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command that speaks to the engine. Raises with what it said if it fails."""
        options.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            command, env=self.env, text=True, capture_output=True, timeout=seconds, check=False, cwd=PROJECT, **options
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout[-6000:]}{done.stderr[-6000:]}")
        return done

    def docker(self, *words: str, **options: Any) -> str:
        return self.run("docker", *words, **options).stdout


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """The user's engine, or one of our own in ``folder``, stopped at the end. Raises NoEngine."""
    if _answers(os.environ):
        yield Engine({**os.environ})
        return
    if os.environ.get("DOCKER_HOST"):
        raise NoEngine("DOCKER_HOST is set, and no engine answers there.")
    if sys.platform != "linux" or os.geteuid() or not shutil.which("apt-get"):
        raise NoEngine("No container engine answers; one of our own takes Debian, and root.")
    with _own(folder) as ours:
        yield ours


def _answers(env: Mapping[str, str]) -> bool:
    if not shutil.which("docker", path=env.get("PATH")):
        return False
    return subprocess.run(["docker", "info"], env=env, capture_output=True, check=False, timeout=30).returncode == 0


@contextlib.contextmanager
def _own(folder: Path) -> Iterator[Engine]:
    root = unpacked(folder)
    # A socket's path may have 107 bytes at most.
    socket = f"unix:///run/callkeeper-test-{os.getpid()}.sock"
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "COMPOSE_", "CALLKEEPER_"))},
        "PATH": f"{folder / 'bin'}:{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib/aarch64-linux-gnu",
        "XTABLES_LIBDIR": str(next(root.glob("usr/lib/*/xtables"))),
        "DOCKER_HOST": socket,
        "DOCKER_CONFIG": str(folder / "config"),
        "DOCKER_BUILDKIT": "0",
        "COMPOSE_BAKE": "false",
    }
    (folder / "config").mkdir(exist_ok=True)
    _choose_tables(folder, root, env)
    rules, links, places = _rules(env), _links(), _places()
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    forwarded = forward.read_text()
    pid = folder / "dockerd.pid"
    with (folder / "dockerd.log").open("ab") as log:
        server = subprocess.Popen(
            [
                "dockerd", "-H", socket, "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
                "--pidfile", str(pid), "--exec-opt", "native.cgroupdriver=cgroupfs", "--oom-score-adjust", "0", "-s", "overlay2",
            ],
            env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not _answers(env):
            if server.poll() is not None or time.monotonic() > end:
                raise NoEngine(f"dockerd does not start: {(folder / 'dockerd.log').read_text()[-2000:]}")
            time.sleep(0.3)
        yield Engine(env, folder)
    finally:
        server.terminate()
        server.wait(timeout=60)
        for name in _links() - links:
            subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
        for mounted in reversed(_mounted_under(folder)):
            subprocess.run(["umount", mounted], capture_output=True, check=False)
        subprocess.run(["iptables-restore"], env=env, input=rules, text=True, capture_output=True, check=False)
        forward.write_text(forwarded)
        Path(socket.removeprefix("unix://")).unlink(missing_ok=True)
        for place in _places() - places:
            _take_away(place)
        left = {*(_links() - links), *_mounted_under(folder), *map(str, _places() - places)}
        assert not left, f"the engine has left behind: {', '.join(sorted(left))}"


GROUPS = Path("/sys/fs/cgroup")


def _places() -> set[Path]:
    """What an engine makes outside of its folder, as far as it is there."""
    named = map(Path, ("/run/docker", "/run/containerd", "/etc/docker", "/opt/containerd"))
    return {place for place in (*named, GROUPS / "docker", *GROUPS.glob("*/docker")) if place.exists()}


def _take_away(place: Path) -> None:
    if GROUPS not in place.parents:
        shutil.rmtree(place, ignore_errors=True)
        return
    # A group goes by its folder, the innermost first; what it shows as files is the kernel's.
    for group in (*sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True), place):
        with contextlib.suppress(OSError):
            group.rmdir()


CHAINS = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")}
"""The kernel's own chains of the two tables that dockerd writes to."""


def _rules(env: Mapping[str, str]) -> str:
    """The rules for packets as they are; a table that is not there yet is an empty one."""
    saved = subprocess.run(["iptables-save"], env=env, text=True, capture_output=True, check=True).stdout
    for table, chains in CHAINS.items():
        if f"*{table}\n" not in saved:
            saved += "\n".join((f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains), "COMMIT", ""))
    return saved


def _links() -> set[str]:
    """The network's devices of this machine."""
    return set(os.listdir("/sys/class/net"))


def _mounted_under(folder: Path) -> list[str]:
    places = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return sorted(place for place in places if place.startswith(f"{folder}/"))


def unpacked(folder: Path) -> Path:
    """Debian's engine and what it needs, in ``folder``; fetched once."""
    root, debs = folder / "root", folder / "debs"
    if not (folder / "unpacked").exists():
        debs.mkdir(parents=True, exist_ok=True)
        # Its lists may be missing on a new machine.
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
        done = subprocess.run(
            ["apt-get", "download", "-qq", *PACKAGES], cwd=debs, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NoEngine(f"Debian's packages cannot be had: {done.stderr[-1000:]}")
        for deb in debs.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(deb), str(root)], check=True)
        shutil.rmtree(debs)
        (folder / "unpacked").touch()
    return root


def _choose_tables(folder: Path, root: Path, env: Mapping[str, str]) -> None:
    """iptables over nftables, or the old one where this kernel has no nftables."""
    links = folder / "bin"
    for kind in ("nft", "legacy"):
        shutil.rmtree(links, ignore_errors=True)
        links.mkdir()
        for name in (
            "iptables",
            "iptables-save",
            "iptables-restore",
            "ip6tables",
            "ip6tables-save",
            "ip6tables-restore",
        ):
            (links / name).symlink_to(root / "usr" / "sbin" / f"xtables-{kind}-multi")
        asked = subprocess.run(["iptables", "-t", "nat", "-L", "-n"], env=env, capture_output=True, check=False)
        if asked.returncode == 0:
            return
    raise NoEngine("This kernel has no iptables.")
