# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that a thread makes through the tortured mount: what each gave, and whether it may have failed."""
import errno
import os
import threading
import time

KILLED = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ECONNREFUSED}
AWAY = {errno.EIO, errno.EBUSY, errno.EXDEV, errno.EROFS, errno.ENOSPC, errno.EOPNOTSUPP, errno.ENOENT} # the last: in the moment in which a drive goes
FULL = {errno.ENOSPC}
LOG_LINES = 400


class Wrong(Exception):
    """The model does not allow it."""


class Trouble:
    """Which errors a call may give now; .again is set while there is a mount to ask."""

    def __init__(self):
        self.lock, self.errors, self.times, self.again = threading.Lock(), {}, 0, threading.Event()
        self.again.set()

    def begin(self, name, errors):
        with self.lock:
            self.errors[name], self.times = errors, self.times + 1

    def end(self, name):
        with self.lock:
            self.errors.pop(name, None)
            self.times += 1

    def allowed(self):
        with self.lock:
            return set().union(*self.errors.values())


class Caller:
    """.name: of what it changes. .calls and .failed: how many. .wrong: what ended its thread."""

    def __init__(self, top, name, trouble):
        self.top, self.name, self.trouble = top, name, trouble
        self.calls = self.failed = 0
        self.wrong, self.log, self.thread = None, [], None

    def at(self, path):
        return os.path.join(self.top, path)

    def start_thread(self, run, *args):
        def guarded():
            try:
                run(*args)
            except Exception as error: # pylint: disable=broad-except; it is raised where it is waited for
                self.wrong = error
        self.thread = threading.Thread(target=guarded, daemon=True)
        self.thread.start()

    def end(self):
        self.thread.join(300)
        if self.thread.is_alive():
            raise Wrong("a call of %s never ended: %s" % (self.name, self.told()))
        self.check()

    def check(self):
        if self.wrong:
            raise Wrong("%s: %s; its calls: %s" % (self.name, self.wrong, self.told())) from self.wrong

    def note(self, what):
        self.log.append("%.3f %s" % (time.time() % 1000, what))
        del self.log[:-LOG_LINES]

    def told(self):
        return "\n  ".join(["", *self.log])

    def attempt(self, what, call, since=None):
        """Whether it was acknowledged. since: what was the matter from that count on may explain it, too."""
        self.trouble.again.wait(120)
        allowed, times = self.trouble.allowed(), self.trouble.times if since is None else since
        self.note(what)
        try:
            call()
        except OSError as error:
            self.note("  %s" % errno.errorcode.get(error.errno, error))
            self.failed += 1
            if error.errno not in allowed | self.trouble.allowed() and times == self.trouble.times:
                raise Wrong("%s: %s, and nothing was the matter that could explain it" % (what, error)) from error
            if error.errno not in KILLED | AWAY | FULL:
                raise Wrong("%s: %s" % (what, error)) from error
            return False
        self.calls += 1
        return True
