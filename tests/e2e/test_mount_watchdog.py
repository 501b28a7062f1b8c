# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount's process ends while one of its threads waits, in the kernel, for a lock that is held by a program which waits for an
answer: neither of them hangs."""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from faults import frozen
from loops import loops, need_loops
from mounts import mounts, need_fuse, until


def stacks(pid):
    """Where its threads are in the kernel."""
    found = ""
    for task in pathlib.Path("/proc", str(pid), "task").iterdir():
        with contextlib.suppress(OSError):
            found += (task / "stack").read_text()
    return found


def serving(pid):
    """The process that serves the mount that this one was to make: itself, once it is that program."""
    return pid if os.path.basename(os.readlink("/proc/%d/exe" % pid)) == "mrmr-mount" else None


@pytest.mark.parametrize("end, longest", [(signal.SIGKILL, 100), (signal.SIGTERM, 2)])
def test_nobody_hangs_when_it_ends(mrmr, tmp_path, end, longest):
    need_fuse()
    need_loops()
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        here, there = mrmr.drive("here"), pathlib.Path(make("there", "ext4", 64).root)
        for drive, name in ((here, "of here"), (there, "of there")):
            os.makedirs(drive / "d")
            (drive / "d" / name).write_text(name)
            mrmr.run("add-drive", drive)
        mrmr.run("set", "drive-timeout", str(longest))
        m = mount()
        assert sorted(os.listdir(m.point / "d")) == ["of here", "of there"]
        daemon = until(lambda: serving(m.process.pid))
        with frozen(there) as thaw, subprocess.Popen([sys.executable, "-c", "import os, sys; os.rename(*sys.argv[1:])", m.point / "d/of there",
                                                      m.point / "d/new"], stderr=subprocess.DEVNULL) as program:
            try:
                until(lambda: "request_wait_answer" in stacks(program.pid)) # it holds the folder's lock
                (here / "d/of somebody else").write_text("")
                until(lambda: "fuse_reverse_inval_entry" in stacks(daemon))
                os.kill(daemon, end)
                assert program.wait(30) != 0
                thaw() # what waits in that file system ends by no signal
                m.process.wait(30)
            except BaseException:
                subprocess.run(["umount", "-f", "-l", m.point], check=False) # else nobody here would end
                raise
            finally:
                program.kill()
        if end == signal.SIGKILL: # what is left is a dead mount, which the next one clears away
            m.start()
            assert (m.point / "d/of here").read_text() == "of here"
            m.stop()
