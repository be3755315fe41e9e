"""A service on loopback under TLS, with certificates of its own, and members that have enrolled."""

import asyncio
import contextlib
import functools
import socket
import ssl
import tempfile
import time
from pathlib import Path

import httpx
import trustme

from protocols.service import signing
from protocols.service.connection import Connection
from protocols.service.serving import Service
from secagg.signatures import Identity


class Certificates:
    """An authority and a certificate for loopback, in files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
        self.ca, self.chain, self.key = (folder / name for name in ("ca.pem", "chain.pem", "key.pem"))
        authority.cert_pem.write_to_path(str(self.ca))
        issued.private_key_pem.write_to_path(str(self.key))
        for part in issued.cert_chain_pems:
            part.write_to_path(str(self.chain), append=True)

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))


@functools.cache
def certificates() -> Certificates:
    """Made once for all tests of a process."""
    return Certificates(Path(tempfile.mkdtemp(prefix="certificates-")))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def service_at(folder: Path, certificates: Certificates, *, port: int = 0, **options) -> Service:
    return Service(folder / "service.db", port=port, certificate=certificates.chain, key=certificates.key, **options)


@contextlib.asynccontextmanager
async def connected(service: Service, certificates: Certificates, name: str, *, patience: float = 20.0):
    """A member that has just enrolled."""
    token = await asyncio.to_thread(service.members.invite, name)
    async with Connection(service.url, Identity.generate(), ca=certificates.ca, patience=patience) as connection:
        await connection.enrol(name, token)
        yield connection


def signed_fields(
    identity: Identity,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    authority: str,
    created: float | None = None,
    **more,
) -> dict[str, str]:
    """The fields of a signed request, each part of which a test may bend."""
    path, _, query = target.partition("?")
    request = signing.Request(method, authority, path, query, signing.sha256(body))
    at = int(time.time() if created is None else created)
    return {"Secagg-Wire": "1", "Host": authority} | signing.sign(request, identity, created=at, **more)


class Raw:
    """A client that sends whatever it is told to."""

    def __init__(self, service: Service, certificates: Certificates, identity: Identity) -> None:
        self.identity = identity
        self.authority = service.url.removeprefix("https://")
        self._client = httpx.AsyncClient(base_url=service.url, verify=certificates.context, trust_env=False)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        await self._client.aclose()

    async def send(self, method: str, target: str, body: bytes = b"", fields=None, **bent):
        """Send a request; `fields` replace or (None) remove those of a good one."""
        bent.setdefault("authority", self.authority)
        good = signed_fields(bent.pop("identity", self.identity), method, target, body, **bent)
        sent = {name: value for name, value in (good | (fields or {})).items() if value is not None}
        return await self.resend(method, target, body, sent)

    async def resend(self, method: str, target: str, body: bytes, fields):
        return await self._client.request(method, target, content=body, headers=fields)


@contextlib.asynccontextmanager
async def raw_member(service: Service, certificates: Certificates, name: str):
    """A member whose requests a test makes itself."""
    async with (
        connected(service, certificates, name) as connection,
        Raw(service, certificates, connection.identity) as raw,
    ):
        yield raw
