# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounted by an ordinary user, through fusermount3, without any right of root's."""
import errno
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile

import pytest

from mounts import is_mounted, need_fuse, until
from namespaces import LET_GO, env_of
from seeded import Seeded

USER = "nobody"


def mrmr(*args, code=0, **env):
    done = subprocess.run(["./mrmr", *args], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False, env=dict(os.environ, **env))
    assert code is None or done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def as_the_user():
    """What the user does, in a folder of his own."""
    assert os.geteuid() != 0
    point = pathlib.Path("my files").absolute()
    rng, content = Seeded(5), {}
    for i, drive in enumerate(("red", "green", "blue")):
        os.makedirs(drive + "/f")
        for n in range(6):
            data = rng.randbytes(rng.randrange(2_000_000))
            pathlib.Path(drive, "f", "%s %d" % (drive, n)).write_bytes(data)
            content["f/%s %d" % (drive, n)] = data
        mrmr("add-drive", os.path.abspath(drive))
        mrmr("set", "drive.%s.domain" % drive, "d%d" % i)
    mrmr("sync")
    point.mkdir()
    mrmr("mount", point)
    assert is_mounted(point)
    assert sorted(os.listdir(point / "f")) == sorted(path[2:] for path in content)
    for path, data in content.items():
        assert (point / path).read_bytes() == data
    pathlib.Path("green/f/more").write_bytes(b"more")
    until(lambda: (point / "f/more").exists())
    assert os.stat(point / "f/more").st_uid == os.geteuid()
    assert "mounted" in mrmr("mount", point, code=1)
    mrmr("umount", point)
    assert not is_mounted(point) and os.listdir(point) == []
    # What only root, or the administrator's word, allows.
    refused = mrmr("mount", "-o", "allow_other", point, code=1)
    assert "allow_other" in refused, refused
    assert not is_mounted(point)
    # Without the program that mounts for users.
    os.mkdir("nothing in it")
    for options in ((), ("-f",)):
        refused = mrmr("mount", *options, point, code=1, PATH=os.path.abspath("nothing in it"))
        assert "fusermount3" in refused and "install the package fuse3" in refused, refused
        assert not is_mounted(point) and os.listdir(point) == []
    # A drive that is away, and a process that died.
    os.rename("red", "red away")
    mrmr("mount", point)
    for path, data in content.items():
        assert (point / path).read_bytes() == data
    mounting = [pid for pid in os.listdir("/proc") if pid.isdigit() and is_mine(pid)]
    assert len(mounting) == 1
    os.kill(int(mounting[0]), 9)
    until(lambda: is_dead(point))
    mrmr("mount", point)
    assert len(os.listdir(point / "f")) == len(content) + 1
    refused = mrmr("umount", point, code=1, PATH=os.path.abspath("nothing in it"))
    assert "fusermount3 is missing" in refused and "install the package fuse3" in refused, refused
    mrmr("umount", point)
    assert not is_mounted(point)
    # Why it is not unmounted is told by us, and not as if it were busy.
    for what, why in ((point, "nothing is mounted"), ("nowhere", "No such file"), ("theirs", "user 0 mounted it")):
        said = mrmr("umount", what, code=1)
        assert why in said and "fusermount3" not in said and "lazy" not in said, said


def is_mine(pid):
    try:
        return (os.readlink("/proc/%s/exe" % pid) == os.path.abspath("mrmr-mount")
                and pathlib.Path("/proc", pid, "comm").read_text().strip() == "mrmr-mount") # not its watchdog
    except OSError:
        return False


def is_dead(point):
    try:
        os.statvfs(point)
        return False
    except OSError as error:
        return error.errno == errno.ENOTCONN


def test_an_ordinary_user():
    need_fuse()
    for program in ("unshare", "setpriv"):
        if not shutil.which(program):
            pytest.skip(program + " is not installed")
    if not os.path.exists("/etc/mtab"):
        pytest.skip("this system has no /etc/mtab, without which fusermount3 unmounts nothing")
    bin = pathlib.Path(os.environ["MRMR_BIN"]).parent
    user = pwd.getpwnam(USER)
    with tempfile.TemporaryDirectory(prefix="mrmr-user-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        for name in ("mrmr", "mrmr-mount"):
            shutil.copy(bin / name, folder)
        for name in (__file__, *(pathlib.Path(__file__).parent / name for name in ("mounts.py", "namespaces.py", "seeded.py", "stuck.py"))):
            shutil.copy(name, folder)
        os.chown(folder, user.pw_uid, user.pw_gid)
        # A mount namespace of its own, with a /dev/fuse that everyone may open, as on most systems.
        script = """set -e
""" + LET_GO + """mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse
mkdir theirs && LIBMOUNT_FORCE_MOUNT2=always mount -i -t fuse.mrmr -o fd=9,rootmode=40000,user_id=0,group_id=0 none theirs 9<>/dev/fuse
exec setpriv --reuid "$1" --regid "$2" --clear-groups -- "$3" -B "$4" """
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, "sh", str(user.pw_uid), str(user.pw_gid), sys.executable,
             os.path.join(folder, os.path.basename(__file__))], cwd=folder, capture_output=True, text=True, timeout=240, check=False,
            stdin=subprocess.DEVNULL, env=env_of(folder, MRMR_POOL=os.path.join(folder, "pool"), HOME=folder))
        assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    as_the_user()
