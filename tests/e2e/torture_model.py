# SPDX-License-Identifier: GPL-3.0-or-later
"""Random changes in a folder of one's own, through a mount, and a plain model of what must be there: path → bytes.

What the model allows: a call that was acknowledged holds. One that failed was made or was not, a write also in part, page by page; it may only fail
while something is the matter (the mount's process was killed, a drive is full or away), and what it was about is left alone until all is well again:
then it must be one of what it can be. Folders' names are of whole folders: a rename is made for all that is in it, or for nothing.
A seed gives the same calls, as far as the same ones fail."""
import contextlib
import errno
import os
import subprocess
import sys
import time

from seeded import Seeded
from torture_calls import Caller, Wrong

PAGE, LEAF, TAG = 4096, 1 << 20, "user.torture"
MOST_BYTES = 32 << 20 # of one changer


class File:
    """.names: all that lead to it. .old: its bytes are .data, or those, or some pages of each. .sure: it can be changed while drives are away.
    .owed: a drive went since, so an fsync may fail, once. .mode and .tag: None if nobody knows, since setting it failed."""

    def __init__(self, data=b""):
        self.data, self.old, self.names, self.sure, self.owed = data, None, set(), True, False
        self.mode, self.tag = 0o644, b""

    def has_attributes(self, path):
        """What is not known is what it turns out to be."""
        mode, tag = os.stat(path).st_mode & 0o7777, tag_of(path)
        self.mode = mode if self.mode is None else self.mode
        self.tag = tag if self.tag is None else self.tag
        return (mode, tag) == (self.mode, self.tag)

    def take(self, got):
        """What it turned out to have."""
        if not self.may_be(got):
            return False
        self.data, self.old = got, None
        return True

    def may_be(self, got):
        return got == self.data or self.old is not None and is_mixture(self.old, self.data, got)


def is_mixture(old, new, got):
    if not min(len(old), len(new)) <= len(got) <= max(len(old), len(new)):
        return False

    def page(data, at):
        return data[at:at + PAGE].ljust(PAGE, b"\0")[:len(got) - at]
    return all(got[at:at + PAGE] in (page(old, at), page(new, at)) for at in range(0, len(got), PAGE))


def spliced(old, at, data):
    return old[:at].ljust(at, b"\0") + data + old[at + len(data):]


