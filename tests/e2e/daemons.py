# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons of tests' pools: what they run, and what came of it."""
import contextlib
import os
import signal
import subprocess

import pytest

from mounts import until

DRIVES = ("red", "green", "blue")


class Daemon:
    """One that runs in the foreground, and what it says."""

    started = [] # in this test

    def __init__(self, mrmr, **env):
        self.started.append(self)
        self.mrmr = mrmr
        self.log = mrmr.folder / "daemon.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([mrmr.bin, "daemon", "-f"], env=dict(mrmr.env, **env), stdin=subprocess.DEVNULL, stderr=log)
        until(lambda: (mrmr.dir / "socket").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def children(self):
        """Processes that it started for something to do: pid → words of their command line."""
        return {pid: words for pid, words in self.all_children().items() if "daemon-hear" not in words}

    def hearing(self):
        """The process that hears of changes on the drives for it; None: there is none."""
        return next((pid for pid, words in self.all_children().items() if "daemon-hear" in words), None)

    def all_children(self):
        found = {}
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open("/proc/%d/stat" % int(entry), encoding="utf-8", errors="replace") as file:
                    if int(file.read().rsplit(")", 1)[1].split()[1]) != self.process.pid:
                        continue
                with open("/proc/%s/cmdline" % entry, "rb") as file:
                    found[int(entry)] = file.read().decode(errors="replace").split("\0")
        return found

    def running(self, command):
        """The processes of the command."""
        return [pid for pid, words in self.children().items() if command in words]

    def runs(self, command):
        """The process of the command, once there is one."""
        return until(lambda: self.running(command))[0]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log.read_text()

    def clear_away(self):
        if self.process.poll() is not None:
            return
        for pid in self.all_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait(60)


@pytest.fixture(autouse=True)
def none_is_left():
    Daemon.started.clear()
    yield
    for one in Daemon.started:
        one.clear_away()


@pytest.fixture(name="daemon")
def make_daemon(mrmr):
    mrmr.build(DRIVES)
    return Daemon(mrmr)


def safe(mrmr, path):
    """A sync has seen the file as it is, and it survives the loss of a drive."""
    told = mrmr.run("where", path, code=None).stdout
    return "survives 1" in told and "exposed" not in told


def put(mrmr, drive, path, size=300_000):
    whole = mrmr.drive(drive) / path
    whole.write_bytes(os.urandom(size))
    return path


def asked_to_end(pid):
    """It stands still, and SIGTERM waits for it; or it is over."""
    try:
        with open("/proc/%d/status" % pid, encoding="utf-8") as file:
            words = dict(line.split(":", 1) for line in file)
    except OSError:
        return True
    return words["State"].split()[0] == "Z" or int(words["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1 == 1


def states(pid):
    """Of its threads."""
    found = []
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/stat" % (pid, thread), encoding="utf-8", errors="replace") as file:
            found.append(file.read().rsplit(")", 1)[1].split()[0])
    return found


def stand_still(pid):
    """All of its threads: one that runs still would take a signal that comes next."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: set(states(pid)) <= {"T", "Z"})


def held(daemon, command, *args):
    """A command that stands still in the middle: who asked for it, and its process. One that was over before it was seen is asked for anew."""
    def begun():
        client = daemon.mrmr.start(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: daemon.running(command) or client.poll() is not None)
        for pid in daemon.running(command):
            with contextlib.suppress(OSError):
                stand_still(pid)
                if set(states(pid)) == {"T"}:
                    return client, pid
        client.communicate(timeout=60)
        return None
    return until(begun)
