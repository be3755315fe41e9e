"""Flower's engines as processes of their own, in folders of their own, gone when a test ends."""

from __future__ import annotations

import datetime
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BIN = Path(sys.executable).parent
ONE_PORT = tuple(map(int, version("flwr").split(".")[:2])) >= (1, 32)
"""Newer Flowers serve everything on one port, and keep connections in a configuration of the user's."""


def environment(home: Path) -> dict[str, str]:
    """A scratch home, nothing told to anyone, and commands of this interpreter's environment first."""
    home.mkdir(exist_ok=True)
    return os.environ | {
        "FLWR_HOME": str(home),
        "HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ADDRESS": "local",  # another test's cluster is none of its own
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Process:
    """A command in a session of its own, whose output goes to a file."""

    def __init__(self, log: Path, *command: str | Path, env: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, wanted: str, *, times: int = 1, seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while self.text.count(wanted) < times:
            assert self._process.poll() is None, f"{self.log.name} has ended: {self.text[-3000:]}"
            assert time.monotonic() < end, f"no {wanted!r} in {self.log.name}: {self.text[-3000:]}"
            time.sleep(0.05)

    def wait(self, seconds: float) -> str:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log.name} does not end: {self.text[-3000:]}") from None
        assert self._process.returncode == 0, self.text[-5000:]
        return self.text

    def kill(self) -> None:
        """Kill it and all that it has started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)


def make_certificates(folder: Path) -> None:
    """A certificate authority, and a certificate for the loopback interface under it."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key, issuer: str, issuer_key, *extensions) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(issuer_key, hashes.SHA256())

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False
    ) | {"key_cert_sign": True, "crl_sign": True}  # fmt: skip
    ca = certificate(
        "test CA", ca_key, "test CA", ca_key,
        (x509.BasicConstraints(ca=True, path_length=0), True), (identifier, False), (x509.KeyUsage(**usage), True),
    )  # fmt: skip
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    server = certificate(
        "localhost", key, "test CA", ca_key,
        (x509.BasicConstraints(ca=False, path_length=None), True), (names, False), (authority, False),
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(private)


def write_connection(home: Path, app: Path, address: str, extra: str) -> None:
    """Tell `flwr run` where the SuperLink is: in the user's configuration or, before that was there, in the app's."""
    if ONE_PORT:
        text = f'[superlink]\ndefault = "test"\n\n[superlink.test]\naddress = "{address}"\n{extra}\n'
        (home / "config.toml").write_text(text)
    else:
        path = app / "pyproject.toml"
        text = f'\n[tool.flwr.federations]\ndefault = "test"\n\n[tool.flwr.federations.test]\n{extra}\n'
        if address:
            text += f'address = "{address}"\n'
        path.write_text(path.read_text() + text)


class Deployment:
    """A SuperLink and SuperNodes over TLS on the loopback interface."""

    def __init__(
        self, folder: Path, apps: Iterable[Path], num_nodes: int, stack: ExitStack, node_config: Callable[[int], str]
    ) -> None:
        self.env = environment(folder / "home")
        self._stack = stack
        certificates = folder / "certificates"
        make_certificates(certificates)
        ports = free_ports(3 + num_nodes)
        link = [BIN / "flower-superlink"]
        for option, name in (("certfile", "server.pem"), ("keyfile", "server.key"), ("ca-certfile", "ca.crt")):
            link += [f"--ssl-{option}", certificates / name]
        if ONE_PORT:
            link += ["--host", "127.0.0.1", "--port", str(ports[0]), "--disable-runtime-dependency-installation"]
            control = fleet = f"127.0.0.1:{ports[0]}"
        else:
            control, fleet = f"127.0.0.1:{ports[1]}", f"127.0.0.1:{ports[0]}"
            link += ["--fleet-api-address", fleet, "--control-api-address", control]
            link += ["--serverappio-api-address", f"127.0.0.1:{ports[2]}"]
        for app in apps:
            write_connection(folder / "home", app, control, f'root-certificates = "{certificates / "ca.crt"}"')
        self.link = Process(folder / "link.log", *link, env=self.env)
        stack.callback(self.link.kill)
        wait_for_port(ports[0])
        self.nodes = []
        for number, port in enumerate(ports[3:]):
            runtime = ["--port", str(port)] if ONE_PORT else ["--clientappio-api-address", f"127.0.0.1:{port}"]
            node = Process(
                folder / f"node-{number}.log",
                *(BIN / "flower-supernode", "--superlink", fleet, "--root-certificates", certificates / "ca.crt"),
                *("--node-config", f"partition-id={number} num-partitions={num_nodes} {node_config(number)}".strip()),
                *runtime,
                env=self.env,
            )
            stack.callback(node.kill)
            self.nodes.append(node)

    def run(self, app: Path, log: Path, run_config: str) -> Process:
        command = (BIN / "flwr", "run", app, "test", "--stream", "--run-config", run_config)
        run = Process(log, *command, env=self.env)
        self._stack.callback(run.kill)
        return run


@contextmanager
def simulation(folder: Path, app: Path, num_nodes: int, log: Path, run_config: str):
    """`flwr run` of an app on simulated nodes: by a SuperLink of the test's own, where Flower would start one."""
    env = environment(folder / "home")
    with ExitStack() as stack:
        if ONE_PORT:
            (port,) = free_ports(1)
            write_connection(folder / "home", app, f"127.0.0.1:{port}", "insecure = true")
            link = Process(
                folder / "link.log",
                *(BIN / "flower-superlink", "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)),
                "--disable-runtime-dependency-installation",
                env=env,
            )
            stack.callback(link.kill)
            wait_for_port(port)
            nodes = ("--federation-config", f"num-supernodes={num_nodes}")
        else:
            write_connection(folder / "home", app, "", f"options.num-supernodes = {num_nodes}")
            nodes = ()
        command = (BIN / "flwr", "run", app, "test", "--stream", "--run-config", run_config, *nodes)
        run = Process(log, *command, env=env)
        stack.callback(run.kill)
        yield run


@contextmanager
def deployment(
    folder: Path, apps: Iterable[Path], num_nodes: int, node_config: Callable[[int], str] = lambda number: ""
):
    with ExitStack() as stack:
        yield Deployment(folder, apps, num_nodes, stack, node_config)


def wait_for_port(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens on port {port}"
            time.sleep(0.1)
        else:
            return