def tag_of(path):
    try:
        return os.getxattr(path, TAG)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return b""


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Storing:
    """Another process that stores through mappings: a page that cannot be had, as when the mount's process has just been killed, is its end, and not ours."""

    PROGRAM = """if True:
        import mmap, os, sys
        for line in sys.stdin.buffer:
            at, size, whole, path = line[:-1].split(b" ", 3)
            data = sys.stdin.buffer.read(int(size))
            try:
                with open(path, "r+b", buffering=0) as file, mmap.mmap(file.fileno(), int(whole)) as mapped:
                    mapped[int(at):int(at) + len(data)] = data
                    mapped.flush()
                print(0, flush=True)
            except OSError as error:
                print(error.errno, flush=True)
        """

    def __init__(self):
        self.process = None

    def store(self, path, at, data, whole):
        """Written back when it returns."""
        if not self.process or self.process.poll() is not None:
            self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"%d %d %d %s\n%s" % (at, len(data), whole, os.fsencode(path), data))
            self.process.stdin.flush()
        told = self.process.stdout.readline()
        if not told:
            self.end()
        if told != b"0\n":
            raise OSError(int(told or errno.EIO), "store")

    def end(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.process = None


class Taste:
    """What a changer likes: how often it makes which call; of how many files; and sizes: in so many of twenty, in all, up to so many bytes."""
    KINDS = {"write": 5, "append": 3, "create": 5, "save": 2, "read_one": 2, "rename": 2, "remove": 2, "set_mode": 1, "set_tag": 1, "cut": 1, "grow": 1, "punch": 1, "store": 2,
             "replace": 1, "link": 1, "make_folder": 2, "remove_folder": 2, "rename_folder": 1, "flush": 1, "list_one": 1}
    SIZES = ((6, 300), (16, 20_000), (19, 200_000), (20, 1_500_000))

    def __init__(self, kinds=None, most_files=80, sizes=SIZES):
        self.kinds, self.most_files, self.sizes = [name for name, often in (kinds or self.KINDS).items() for _ in range(often)], most_files, sizes


class Changer(Caller):
    """.files: path → File, .folders: paths, of what is there for sure; .open_ends: what calls left that failed. .on: drive → folders that the last
    sync has seen on it; .unsure: those that a drive which is away got since, for something new in them, and those above. .left: of these what went: it shows when
    the drive is back, and is empty. .away: folders on the drives that are away."""

    def __init__(self, top, folder, seed, trouble, taste):
        super().__init__(top, folder, trouble)
        self.folder, self.rng, self.taste = folder, Seeded(seed), taste
        self.files, self.folders, self.known, self.open_ends = {}, {folder}, {folder}, []
        self.on, self.unsure, self.left, self.away = {}, set(), set(), set()
        self.number, self.degraded, self.deadline, self.storing = 0, False, None, Storing()

    # --- running ---

    def start(self, calls, deadline):
        self.deadline = deadline
        self.start_thread(self.run, calls)

    def run(self, calls):
        end = self.calls + self.failed + calls
        while self.calls + self.failed < end and time.monotonic() < self.deadline:
            self.step()

    def step(self):
        kinds = self.taste.kinds
        if len(self.files) > self.taste.most_files or sum(len(file.data) for file in self.files.values()) > MOST_BYTES:
            kinds = ["remove", "cut"]
        getattr(self, self.rng.choice(kinds))()

    # --- choosing ---

    def is_left_alone(self, path):
        return any(path == left or path.startswith(left + "/") or left.startswith(path + "/") for end in self.open_ends for left in end.paths)

    def is_certain(self, path):
        return self.files[path].old is None and not self.is_left_alone(path)

    def usable(self):
        return sorted(path for path, file in self.files.items() if self.is_certain(path) and (file.sure or not self.degraded)
                      and (not self.degraded or os.path.dirname(path) in self.known))

    def pick(self):
        paths = self.usable()
        return self.rng.choice(paths) if paths else None

    def a_folder(self, *without):
        folders = sorted(path for path in (self.known if self.degraded else self.folders) if path == self.folder or not self.is_left_alone(path))
        folders = [path for path in folders if not any(path == other or path.startswith(other + "/") for other in without)]
        return self.rng.choice(folders)

    def new_name(self, *without):
        self.number += 1
        return "%s/%d" % (self.a_folder(*without), self.number)

    def some_bytes(self):
        kind = self.rng.randrange(20)
        most = next(size for upto, size in self.taste.sizes if kind < upto)
        return self.rng.randbytes(self.rng.randrange(1, most))

    def some_place(self, size):
        """Where leaves and pages begin and end more happens than elsewhere."""
        at = self.rng.randrange(size + 1)
        if self.rng.random() < 0.3:
            unit = self.rng.choice((PAGE, LEAF))
            at = min(size, max(0, at // unit * unit + self.rng.randrange(-1, 2)))
        return at

    # --- bytes ---

    @contextlib.contextmanager
    def opened(self, path, flags=os.O_RDWR):
        fd = os.open(self.at(path), flags)
        try:
            yield fd
            if self.rng.random() < 0.1:
                self.make_durable(path, fd)
        finally:
            os.close(fd)

    def make_durable(self, path, fd):
        """It fails once for what was acknowledged before a drive went, also much later: nobody can say that it is durable."""
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EIO or not self.files[path].owed:
                raise
        self.files[path].owed = False

    def synced(self, roots):
        """All drives were there, and what is on them is known. roots: drive → path."""
        self.known, self.on = set(self.folders), {name: self.folders_on(root) for name, root in roots.items()}

    def folders_on(self, root):
        return {os.path.relpath(at, root) for at, _, _ in os.walk(os.path.join(root, self.folder))}

    def loses(self, roots):
        """These drives go now, and are still there."""
        if not self.degraded:
            self.unsure, self.away = set(), set()
        for name, root in roots.items():
            has = self.folders_on(root)
            self.away |= has
            for path in has - self.on.get(name, set()):
                while path:
                    self.unsure.add(path)
                    path = os.path.dirname(path)

    def a_drive_went(self):
        for file in self.files.values():
            file.owed = True

    def change(self, what, path, new, call):
        """The call makes these bytes of it."""
        file = self.files[path]

        def with_it():
            with self.opened(path) as fd:
                call(fd)
        if self.attempt("%s %s of %d" % (what, path, len(file.data)), with_it):
            file.data = new
        else:
            file.old, file.data = file.data, new

    def put_at(self, what, path, at):
        data = self.some_bytes()

        def call(fd):
            if os.pwrite(fd, data, at) != len(data): # the next one would say why
                raise OSError(errno.ENOSPC, "cut short")
        self.change("%s %d at %d in" % (what, len(data), at), path, spliced(self.files[path].data, at, data), call)

    def write(self):
        path = self.pick()
        if path:
            self.put_at("write", path, self.some_place(len(self.files[path].data)))

    def append(self):
        path = self.pick()
        if path:
            self.put_at("append", path, len(self.files[path].data))

    def cut(self):
        path = self.pick()
        if path:
            old = self.files[path].data
            size = self.some_place(len(old)) if self.rng.random() < 0.7 else 0
            self.change("cut to %d" % size, path, old[:size], lambda fd: os.ftruncate(fd, size))

    def grow(self):
        path = self.pick()
        if path:
            old = self.files[path].data
            size = len(old) + self.rng.randrange(100_000)
            self.change("grow to %d" % size, path, old.ljust(size, b"\0"), lambda fd: os.ftruncate(fd, size))

    def punch(self):
        path = self.pick()
        if path and self.files[path].data:
            old = self.files[path].data
            at = self.some_place(len(old) - 1)
            size = min(len(old) - at, self.rng.randrange(1, 100_000))
            self.change("punch %d at %d in" % (size, at), path, spliced(old, at, bytes(size)), lambda fd: punch_hole(fd, at, size))

    def store(self):
        """Through a mapping; what is not written back before a kill is nobody's promise, so it is."""
        path = self.pick()
        if path and self.files[path].data:
            old = self.files[path].data
            at = self.rng.randrange(len(old))
            data, file = self.some_bytes()[:len(old) - at], self.files[path]

            def call():
                try:
                    self.storing.store(self.at(path), at, data, len(old))
                except OSError as error: # as of an fsync, which it ends with
                    if error.errno != errno.EIO or not file.owed:
                        raise
                    file.owed = False
                    self.storing.store(self.at(path), at, data, len(old))
            if self.attempt("store %d at %d in %s of %d" % (len(data), at, path, len(old)), call):
                self.files[path].data = spliced(old, at, data)
            else:
                self.files[path].old, self.files[path].data = old, spliced(old, at, data)

    def read_one(self):
        path = self.pick()
        if path:
            got = []
            if self.attempt("read " + path, lambda: got.append(read(self.at(path)))) and got[0] != self.files[path].data:
                raise Wrong("%s has other bytes: %s" % (path, how_it_differs(got[0], self.files[path].data)))

    def set_mode(self):
        path, mode = self.pick(), self.rng.choice((0o600, 0o640, 0o644, 0o755))
        if path:
            done = self.attempt("chmod %o %s" % (mode, path), lambda: os.chmod(self.at(path), mode))
            self.files[path].mode = mode if done else None

    def set_tag(self):
        path, tag = self.pick(), b"%d" % self.rng.randrange(1000)
        if path:
            done = self.attempt("tag %s %s" % (path, tag), lambda: os.setxattr(self.at(path), TAG, tag))
            self.files[path].tag = tag if done else None

    def flush(self):
        path = self.pick()
        if path:
            def call():
                with self.opened(path) as fd:
                    self.make_durable(path, fd)
            self.attempt("fsync " + path, call)

    # --- names ---

    def give(self, path, file):
        self.files[path] = file
        file.names.add(path)

    def take_away(self, path):
        file = self.files.pop(path)
        file.names.discard(path)
        return file

    def create(self):
        path, file = self.new_name(), File()
        if not self.attempt("create " + path, lambda: os.close(os.open(self.at(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))):
            self.open_ends.append(Names(self, {path: file}))
            return None
        self.give(path, file)
        for _ in range(self.rng.randrange(4)):
            if file.old is None:
                self.put_at("write", path, len(file.data))
        return path

    def save(self):
        """As editors do: a new file over the old one."""
        to, path = self.pick(), self.create()
        if to in self.files and path in self.files and self.files[path].old is None:
            self.move(path, to)

    def rename(self):
        path = self.pick()
        if path:
            self.move(path, self.new_name())

    def replace(self):
        path, to = self.pick(), self.pick()
        if path and self.files[path] is not self.files[to]: # else nothing is done, as POSIX has it
            self.move(path, to)

    def move(self, path, to):
        if self.attempt("rename %s to %s" % (path, to), lambda: os.rename(self.at(path), self.at(to))):
            if to in self.files:
                self.take_away(to)
            self.give(to, self.take_away(path))
        else:
            self.open_ends.append(Names(self, {path: self.files[path]}, {to: self.files[path]}))

    def link(self):
        path = self.pick()
        if path:
            to = self.new_name()
            if self.attempt("link %s to %s" % (path, to), lambda: os.link(self.at(path), self.at(to))):
                self.give(to, self.files[path])
            else:
                self.open_ends.append(Names(self, {to: self.files[path]}))

    def remove(self):
        path = self.pick()
        if path:
            self.remove_one(path)

    def remove_one(self, path):
        done = self.attempt("remove " + path, lambda: os.unlink(self.at(path)))
        if done:
            self.take_away(path)
        else:
            self.open_ends.append(Names(self, {path: self.files[path]}))
        return done

    # --- folders ---

    def make_folder(self):
        if len(self.folders) > 12:
            return
        path = self.new_name()
        if self.attempt("mkdir " + path, lambda: os.mkdir(self.at(path))):
            self.folders.add(path)
            if self.degraded: # it lies on a drive that is there
                self.known.add(path)
        else:
            self.open_ends.append(Folder(self, path))

    def remove_folder(self):
        """The few files that may be in it go first. Rather one that a drive which is away has."""
        paths, usable = sorted((self.known if self.degraded else self.folders) - {self.folder}), set(self.usable())
        below = {path: [name for name in [*self.files, *self.folders] if name.startswith(path + "/")] for path in paths}
        paths = [path for path in paths if not self.is_left_alone(path) and len(below[path]) <= 5 and usable.issuperset(below[path])]
        paths = [path for path in paths if self.degraded and path in self.away] or paths
        path = self.rng.choice(paths) if paths else None
        if path and all(self.remove_one(name) for name in below[path]):
            self.remove_empty(path)

    def remove_empty(self, path):
        if self.attempt("rmdir " + path, lambda: os.rmdir(self.at(path))):
            self.folders.discard(path)
            self.known.discard(path)
            if self.may_leave(path):
                self.left.add(path)
        else:
            self.open_ends.append(Folder(self, path))

    def may_leave(self, path):
        """Nobody knows that a drive which is away has it."""
        return self.degraded and path in self.unsure

    def rename_folder(self):
        path = self.a_folder()
        below = [file for name, file in self.files.items() if name.startswith(path + "/")]
        new = [name for name in self.folders if name.startswith(path + "/") and name not in self.known]
        if path == self.folder or self.is_left_alone(path) or any(file.old is not None for file in below):
            return
        if self.degraded and (new or not all(file.sure for file in below)):
            return
        to, may_leave = self.new_name(path), self.may_leave(path)
        if self.attempt("rename folder %s to %s" % (path, to), lambda: os.rename(self.at(path), self.at(to))):
            self.folder_moved(path, to)
            if may_leave:
                self.left.add(path)
        else:
            self.open_ends.append(FolderMove(self, path, to, may_leave))

    def folder_moved(self, path, to):
        def moved(name):
            return to + name[len(path):] if name == path or name.startswith(path + "/") else name
        self.folders, self.known = set(map(moved, self.folders)), set(map(moved, self.known))
        self.unsure, self.left, self.away = set(map(moved, self.unsure)), set(map(moved, self.left)), set(map(moved, self.away))
        self.on = {name: set(map(moved, names)) for name, names in self.on.items()}
        self.files = {moved(name): file for name, file in self.files.items()}
        for file in set(self.files.values()):
            file.names = set(map(moved, file.names))

    def list_one(self):
        path = self.a_folder()
        got = []
        if not self.is_left_alone(path) and not self.degraded and self.attempt("list " + path, lambda: got.extend(os.listdir(self.at(path)))):
            self.listed(path, set(got))

    def listed(self, path, got):
        wanted = {os.path.basename(name) for name in [*self.files, *self.folders] if os.path.dirname(name) == path}
        if got != wanted:
            raise Wrong("%s has %s too many, and lacks %s; its calls: %s" % (path, sorted(got - wanted), sorted(wanted - got), self.told()))

    # --- when all is well ---

    def settle(self):
        """What calls left that failed is one of what it may be."""
        self.clear(self.left)
        ends, self.open_ends = self.open_ends, []
        for end in ends:
            end.settle()
        self.clear(self.left) # in a folder of which nobody knew which name it has
        self.left = set()
        for path, file in self.files.items():
            if file.old is not None:
                got = read(self.at(path))
                if not file.take(got):
                    raise Wrong("%s is neither what it was nor what was written: %s; %s; its calls: %s" % (
                        path, how_it_differs(got, file.old), how_it_differs(got, file.data), self.told()))

    def clear(self, paths):
        """Empty folders go."""
        for path in paths:
            for at, _, _ in os.walk(self.at(path), topdown=False):
                with contextlib.suppress(OSError): # something is in it: it is told of as too many
                    os.rmdir(at)

    def compare_all(self):
        """Every byte and every name; how many bytes."""
        for folder in sorted(self.folders):
            self.listed(folder, set(os.listdir(self.at(folder))))
        for path, file in sorted(self.files.items()):
            try:
                got = read(self.at(path))
            except OSError as error:
                raise Wrong("%s cannot be read: %s; its calls: %s" % (path, error, self.told())) from error
            if got != file.data:
                raise Wrong("%s has other bytes: %s; its calls: %s" % (path, how_it_differs(got, file.data), self.told()))
            told = os.stat(self.at(path))
            if (told.st_nlink, told.st_size) != (len(file.names), len(file.data)):
                raise Wrong("%s has %d names, not %s; its calls: %s" % (path, told.st_nlink, sorted(file.names), self.told()))
            if not file.has_attributes(self.at(path)):
                raise Wrong("%s has the mode %o and the tag %s, not %o and %s; its calls: %s" % (
                    path, told.st_mode, tag_of(self.at(path)), file.mode, file.tag, self.told()))
        return sum(len(file.data) for file in self.files.values())


class Names:
    """A call about names failed: each may have what it had, or what one of the ways says, and nothing is lost. Then they are removed, whatever they have."""

    def __init__(self, changer, *ways):
        self.changer, self.ways = changer, list(ways)
        self.paths = {path for way in ways for path in way}
        self.may = {path: [way[path] for way in ways if path in way] for path in self.paths}
        for path in self.paths & set(changer.files): # which may have other names, by which it is changed
            self.may[path].append(changer.files[path])

    def settle(self):
        changer = self.changer
        if len(self.ways) == 2: # it was to be renamed, perhaps over another one
            (source, file), (to, _) = next(iter(self.ways[0].items())), next(iter(self.ways[1].items()))
            if not os.path.lexists(changer.at(source)) and not (os.path.lexists(changer.at(to)) and file.may_be(read(changer.at(to)))):
                raise Wrong("%s is by neither of the names %s; its calls: %s" % (source, sorted(self.paths), changer.told()))
            if to in changer.files and not os.path.lexists(changer.at(to)):
                raise Wrong("%s has gone, over which %s was to be renamed; its calls: %s" % (to, source, changer.told()))
        for path in self.paths:
            while os.path.lexists(changer.at(path)):
                got = read(changer.at(path))
                if not any(file.may_be(got) for file in self.may[path]):
                    raise Wrong("%s has bytes that it never had; its calls: %s" % (path, changer.told()))
                os.unlink(changer.at(path))
            if path in changer.files:
                changer.take_away(path)


class Folder:
    """It was to be made or removed."""

    def __init__(self, changer, path):
        self.changer, self.paths = changer, {path}

    def settle(self):
        for path in self.paths:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(self.changer.at(path))
            self.changer.folders.discard(path)
            self.changer.known.discard(path)


class FolderMove:
    def __init__(self, changer, path, to, may_leave):
        self.changer, self.path, self.to, self.paths, self.may_leave = changer, path, to, {path, to}, may_leave

    def settle(self):
        changer = self.changer
        if self.may_leave and os.path.lexists(changer.at(self.to)):
            changer.clear([self.path])
        there = [os.path.lexists(changer.at(path)) for path in (self.path, self.to)]
        if there[0] == there[1]:
            raise Wrong("of the folder's names %s and %s %s is there; its calls: %s" % (self.path, self.to, "each" if there[0] else "none", changer.told()))
        if there[1]:
            changer.folder_moved(self.path, self.to)


def punch_hole(fd, at, size):
    import ctypes # pylint: disable=import-outside-toplevel
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
    if libc.fallocate(fd, 3, at, size) != 0: # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        raise OSError(ctypes.get_errno(), "fallocate")


def how_it_differs(got, wanted):
    other = next((i for i in range(min(len(got), len(wanted))) if got[i] != wanted[i]), None)
    last = next((i for i in reversed(range(min(len(got), len(wanted)))) if got[i] != wanted[i]), None)
    return "%d bytes, not %d" % (len(got), len(wanted)) + (", others from %d to %d" % (other, last) if other is not None else "")
