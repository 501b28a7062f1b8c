# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of change made directly on a drive, and how long each takes to show through a mount of the pool.

Run as a program, with the drives' roots and the mount's folder last, it is for users without any right of root's."""
import concurrent.futures
import contextlib
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import time

from mounts import until


class Storing:
    """Another process that has a file mapped, and no descriptor of it, and stores to it as it is told."""

    PROGRAM = """if True:
        import ctypes, mmap, os, sys
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        fd = os.open(sys.argv[1], os.O_RDWR)
        at = libc.mmap(None, os.fstat(fd).st_size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
        os.close(fd)
        print("mapped", flush=True)
        for line in sys.stdin:
            ctypes.memmove(at, line.strip().encode(), len(line) - 1)
            print("stored", flush=True)
        """

    def __init__(self, path):
        self.path, self.process = path, None

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "mapped\n"
        return self

    def store(self, text):
        """At the begin of the file."""
        self.process.stdin.write(text.decode() + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "stored\n"

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()


@contextlib.contextmanager
def reading(path):
    """A descriptor, and a mapping that shares the kernel's pages."""
    with open(path, "rb", buffering=0) as file:
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as memory:
            yield file.fileno(), memory


class Edits:
    """Changes in a folder of a drive that is the only one to have it; .took has of each change what it was, and the seconds for which it was not seen."""

    def __init__(self, root, point, folder):
        self.root, self.point, self.folder, self.took = root, point, folder, []
        for name in ("old", "renamed", "over", "gone", "linked", "mapped", "stored"):
            self.write(name, b"what it was")
        self.write("below/deep/file", b"deep")
        self.write("unseen/placeholder", b"") # nobody ever looks in here through the mount
        os.link(self.on("linked"), self.on("unseen/other"))
        os.symlink("old", self.on("link"))

    def on(self, path=""):
        return os.path.join(self.root, self.folder, path)

    def at(self, path=""):
        return os.path.join(self.point, self.folder, path)

    def write(self, path, data):
        os.makedirs(os.path.dirname(self.on(path)), exist_ok=True)
        with open(self.on(path), "wb") as file:
            file.write(data)

    def look(self):
        """The kernel keeps all of it, and that some names lead nowhere."""
        for folder in ("", "below", "below/deep"):
            for name in os.listdir(self.at(folder)):
                path = self.at(os.path.join(folder, name))
                os.lstat(path)
                if os.path.isfile(path):
                    self.read(path)
        for name in ("new", "made", "moved", "below/moved", "below/deep/new"):
            assert not os.path.exists(self.at(name))

    @staticmethod
    def read(path):
        with open(path, "rb") as file:
            return file.read()

    def seen(self, what, ask):
        """Just now it was done; ask() is true once it shows."""
        def quietly():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return ask()
            return False
        start = time.monotonic()
        until(quietly)
        self.took.append((what, time.monotonic() - start))

    def shows(self, what, path, data):
        """First in what stat says, which opening would put right."""
        def same():
            here, there = os.stat(self.at(path)), os.stat(self.on(path))
            return (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns) and self.read(self.at(path)) == data
        self.seen(what, same)

    def gone(self, what, path):
        self.seen(what, lambda: not os.path.lexists(self.at(path)) and os.path.basename(path) not in os.listdir(os.path.dirname(self.at(path))))

    def files(self):
        self.write("new", b"made")
        self.shows("create", "new", b"made")
        with open(self.on("old"), "r+b") as file:
            file.write(b"WHAT IT WAS") # as long as before
        self.shows("overwrite", "old", b"WHAT IT WAS")
        with open(self.on("old"), "ab") as file:
            file.write(b", and more")
        self.shows("append", "old", b"WHAT IT WAS, and more")
        os.truncate(self.on("old"), 4)
        self.shows("truncate", "old", b"WHAT")
        os.truncate(self.on("old"), 6)
        self.shows("lengthen", "old", b"WHAT\0\0")
        os.rename(self.on("renamed"), self.on("moved"))
        self.shows("rename", "moved", b"what it was")
        self.gone("rename away", "renamed")
        os.rename(self.on("moved"), self.on("below/moved"))
        self.shows("move", "below/moved", b"what it was")
        self.gone("move away", "moved")
        os.rename(self.on("new"), self.on("over"))
        self.shows("rename over", "over", b"made")
        os.unlink(self.on("gone"))
        self.gone("unlink", "gone")

    def attributes(self):
        os.chmod(self.on("over"), 0o640)
        self.seen("chmod", lambda: os.stat(self.at("over")).st_mode & 0o777 == 0o640)
        os.utime(self.on("over"), ns=(7, 7))
        self.seen("utime", lambda: os.stat(self.at("over")).st_mtime_ns == 7)
        os.chmod(self.on("below"), 0o711)
        self.seen("chmod of a folder", lambda: os.stat(self.at("below")).st_mode & 0o777 == 0o711)
        os.unlink(self.on("link"))
        os.symlink("over", self.on("link"))
        self.seen("another link", lambda: os.readlink(self.at("link")) == "over")

    def folders(self):
        os.mkdir(self.on("made"))
        self.seen("mkdir", lambda: os.listdir(self.at("made")) == [])
        self.write("made/in/it", b"x")
        self.shows("mkdir below", "made/in/it", b"x")
        os.rename(self.on("below/deep"), self.on("made/deep"))
        self.shows("move of a folder", "made/deep/file", b"deep")
        self.gone("move away of a folder", "below/deep")
        self.write("made/deep/file", b"deeper")
        self.shows("in the moved folder", "made/deep/file", b"deeper")
        shutil.rmtree(self.on("made"))
        self.gone("rmdir", "made")
        self.write("made", b"a file")
        self.shows("a file in its place", "made", b"a file")

    def links(self):
        """Told of late or not at all: such files are not taken for what they were for more than a second."""
        with open(self.on("unseen/other"), "ab") as file:
            file.write(b", by another name")
        self.shows("hard link", "linked", b"what it was, by another name")
        os.link(self.on("linked"), self.on("unseen/third"))
        self.seen("link count", lambda: os.stat(self.at("linked")).st_nlink == 3)

    def read_on(self, what, reader, data):
        """By who has it open all the time."""
        fd, memory = reader
        self.seen(what + ", by a descriptor", lambda: os.pread(fd, len(data), 0) == data)
        self.seen(what + ", by a mapping", lambda: memory[:len(data)] == data)

    def open_links(self):
        """A name whose folder nobody watches, of a file that is open here."""
        with reading(self.at("linked")) as reader:
            with open(self.on("unseen/other"), "r+b") as file:
                file.write(b"WRITTEN")
            self.read_on("hard link", reader, b"WRITTEN")
            with Storing(self.on("unseen/third")) as storing:
                for text in (b"stored", b"STORED", b"at last"):
                    storing.store(text)
                    self.read_on("store by a hard link", reader, text)
            assert os.stat(self.at("linked")).st_size == os.stat(self.on("linked")).st_size

    def stores(self):
        """Into a page that is to be written back already they change no time."""
        with Storing(self.on("stored")) as storing, reading(self.at("stored")) as reader:
            for text in (b"here", b"HERE", b"and here"):
                storing.store(text)
                self.read_on("store", reader, text)
                self.seen("store, by who opens it then", lambda text=text: self.read(self.at("stored"))[:len(text)] == text)
                self.seen("time of a store", lambda: os.stat(self.at("stored")).st_mtime_ns == os.stat(self.on("stored")).st_mtime_ns)
            # Through the mount somebody may write, too: then times are all that tells.
            with open(self.at("stored"), "r+b") as own, Storing(self.on("stored")) as other:
                other.store(b"by another")
                self.read_on("store beside a writer", reader, b"by another")
                own.write(b"by one")
                own.flush()
                self.read_on("write", reader, b"by onether")
            storing.store(b"at last, too")
            self.read_on("store when he has left", reader, b"at last, too"[:11])

    def mapping(self):
        with open(self.on("mapped"), "r+b") as file:
            with mmap.mmap(file.fileno(), 0) as memory:
                memory[0:4] = b"WHAT"
                memory.flush()
                self.seen("mapping, by who opens it then", lambda: self.read(self.at("mapped")) == b"WHAT it was")
                memory[5:7] = b"IT"
        self.shows("mapping that was closed", "mapped", b"WHAT IT was")

    def run(self):
        self.look()
        self.files()
        self.attributes()
        self.folders()
        self.links()
        self.open_links()
        self.stores()
        self.mapping()
        return self.took


def all_in_time(took, drive, told=True):
    """What is told of shows at once, and what is not after a second: of changes most of which are told of half show within one whatever else
    this machine does, and each when it has time for it. took: what each was, and its seconds."""
    seconds = [one for _, one in took]
    what, slowest = max(took, key=lambda one: one[1])
    median = statistics.median(seconds)
    print("%s: %d changes, seen after %.3f s by the median, the slowest after %.2f s: %s" % (drive, len(took), median, slowest, what))
    assert median < 1 or not told, took
    late = [(what, round(one, 2)) for what, one in took if one > 1 + float(os.environ.get("MRMR_SLACK", "4"))]
    assert not late, late


def run_all(edits):
    """At the same time, by the drives' names: most of it is waiting."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for drive, took in [(drive, pool.submit(on_it.run)) for drive, on_it in edits.items()]:
            all_in_time(took.result(), drive)


if __name__ == "__main__":
    assert os.geteuid() != 0
    own = {os.path.basename(given): Edits(given, sys.argv[-1], "edits on " + os.path.basename(given)) for given in sys.argv[1:-1]}
    for one in own.values():
        one.seen("a new folder", lambda one=one: os.path.exists(one.at("unseen"))) # below the root, which is watched
    run_all(own)
