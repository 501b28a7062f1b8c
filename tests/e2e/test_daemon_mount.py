# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon beside a mount."""
import contextlib
import os
import resource
import shutil
import subprocess

import pytest

from daemons import DRIVES, Daemon, none_is_left, safe # noqa: F401: a fixture
from mounts import mounts, need_fuse, until


def serving(mrmr):
    """Whoever has the daemon's lock answers."""
    with contextlib.suppress(OSError):
        return (mrmr.dir / "socket").exists()
    return False


def test_a_mount_has_one(mrmr):
    """On request: it comes with the mount, and goes with it, also when that is killed."""
    need_fuse()
    mrmr.build(DRIVES)
    mrmr.run("set", "settle", "0")
    with mounts(mrmr, mrmr.folder) as mount:
        one = mount("m", "-o", "daemon")
        until(lambda: serving(mrmr))
        (one.point / "new").write_bytes(b"new" * 1000)
        until(lambda: safe(mrmr, "new"))
        assert mrmr.run("sync").returncode == 0
        def runs():
            return mrmr.json("status", code=None)["daemon"]["runs"]
        mrmr.run("daemon", "--stop")
        assert not runs()
        until(runs) # the mount starts it anew
        one.stop()
        until(lambda: not serving(mrmr))
        one.start("-o", "daemon")
        until(lambda: serving(mrmr))
        one.kill()
        until(lambda: not serving(mrmr))
        subprocess.run(["umount", "-l", one.point], check=False)
        one.start()
        own = Daemon(mrmr)
        own.stop()


STAND_IN = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/given"
echo "mrmr: it cannot be" >&2
exit 1
"""


def test_one_that_cannot_start(mrmr):
    """It is tried again, told of once, and is given the limit that there was before the mount."""
    need_fuse()
    mrmr.build(DRIVES)
    programs = mrmr.folder / "programs"
    programs.mkdir()
    shutil.copy(os.path.join(os.path.dirname(mrmr.bin), "mrmr-mount"), programs)
    (programs / "mrmr").write_text(STAND_IN)
    (programs / "mrmr").chmod(0o755)
    point, log = mrmr.folder / "m", mrmr.folder / "log"
    point.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(log, "wb") as said:
        process = subprocess.Popen([programs / "mrmr-mount", "--pool", mrmr.dir, "--foreground", point, "-o", "daemon"], stderr=said, env=mrmr.env,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (500, limits[1])))
    try:
        given = until(lambda: [lines for lines in [(programs / "given").read_text().splitlines() if (programs / "given").exists() else []]
                               if len(lines) >= 2], 40)[0]
        assert all("--files 500" in line for line in given), given
        assert "--again" not in given[0] and "--again" in given[1]
        assert log.read_text().count("daemon ended (code 1)") == 1
    finally:
        subprocess.run(["umount", "-l", point], check=False)
        process.wait(60)


def mounted_without(mrmr, mount, *options):
    """A mount that has no daemon; what it said."""
    one = mount("m", *options)
    assert not mrmr.json("status", code=None)["daemon"]["runs"] and not serving(mrmr)
    return one.log.read_text()


def test_a_mount_to_read_changes_nothing(mrmr):
    """Who mounts to look at an accident does not have it taken for what is to be: what was deleted on a drive can be brought back."""
    need_fuse()
    mrmr.build(DRIVES)
    lost = mrmr.drive("red") / "of-red" / "file 0.bin"
    content = lost.read_bytes()
    lost.unlink()
    with mounts(mrmr, mrmr.folder) as mount:
        mounted_without(mrmr, mount, "-o", "ro,nodev")
    with mounts(mrmr, mrmr.folder) as mount: # said to, it has one
        mrmr.run("set", "worker", "paused")
        mount("n", "-o", "ro,daemon")
        until(lambda: serving(mrmr))
    mrmr.run("rebuild", "red", "--path", "of-red/file 0.bin", code=(0, 3))
    assert lost.read_bytes() == content


def test_root_does_not_work_for_who_could_write_the_catalog(mrmr):
    """As one whose pool it is could have it put any file on a drive, as anybody's."""
    if os.geteuid() != 0:
        pytest.skip("it takes root")
    need_fuse()
    mrmr.build(DRIVES)
    for path in (mrmr.dir, mrmr.dir / "catalog.sqlite"):
        os.chown(path, 1000, 1000)
        with mounts(mrmr, mrmr.folder) as mount:
            assert "belongs to user 1000" in mounted_without(mrmr, mount, "-o", "daemon")
        refused = mrmr.run("daemon", "-f", code=None)
        assert refused.returncode == 1 and "belongs to user 1000" in refused.stderr and "run mrmr as its owner" in refused.stderr
        os.chown(path, 0, 0)
