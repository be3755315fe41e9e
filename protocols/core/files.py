"""Files that are there as a whole or not at all, also if the disk is full or the machine stops."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

_CANNOT_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES)
"""Of mounts that sync no folders, and of folders that may be written and not read."""


def write_whole(path: Path, data: bytes | str, *, mode: int = 0o644, new: bool = False) -> None:
    """Write a file beside its place first, and put it there when it is on the disk.

    Args:
        path: the file.
        data: what is to be in it; texts in UTF-8.
        mode: who may read and write it, less what the process's umask forbids.
        new: refuse to replace a file that is there.

    Raises:
        FileExistsError: it is there, and must be new.
        OSError: it cannot be written, and what was there is as it was; or that it was replaced could not be synced.
    """
    put(path, data, mode=mode, new=new)
    try:
        sync(path.parent)
    except OSError as error:
        if error.errno in _CANNOT_SYNC:
            return
        if new:
            path.unlink(missing_ok=True)  # as there was none
        raise


def put(path: Path, data: bytes | str, *, mode: int, new: bool) -> None:
    """Write a file as `write_whole`, but for that it is in its place, which may be undone by a power cut."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(descriptor)
        if new:
            os.link(draft, path)  # which, unlike a rename, overwrites nothing
        else:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Put on the disk which files a folder holds, where that is had; raise OSError where it cannot be done."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
