# SPDX-License-Identifier: GPL-3.0-or-later
"""A large file that is written to all the time, through whatever happens to the pool, as machines' images and databases are: small writes, some in bursts or
synced, into one region, and the end goes to and fro. The rest of it is quiet.

What the model allows: what is quiet is what it was. Of the region each page has what was last acknowledged, or what a call that failed since may have left. Where
drives die with what was not synced to them (.rolls), it may also be what a page was since then, for as long as no fsync was acknowledged before they did (.rolled).
It holds its lock while it calls: who has it looks at what nobody changes meanwhile. Who kills, or takes drives away, does without."""
import contextlib
import errno
import os
import threading

from seeded import Seeded
from torture_calls import Caller, Wrong

PAGE, LEAF = 4096, 1 << 20
SIZE = 9 * LEAF + 777
REGION = range(LEAF + LEAF // 4, 2 * LEAF + LEAF // 2) # of three leaves two
END = range(8 * LEAF + 30 * PAGE, 9 * LEAF + LEAF // 2) # where the file ends
QUIET_LEAVES = {0, *range(3, 8)}
PAUSE = 0.02


def page_of(data, at, size):
    """As it is in a file of that size."""
    return bytes(data[at:at + PAGE]).ljust(PAGE, b"\0")[:size - at]


class Hot(Caller):
    """.data: what was acknowledged. .may: page → what else it may be, since a call failed; .sizes: likewise. .was: page → what it was since .rolls. .claim: of all of it,
    which holds for as long as it rests."""

    def __init__(self, top, path, seed, trouble):
        super().__init__(top, path, trouble)
        self.rng, self.lock, self.ends = Seeded(seed), threading.RLock(), threading.Event()
        self.data, self.may, self.sizes, self.was = bytearray(self.rng.randbytes(SIZE)), {}, set(), {}
        self.rests, self.rolls, self.rolled, self.owed = False, False, False, False
        self.claim, self.fd, self.since, self.burst = None, None, 0, 0

    # --- writing ---

    def start(self):
        self.start_thread(self.run)

    def run(self):
        while not self.ends.is_set():
            with self.lock:
                if not self.rests and not self.ends.is_set():
                    self.step()
            if self.burst:
                self.burst -= 1
            else:
                self.ends.wait(PAUSE)

    def step(self):
        kind = self.rng.randrange(20)
        if kind < 14:
            self.write()
        elif kind == 14:
            self.burst = self.rng.randrange(100)
        elif kind == 15:
            self.flush()
        elif not self.rolls: # whose size would be nobody's knowledge
            self.rng.choice((self.cut, self.grow, self.append))()

    @contextlib.contextmanager
    def still(self):
        """It has nothing open meanwhile, and does not write."""
        with self.lock:
            self.let_go()
            yield

    def let_go(self):
        fd, self.fd = self.fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def by_descriptor(self, what, call):
        """The same one for as long as it is of use."""
        since = self.since if self.fd is not None else self.trouble.times

        def with_it():
            if self.fd is None:
                self.fd = os.open(self.at(self.name), os.O_RDWR)
            call()
        done = self.attempt(what, with_it, since)
        self.since = since
        if not done:
            self.let_go()
        return done

    def put(self, what, at, data):
        def call():
            if os.pwrite(self.fd, data, at) != len(data):
                raise OSError(errno.ENOSPC, "cut short")
        new = bytearray(self.data)
        new[at:at + len(data)] = data
        self.change("%s %d at %d" % (what, len(data), at), new, range(at // PAGE * PAGE, at + len(data), PAGE), call)

    def change(self, what, new, pages, call):
        """Its bytes are `new` then, of which these pages are others."""
        old, most = self.data, max(len(new), len(self.data))
        if self.by_descriptor(what, call):
            for page in pages:
                self.may.pop(page, None)
                if self.rolls:
                    self.was.setdefault(page, []).append(page_of(old, page, most))
            self.data = new
            return
        for page in pages:
            self.may.setdefault(page, []).append(page_of(new, page, most))
        if len(new) != len(old):
            self.sizes.add(len(new))

    def write(self):
        """Pages; or less of one, of which is known what it is."""
        at = self.rng.randrange(REGION.start, REGION.stop, PAGE)
        if self.rng.random() < 0.3 and at not in self.may:
            begin = self.rng.randrange(PAGE)
            self.put("write", at + begin, self.rng.randbytes(self.rng.randrange(1, PAGE - begin + 1)))
        else:
            self.put("write", at, self.rng.randbytes(min(REGION.stop - at, PAGE * self.rng.choice((1, 1, 2, 8)))))

    def flush(self):
        def call():
            try:
                os.fsync(self.fd)
            except OSError as error: # once for what was acknowledged before a drive went
                if error.errno != errno.EIO or not self.owed:
                    raise
                self.owed = False
                os.fsync(self.fd)
            self.owed = False
        if self.by_descriptor("fsync", call) and not self.rolled:
            self.was = {}

    def drive_went(self):
        self.owed, self.rolled = True, self.rolls

    # --- its end, which is only changed where it is known ---

    def resize(self, what, size):
        new = self.data[:size].ljust(size, b"\0")
        begin = min(size, len(self.data)) // PAGE * PAGE
        if not self.sizes:
            self.change("%s to %d" % (what, size), new, range(begin, max(size, len(self.data)), PAGE), lambda: os.ftruncate(self.fd, size))

    def cut(self):
        self.resize("cut", self.rng.randrange(END.start, len(self.data) + 1))

    def grow(self):
        self.resize("grow", self.rng.randrange(len(self.data), END.stop + 1))

    def append(self):
        room = END.stop - len(self.data)
        if not self.sizes:
            self.put("append", len(self.data), self.rng.randbytes(min(room, self.rng.randrange(1, 100_000))))

    # --- looking, with the lock ---

    def size_is_wrong(self, size):
        sizes = {len(self.data), *self.sizes}
        return not min(sizes) <= size <= max(sizes)

    def what_is_wrong(self, got, at=0):
        """Of these bytes, which are from there."""
        for page in range(at, at + len(got), PAGE):
            is_now = got[page - at:page - at + PAGE]
            may = [page_of(self.data, page, len(self.data)), *self.may.get(page, ()), *self.was.get(page, ())]
            if not any(is_now == one.ljust(PAGE, b"\0")[:len(is_now)] for one in may):
                kind = "was written to" if page in REGION or page >= END.start else "is quiet"
                return "the page at %d, which %s, is none of %d that it may be" % (page, kind, len(may))
        return None

    def settle(self):
        """All drives are there."""
        with self.lock:
            got = self.pread(0, END.stop + PAGE)
            told = "%d bytes" % len(got) if self.size_is_wrong(len(got)) else self.what_is_wrong(got)
            if told:
                raise Wrong("%s is not as it must be: %s; its calls: %s" % (self.name, told, self.told()))
            self.data, self.may, self.sizes, self.was = bytearray(got), {}, set(), {}
            self.rolls = self.rolled = False
            return len(got)

    def pread(self, at, size):
        with open(self.at(self.name), "rb", buffering=0) as file:
            got = b""
            while len(got) < size:
                piece = os.pread(file.fileno(), size - len(got), at + len(got))
                if not piece:
                    break
                got += piece
            return got

    def leaves(self):
        """What can be read of it: leaf → bytes, or the error."""
        for at in range(0, len(self.data), LEAF):
            try:
                yield at, self.pread(at, min(LEAF, END.stop - at)), None
            except OSError as error:
                yield at, None, error

    def compare_without(self, away, how):
        """With drives away: each leaf, if all of it was claimed, or else what can be read of it. how: to tell it. How many bytes, and how many errors."""
        with self.lock:
            must = self.claim is not None and self.rests and self.claim.holds_without(away)
            compared = errors = 0
            for at, got, error in self.leaves():
                if got is None and must:
                    raise Wrong("%s: %d of it cannot be read: %s; its calls: %s" % (how, at, error, self.told()))
                told = self.what_is_wrong(got, at) if got is not None else None
                if told:
                    raise Wrong("%s: %s; its calls: %s" % (how, told, self.told()))
                compared, errors = compared + len(got or b""), errors + (got is None)
            return compared, errors

    def finish(self):
        self.ends.set()
        if self.thread:
            self.thread.join(100)
        self.let_go()
