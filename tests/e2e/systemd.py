# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd for a test, in namespaces of its own: it knows the units that the test gives it, and no others."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from mounts import until
from namespaces import LET_GO, env_of

PROGRAM = pathlib.Path("/lib/systemd/systemd")

# Whoever is a user there opens /dev/fuse.
BOOT = """set -e
""" + LET_GO + """mount -t tmpfs none /run
mknod -m 666 /run/fuse c 10 229
mount --bind /run/fuse /dev/fuse
mount -t tmpfs none /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec env -i container=test SYSTEMD_UNIT_PATH="$UNITS" PATH="$PATH" "$PROGRAM" --system --unit=default.target --log-target=console \\
    --log-level=info --show-status=no
"""


class Systemd:
    """Its process is the first of a namespace; run() runs a program there."""

    def __init__(self, process, pid):
        self.process, self.pid = process, pid

    def run(self, *command, check=True):
        done = subprocess.run(["nsenter", "--target", str(self.pid), "--all", "--root", "--wd", "--", *map(os.fspath, command)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False, timeout=60)
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


def group_of_its_own():
    """A folder of the unified control groups: what systemd takes for its root."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        roots = [line.split()[4] for line in mounts if " - cgroup2 " in line]
    for root in roots:
        group = pathlib.Path(root, "mrmr-test-%d" % os.getpid())
        with contextlib.suppress(OSError):
            group.mkdir()
            return group
    pytest.skip("no cgroup2 file system is mounted here in which a group can be made")


def removed(group):
    """Whether the group and those below it are gone, which takes until their processes are."""
    try:
        for below, _, _ in os.walk(group, topdown=False):
            os.rmdir(below)
    except OSError:
        pass
    return not group.exists()


def write_units(where, units):
    """These (name to text), and the targets that every systemd wants, with nothing in them."""
    where.mkdir()
    for name in ("default", "basic", "sysinit", "shutdown"):
        (where / (name + ".target")).write_text("[Unit]\nDescription=%s\n" % name)
    for name, text in units.items():
        (where / name).write_text(text)


@contextlib.contextmanager
def systemd(folder, units):
    """Runs one with these units (name to text); a folder of its own is used for them. All in it ends with it."""
    for program in (PROGRAM, "unshare", "nsenter", "setpriv", "findmnt"):
        if not shutil.which(program):
            pytest.skip("%s is not installed" % program)
    where = folder / "units"
    write_units(where, units)
    group = group_of_its_own()
    env = env_of(folder, UNITS=where, PROGRAM=PROGRAM)
    try:
        with open(folder / "systemd.log", "wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', group, "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid",
                 "--ipc", "--cgroup", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c", BOOT], env=env, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True)
        try:
            until(lambda: first(process) or process.poll() is not None)
            assert process.poll() is None, (folder / "systemd.log").read_text()
            yield ready(Systemd(process, first(process)), folder / "systemd.log")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first(process) or process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
    finally:
        until(lambda: removed(group))


def first(process):
    """The child of unshare once it is systemd."""
    with contextlib.suppress(OSError):
        for pid in pathlib.Path("/proc/%d/task/%d/children" % (process.pid, process.pid)).read_text().split():
            if pathlib.Path("/proc", pid, "comm").read_text().strip() == PROGRAM.name:
                return int(pid)
    return None


def ready(one, log):
    until(lambda: one.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded") or one.process.poll() is not None)
    assert one.process.poll() is None, log.read_text()
    return one
