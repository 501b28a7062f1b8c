# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount's process ends while one of its threads waits, in the kernel, for a lock that is held by a program which waits for an
answer: neither of them hangs."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from mounts import mounts, need_fuse, until


def stacks(pid):
    """Where its threads are in the kernel."""
    found = ""
    for task in pathlib.Path("/proc", str(pid), "task").iterdir():
        with contextlib.suppress(OSError):
            found += (task / "stack").read_text()
    return found


@contextlib.contextmanager
def stoppable(root, through):
    """A folder seen through a process; yields a function that sends the process a signal."""
    os.makedirs(root)
    os.makedirs(through)
    bindfs = subprocess.Popen(["bindfs", "-f", root, through])
    try:
        until(lambda: os.path.ismount(through))
        yield bindfs.send_signal
    finally:
        bindfs.send_signal(signal.SIGCONT)
        subprocess.run(["umount", "-l", through], check=True)
        bindfs.wait(20)


def serving(pid):
    """The process that serves the mount that this one was to make: itself, once it is that program."""
    return pid if os.path.basename(os.readlink("/proc/%d/exe" % pid)) == "mrmr-mount" else None


LOOKS = """import itertools, os, sys
for i in itertools.count():
    try:
        os.stat(os.path.join(sys.argv[1], "no file %d" % i))
    except FileNotFoundError:
        pass
"""


@pytest.mark.parametrize("end, longest", [(signal.SIGKILL, 100), (signal.SIGTERM, 2)])
def test_nobody_hangs_when_it_ends(mrmr, tmp_path, end, longest):
    need_fuse()
    if not shutil.which("bindfs"):
        pytest.skip("bindfs is not installed")
    with stoppable(tmp_path / "far", tmp_path / "through") as tell, mounts(mrmr, tmp_path) as mount:
        here = mrmr.drive("here")
        for drive, name in ((here, "of here"), (tmp_path / "through", "of there")):
            os.makedirs(drive / "d")
            (drive / "d" / name).write_text(name)
            mrmr.run("add-drive", drive)
        mrmr.run("set", "drive-timeout", str(longest))
        mrmr.run("set", "remote-ttl", "1") # who looks for names asks the drive that tells of no changes, soon
        m = mount()
        assert sorted(os.listdir(m.point / "d")) == ["of here", "of there"]
        daemon = until(lambda: serving(m.process.pid))
        tell(signal.SIGSTOP)
        with subprocess.Popen([sys.executable, "-c", LOOKS, m.point / "d"], stderr=subprocess.DEVNULL) as program:
            try:
                until(lambda: "request_wait_answer" in stacks(program.pid)) # it holds the folder's lock
                (here / "d/of somebody else").write_text("")
                until(lambda: "fuse_reverse_inval_entry" in stacks(daemon))
                os.kill(daemon, end)
                assert program.wait(30) != 0
                m.process.wait(30)
            except BaseException:
                subprocess.run(["umount", "-f", "-l", m.point], check=False) # else nobody here would end
                raise
            finally:
                tell(signal.SIGCONT)
                program.kill()
        if end == signal.SIGKILL: # what is left is a dead mount, which the next one clears away
            m.start()
            assert (m.point / "d/of here").read_text() == "of here"
            m.stop()
