"""Files are there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocols.audit import report
from protocols.audit.runner import Audit
from protocols.core.files import write_whole
from tests.command_line import separating_runner


def _full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write_whole(path, "ŵ")
    assert path.read_bytes() == "ŵ".encode()


def test_a_new_file_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old", mode=0o600, new=True)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_whole(path, "new", new=True)
    assert path.read_text() == "old"


def test_a_report_that_cannot_be_written_leaves_the_last_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit((), 1, 2, 3, datetime(2030, 1, 2, tzinfo=UTC), 4.0)
    before = [path.read_bytes() for path in report.write(audit, tmp_path)]
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        report.write(Audit((), 9, 2, 3, datetime(2030, 1, 2, tzinfo=UTC), 4.0), tmp_path)
    assert [(tmp_path / name).read_bytes() for name in (report.HTML_NAME, report.JSON_NAME)] == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_plot_that_cannot_be_written_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from protocols.cli.app import app

    monkeypatch.setattr(os, "fsync", _full)
    plot = tmp_path / "noise.png"
    arguments = ["dp", "noise", "gaussian", "--scale", "3", "--count", "2000", "--plot", str(plot)]
    done = separating_runner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "cannot write" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX alone")
@pytest.mark.parametrize("new", [False, True])
def test_that_a_file_is_in_its_place_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool) -> None:
    """A rename that is not would be undone by a power cut."""
    synced: list[bool] = []

    def fsync(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        assert not synced[-1] or (tmp_path / "file").exists()

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "file", "text", new=new)
    assert synced == [False, True]


@pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX alone")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EIO])
def test_a_mount_that_syncs_no_folders_takes_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Where the disk fails it takes none."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, "no")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="no") if code == errno.EIO else nullcontext():
        write_whole(tmp_path / "file", "text", new=True)
    assert (tmp_path / "file").exists() == (code != errno.EIO)
