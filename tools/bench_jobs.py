# SPDX-License-Identifier: GPL-3.0-or-later
"""What `tools/bench mount` measures: sets of steps. A step runs once a round in each place, in the order in which they stand, and gives how much it did."""
import io
import os
import random
import shutil
import subprocess
import tarfile


class Step:
    """run(place) -> how many units. cold: without caches. pause: seconds to wait before. before(place): not measured. only: the one place it is for."""

    def __init__(self, name, unit, run, cold=False, pause=0, before=None, only=None):
        self.name, self.unit, self.run = name, unit, run
        self.cold, self.pause, self.before, self.only = cold, pause, before, only


class Set:
    """setup(place) once; steps each round; clear(place) at the end."""

    def __init__(self, scale, work):
        self.scale, self.work = scale, work
        self.steps = []

    def count(self, n):
        return max(1, round(n * self.scale))

    def setup(self, place):
        os.makedirs(self.top(place))

    def top(self, place, *parts):
        return place.at("bench " + type(self).__name__, *parts)

    def clear(self, place):
        shutil.rmtree(self.top(place))


def at_once(n, do):
    """do(i) in a process of its own for each i below n."""
    children = []
    for i in range(n):
        child = os.fork()
        if child == 0:
            try:
                do(i)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):
        raise OSError("a process of %d failed" % n)


# --- names ---

