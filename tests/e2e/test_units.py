# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed beside the command: systemd takes the units, mount(8)'s helper leads to the program, the pages are there."""
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from mounts import need_fuse, until

BUILD = pathlib.Path(os.environ["MRMR_BIN"]).parents[1]


@pytest.fixture(name="installed")
def make_installed(tmp_path):
    subprocess.run(["cmake", "--install", BUILD], check=True, capture_output=True, env=dict(os.environ, DESTDIR=os.fspath(tmp_path)))
    found = {path.name: path for path in tmp_path.rglob("*") if not path.is_dir() and "bash-completion" not in path.parts}
    return tmp_path, found


def test_all_of_it_is_there(installed):
    root, found = installed
    assert {"mrmr", "mrmr-mount", "mount.fuse.mrmr", "mrmr.1", "mrmr-mount.service", "mrmr-mount@.service"} <= set(found)
    target = os.readlink(found["mount.fuse.mrmr"])
    assert root / target.lstrip("/") == found["mrmr-mount"]
    said = subprocess.run([found["mrmr"], "mount", "--help"], check=True, capture_output=True, text=True).stdout
    assert "usage: mrmr mount" in said
    # The command finds the other program beside itself.
    done = subprocess.run([found["mrmr"], "--pool", root / "none", "mount", root], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "there is no pool" in done.stderr


@pytest.mark.parametrize("unit, options", [("mrmr-mount.service", ["--user"]), ("mrmr-mount@.service", [])])
def test_systemd_takes_the_units(installed, unit, options):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    root, found = installed
    text = found[unit].read_text()
    binary = found["mrmr"]
    text = text.replace("/" + os.fspath(binary.relative_to(root)), os.fspath(binary))
    assert os.fspath(binary) in text
    made = root / unit.replace("@", "@mnt-pool")
    made.write_text(text)
    done = subprocess.run(["systemd-analyze", *options, "verify", "--man=no", made], capture_output=True, text=True, check=False,
                          env=dict(os.environ, XDG_RUNTIME_DIR=os.fspath(root)))
    ours = [line for line in done.stderr.splitlines() if "mrmr" in line]
    assert ours == [], done.stderr


def serving(program):
    """The process of a mount by this program, not its watchdog."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink("/proc/%s/exe" % pid) == os.fspath(program) and \
                    pathlib.Path("/proc", pid, "comm").read_text().strip() == "mrmr-mount":
                return int(pid)
        except OSError:
            pass
    return None


def test_the_user_s_unit_comes_back(installed):
    """Also while somebody sits in a mount whose process died: what systemd would run then, in its order."""
    need_fuse()
    root, found = installed
    home, text = root / "home", found["mrmr-mount.service"].read_text()
    point, env = home / "Pool", dict(os.environ, MRMR_POOL=os.fspath(root / "pool"), HOME=os.fspath(home))
    text = text.replace("/" + os.fspath(found["mrmr"].relative_to(root)), os.fspath(found["mrmr"])).replace("%h", os.fspath(home))

    def runs(key, must=True):
        for may_fail, line in re.findall("^%s=(-?)(.*)$" % key, text, re.MULTILINE):
            done = subprocess.run(shlex.split(line), env=env, capture_output=True, text=True, check=False, timeout=60,
                                  stdin=subprocess.DEVNULL)
            assert done.returncode == 0 or may_fail or not must, (line, done.stderr)
    (root / "red").mkdir()
    (root / "red/one").write_bytes(b"1")
    subprocess.run([found["mrmr"], "add-drive", root / "red"], check=True, capture_output=True, env=env)
    sitting = None
    try:
        runs("ExecStartPre")
        runs("ExecStart")
        sitting = subprocess.Popen(["sleep", "1000"], cwd=point)
        (point / "two").write_bytes(b"2") # the kernel has no attributes of the root's any more
        os.kill(serving(found["mrmr-mount"]), 9)
        until(lambda: not os.path.exists(point / "one"))
        runs("ExecStop", must=False)
        runs("ExecStartPre")
        runs("ExecStart")
        assert (point / "one").read_bytes() == b"1"
        sitting.kill()
        sitting.wait()
        runs("ExecStop")
        assert os.listdir(point) == []
    finally:
        if sitting:
            sitting.kill()
            sitting.wait()
        while subprocess.run(["umount", "-l", point], capture_output=True, check=False).returncode == 0:
            pass