class Create(Set):
    """Many files made one after another in one folder, looked at, and removed."""

    def __init__(self, scale, work):
        super().__init__(scale, work)
        small, empty = self.count(1500), self.count(20000)
        self.steps = [
            Step("create, 2 kB", "/s", lambda place: self.make(place, "small", small, bytes(2000))),
            Step("stat, just made", "/s", lambda place: self.stat(place, "small", small)),
            Step("stat, made 0.3 s ago", "/s", lambda place: self.stat(place, "small", small), pause=0.3),
            Step("stat, made 1.5 s ago", "/s", lambda place: self.stat(place, "small", small), pause=1.2),
            Step("unlink, 2 kB", "/s", lambda place: self.unlink(place, "small", small)),
            Step("create, empty", "/s", lambda place: self.make(place, "empty", empty, b"")),
            Step("unlink, empty", "/s", lambda place: self.unlink(place, "empty", empty)),
        ]

    def make(self, place, folder, n, data):
        os.mkdir(self.top(place, folder))
        where = self.top(place, folder, "file ")
        for i in range(n):
            fd = os.open(where + str(i), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            if data:
                os.write(fd, data)
            os.close(fd)
        return n

    def stat(self, place, folder, n):
        where = self.top(place, folder, "file ")
        for i in range(n):
            os.stat(where + str(i))
        return n

    def unlink(self, place, folder, n):
        where = self.top(place, folder, "file ")
        for i in range(n):
            os.unlink(where + str(i))
        os.rmdir(self.top(place, folder))
        return n


class Parallel(Set):
    """Many processes that make files, each in a folder of its own, and all in one."""

    PROCESSES = 32

    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.each = self.count(100)
        self.steps = [Step("create, 32 processes, 32 folders", "/s", self.apart, before=self.folders),
                      Step("create, 32 processes, 1 folder", "/s", self.together)]

    def folders(self, place):
        for i in range(self.PROCESSES):
            shutil.rmtree(self.top(place, str(i)), ignore_errors=True)
            os.mkdir(self.top(place, str(i)))
        shutil.rmtree(self.top(place, "all"), ignore_errors=True)
        os.mkdir(self.top(place, "all"))

    def processes(self, make):
        at_once(self.PROCESSES, make)
        return self.PROCESSES * self.each

    def apart(self, place):
        return self.processes(lambda i: self.files(self.top(place, str(i), "file ")))

    def together(self, place):
        return self.processes(lambda i: self.files(self.top(place, "all", "%d-" % i)))

    def files(self, where):
        for i in range(self.each):
            os.close(os.open(where + str(i), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


# --- a tree of sources ---

def make_tar(path, files):
    """A tree in the shape of kernel sources: folders a few levels deep, 15 files in each, of 12 kB on average."""
    rng = random.Random(1)
    text, folders = rng.randbytes(1 << 20), ["src"]
    with tarfile.open(path, "w") as tar:
        for i in range(files):
            if i % 15 == 0:
                folders.append("%s/part%d" % (rng.choice(folders[-40:]) if len(folders) % 8 else "src", len(folders)))
                info = tarfile.TarInfo(folders[-1])
                info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1700000000
                tar.addfile(info)
            info = tarfile.TarInfo("%s/file_%d.c" % (folders[-1], i))
            info.size, info.mode, info.mtime = min(int(rng.lognormvariate(8.7, 1.2)), 400000), 0o644, 1700000000 + i
            start = rng.randrange(len(text) - info.size)
            tar.addfile(info, io.BytesIO(text[start:start + info.size]))


class Tree(Set):
    """A set over the tree, of which there is an archive once, out of all places."""

    FILES = 5000

    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.files = self.count(self.FILES)
        self.tar = os.path.join(work, "sources.tar")
        if not os.path.exists(self.tar):
            make_tar(self.tar, self.files)

    def unpack(self, place):
        subprocess.run(["tar", "-xf", self.tar, "-C", self.top(place)], check=True)
        return self.files


class Untar(Tree):
    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.steps = [Step("untar", "files/s", self.unpack), Step("rm -r", "files/s", self.remove)]

    def remove(self, place):
        subprocess.run(["rm", "-r", self.top(place, "src")], check=True)
        return self.files


class Look(Tree):
    """Looking at a tree that was there before, and that nobody changes."""

    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.paths = None
        self.steps = [
            Step("ls -lR, cold", "files/s", self.list_all, cold=True),
            Step("ls -lR, warm", "files/s", self.list_all),
            Step("ls -lR, warm, 1.2 s later", "files/s", self.list_all, pause=1.2),
            Step("stat, just seen", "/s", self.stat_all, before=self.stat_all),
            Step("stat, seen 1.2 s ago", "/s", self.stat_all, before=self.stat_all, pause=1.2),
            Step("stat, cold", "/s", self.stat_all, cold=True),
            Step("read small files, cold", "files/s", self.read_all, cold=True),
            Step("read small files, warm", "files/s", self.read_all),
        ]

    def setup(self, place):
        super().setup(place)
        self.unpack(place)
        if not self.paths:
            top = self.top(place)
            self.paths = sorted(os.path.relpath(os.path.join(here, f), top) for here, _, files in os.walk(top) for f in files)

    def list_all(self, place):
        subprocess.run(["ls", "-lR", self.top(place)], stdout=subprocess.DEVNULL, check=True)
        return self.files

    def stat_all(self, place):
        for path in self.paths:
            os.stat(self.top(place, path))
        return len(self.paths)

    def read_all(self, place):
        for path in self.paths:
            with open(self.top(place, path), "rb", buffering=0) as f:
                f.read()
        return len(self.paths)


class Git(Tree):
    """git status of the tree; its own folder lies outside, the same for all (a null daemon keeps no data)."""

    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.steps = [Step("git status, warm", "files/s", self.status, before=self.status, pause=1.2), Step("git status, cold", "files/s", self.status, cold=True)]

    def git(self, place, *args):
        folder = os.path.join(self.work, "git-" + place.name)
        done = subprocess.run(["git", "-c", "safe.directory=*", "-c", "gc.auto=0", "--git-dir", folder, "--work-tree", self.top(place, "src"), *args],
                              cwd=self.top(place, "src"), capture_output=True, text=True, check=True)
        return done.stdout

    def setup(self, place):
        super().setup(place)
        self.unpack(place)
        self.git(place, "init", "-q")
        self.git(place, "add", "-A")

    def status(self, place):
        lines = self.git(place, "status", "--porcelain").splitlines()
        if len(lines) != self.files or any(not line.startswith("A  ") for line in lines):
            raise OSError("git status in %s shows %d lines, not %d files added and unchanged" % (place.path, len(lines), self.files))
        return self.files


# --- bytes ---

MEBI = 1 << 20


class Stream(Set):
    """A large file written and read from end to end, in pieces of 1 MiB."""

    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.size = self.count(1000)
        self.data = random.Random(2).randbytes(MEBI)
        self.steps = [
            Step("stream, write", "MB/s", lambda place: self.write(place, False), before=self.remove),
            Step("stream, written over", "MB/s", lambda place: self.write(place, False)),
            Step("stream, write and fsync", "MB/s", lambda place: self.write(place, True), before=self.remove),
            Step("stream, read cold", "MB/s", self.read, cold=True),
            Step("stream, read warm", "MB/s", self.read),
        ]

    def remove(self, place):
        if os.path.exists(self.top(place, "large")):
            os.unlink(self.top(place, "large"))

    def write(self, place, sync):
        with open(self.top(place, "large"), "r+b" if os.path.exists(self.top(place, "large")) else "wb", buffering=0) as f:
            for _ in range(self.size):
                f.write(self.data)
            if sync:
                os.fsync(f.fileno())
        return self.size * MEBI / 1e6

    def read(self, place):
        buf = bytearray(MEBI)
        with open(self.top(place, "large"), "rb", buffering=0) as f:
            while f.readinto(buf):
                pass
        return self.size * MEBI / 1e6


class Random(Set):
    """4 KiB here and there in a file of 64 leaves: written, read, and written where a stripe counts on the bytes."""

    LEAVES = 64

    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.writes = self.count(20000)
        self.rng = random.Random(3)
        self.data = self.rng.randbytes(4096)
        self.steps = [
            Step("random 4 KiB, write", "/s", lambda place: self.write(place, self.writes), before=self.fresh),
            Step("random 4 KiB, read", "/s", self.read),
            Step("random 4 KiB, write, protected, first of each leaf", "/s", self.write_first, before=self.protect, only="mrmr"),
            Step("random 4 KiB, write, protected, later ones", "/s", lambda place: self.write(place, self.writes), only="mrmr"),
        ]

    def fresh(self, place):
        """Another file: no stripe counts on it yet."""
        if os.path.exists(self.top(place, "file")):
            os.unlink(self.top(place, "file"))
        with open(self.top(place, "file"), "wb", buffering=0) as f:
            for _ in range(self.LEAVES):
                f.write(self.rng.randbytes(MEBI))

    def protect(self, place):
        place.run("sync")

    def write_at(self, place, offsets):
        fd = os.open(self.top(place, "file"), os.O_WRONLY)
        try:
            for off in offsets:
                os.pwrite(fd, self.data, off)
        finally:
            os.close(fd)
        return len(offsets)

    def write(self, place, n):
        return self.write_at(place, [self.rng.randrange(self.LEAVES * MEBI // 4096) * 4096 for _ in range(n)])

    def write_first(self, place):
        return self.write_at(place, [leaf * MEBI + self.rng.randrange(MEBI // 4096) * 4096 for leaf in self.rng.sample(range(self.LEAVES), self.LEAVES)])

    def read(self, place):
        fd = os.open(self.top(place, "file"), os.O_RDONLY)
        try:
            for _ in range(self.writes):
                os.pread(fd, 4096, self.rng.randrange(self.LEAVES * MEBI // 4096) * 4096)
        finally:
            os.close(fd)
        return self.writes


class Writers(Set):
    """The first 4 KiB into each leaf of protected files of one drive, at random: so many processes at a time, each with files of its own."""

    FILES = 16

    def __init__(self, scale, work):
        super().__init__(scale, work)
        self.leaves = self.count(16)
        self.rng = random.Random(4)
        self.steps = [Step("first of each leaf, protected, writers: %d" % n, "/s", lambda place, n=n: self.write(place, n), before=self.protect, only="mrmr")
                      for n in (1, 4, 16)]

    def setup(self, place):
        super().setup(place)
        if place.name != "mrmr":
            return
        folder = os.path.join(place.roots[0], os.path.basename(self.top(place)))
        os.makedirs(folder, exist_ok=True)
        for i in range(self.FILES):
            with open(os.path.join(folder, str(i)), "wb", buffering=0) as f:
                for _ in range(self.leaves):
                    f.write(self.rng.randbytes(MEBI))

    def protect(self, place):
        place.run("sync")

    def write_files(self, place, which, rng):
        for i in which:
            fd = os.open(self.top(place, str(i)), os.O_WRONLY)
            for leaf in rng.sample(range(self.leaves), self.leaves):
                os.pwrite(fd, rng.randbytes(4096), leaf * MEBI + rng.randrange(MEBI // 4096) * 4096)
            os.close(fd)

    def write(self, place, n):
        seeds = [self.rng.random() for _ in range(n)]
        at_once(n, lambda i: self.write_files(place, range(i, self.FILES, n), random.Random(seeds[i])))
        return self.FILES * self.leaves


SETS = {"create": Create, "parallel": Parallel, "untar": Untar, "look": Look, "git": Git, "stream": Stream, "random": Random, "writers": Writers}
