# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that change files of their own through a mount, call after call, while drives die under them, and a model of what must be there.

What the model allows, of each call:
- acknowledged: it is so from then on, for whoever can be answered at all. A read gives those bytes or an error, never older ones or a mixture; what was
  removed or renamed away does not show again.
- failed: it was made, or it was not; a write also in part, up to some page. That is all: a rename is made or not made with both of its names, and no
  call of a later moment is undone by one that failed before it. The same call may be made again, and counts once it is acknowledged.
- a call may fail only while something is the matter (Trouble), and then with an error that says so, or, for what was never protected and so
  is known to nobody while its drive is away, with ENOENT.
- what was never protected does not show while its drive is away, and another file may be given its name. It is there again with its drive, as a copy
  beside the other one, or alone if that went meanwhile: nobody has removed it. A drive that is away does not lose a version that no sync has seen,
  either: it stays, and an event tells of it. So what is replaced or removed while something is the matter may come back (.ghosts), if no sync
  has seen it as it was, under that name.
- a rename over a file of another drive that was cut off by the end of the mount's process, or failed since the drive hung, and was made when that was
  thawed, may leave both files by that name (tree_move.c, tree_move_over.c). Then either shows, since what no sync has seen is ordered by the times of the
  contents alone, and the other is there when that one goes (.both).
- a folder that is removed while something is the matter may be there again, empty, where the drive that was missing had got it after the last sync (.left).
"""
import contextlib
import errno
import os
import stat
import threading
import time

from seeded import Seeded

PAGE = 4096
FAILURES = {errno.EIO, errno.ENOENT, errno.ENOTCONN, errno.ECONNABORTED, errno.EBUSY, errno.EROFS, errno.EXDEV, errno.EAGAIN, errno.ESTALE, errno.EOPNOTSUPP}
TAG = "user.changer"
MOST_VERSIONS = 60 # of one file; beyond it is left alone until all is well


class Trouble:
    """Whether something is the matter, so that a call may fail."""

    def __init__(self):
        self.now, self.times, self.mounts = False, 0, 0 # .mounts: the mount's process is another one

    def begin(self):
        self.times += 1
        self.now = True

    def end(self):
        self.now = False


class Wrong(Exception):
    """The model does not allow it."""


class Node:
    """A file by whatever names, or a folder. .contents and .tags: what it may have now, one of each, the one if nothing failed."""

    def __init__(self, contents=None):
        self.contents, self.tags, self.fd, self.fd_of, self.troubles = contents, [None], None, 0, 0
        self.known = set() # names by which a sync has seen it as it is

    @property
    def is_folder(self):
        return self.contents is None

    @property
    def is_sure(self):
        return len(self.contents) == 1


def written(old, at, data):
    return old[:at].ljust(at, b"\0") + data + old[at + len(data):]


def written_in_part(old, at, data):
    """Whatever a write that failed may have left, but for nothing at all."""
    cuts = {len(data)} | {cut - at for cut in range((at // PAGE + 1) * PAGE, at + len(data), PAGE)}
    return [written(old, at, data[:cut]) for cut in cuts]


def cut_to(old, size):
    return old[:size].ljust(size, b"\0")


def without_repeats(versions):
    return list(dict.fromkeys(versions))


class Changer:
    """.names: path → node, of all that is there for sure. .open_ends: calls that failed, each a list of the ways in which it may have ended, path → node or
    None; their paths are left alone, but for the same call once more. .removed: paths at which there is nothing for sure."""

    def __init__(self, top, folder, seed, trouble):
        self.top, self.folder, self.rng, self.trouble = top, folder, Seeded(seed), trouble
        self.names, self.open_ends, self.removed, self.ghosts, self.came_back = {folder: Node()}, [], set(), {}, 0
        self.left = set() # folders that were removed while something was the matter
        self.both = {} # what a rename that failed may have left two files at: from where which file was to come there
        self.calls = self.failed = self.number = 0
        self.wrong, self.log, self.stop, self.thread = None, [], threading.Event(), None

    def at(self, path):
        return os.path.join(self.top, path)

    # --- running ---

    def start(self):
        self.stop.clear()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def end(self):
        self.stop.set()
        self.thread.join(120)
        assert not self.thread.is_alive(), "a call never ended"
        for node in self.all_nodes():
            self.let_go(node)
        if self.wrong:
            raise Wrong("%s; its calls: %s" % (self.wrong, self.told())) from self.wrong

    def note(self, what):
        self.log.append("%.3f %s" % (time.time() % 1000, what))

    def told(self):
        return "\n  ".join(["", *self.log])

    def run(self):
        kinds = [self.create, self.create, self.save, self.write, self.write, self.write, self.append, self.cut, self.tag, self.sync, self.sync, self.rename, self.replace,
                 self.remove, self.link, self.make_folder, self.remove_folder, self.look, self.look, self.look_for_removed]
        try:
            while not self.stop.is_set():
                self.rng.choice(kinds)()
        except Exception as error: # pylint: disable=broad-except; it is raised where it is waited for
            self.wrong = error

    def attempt(self, what, call, may_fail=False, tries=(1, 1, 2, 3)):
        """Makes the call; whether it was acknowledged. It is made again at times when it fails."""
        for _ in range(self.rng.choice(tries)):
            calm = self.calm()
            try:
                call()
            except OSError as error:
                self.failed += 1
                self.note("%s: %s" % (what, errno.errorcode[error.errno]))
                if calm == self.trouble.times and not may_fail: # all was well, from its beginning to its end
                    raise Wrong("%s failed while nothing was the matter: %s" % (what, error)) from error
                if error.errno not in FAILURES:
                    raise Wrong("%s failed with an error that says nothing of a drive: %s" % (what, error)) from error
                self.stop.wait(0.01)
                continue
            self.calls += 1
            self.note(what)
            return True
        return False

    # --- choosing ---

    def all_nodes(self):
        nodes = set(self.names.values()) | {node for ghosts in self.ghosts.values() for node in ghosts}
        return nodes | {node for ways in self.open_ends for way in ways for node in way.values() if node}

    def doubtful(self):
        return {path for ways in self.open_ends for way in ways for path in way}

    def files(self):
        """That something may be done to; not where what came back may be in the way."""
        return [path for path, node in self.names.items() if not node.is_folder and len(node.contents) <= MOST_VERSIONS and path not in self.ghosts]

    def pick(self):
        files = self.files()
        return self.rng.choice(files) if files else None

    def folders(self):
        return [path for path, node in self.names.items() if node.is_folder]

    def new_name(self):
        self.number += 1
        return "%s/%d" % (self.rng.choice(self.folders()), self.number)

    def some_bytes(self, most):
        return self.rng.randbytes(self.rng.randrange(1, most))

    # --- descriptors ---

    @contextlib.contextmanager
    def opened(self, path, flags):
        """For one call; or for as long as it is of use."""
        node = self.names[path]
        if flags == os.O_RDWR and self.rng.random() < 0.5:
            if node.fd is not None and node.fd_of != self.trouble.mounts:
                self.let_go(node)
            if node.fd is None:
                node.fd_of = self.trouble.mounts
                node.fd = os.open(self.at(path), flags)
            try:
                yield node.fd
            except OSError:
                if self.rng.random() < 0.5:
                    self.let_go(node)
                raise
            return
        fd = os.open(self.at(path), flags)
        try:
            yield fd
        finally:
            with contextlib.suppress(OSError):
                os.close(fd)

    def let_go(self, node):
        if node.fd is not None:
            with contextlib.suppress(OSError):
                os.close(node.fd)
            node.fd = None

    # --- the calls ---

    def changed(self, node, done, change, in_part):
        node.known = set()
        if done:
            node.contents = without_repeats([change(old) for old in node.contents])
        else:
            node.contents = without_repeats(node.contents + [new for old in node.contents for new in in_part(old)])

    def fill(self, path, node):
        """Writes into the new file, in pieces, as a copy does."""
        for _ in range(self.rng.randrange(4)):
            at, data = max(len(old) for old in node.contents), self.some_bytes(60_000)

            def call(at=at, data=data):
                with self.opened(path, os.O_WRONLY) as fd:
                    self.put(fd, data, at)
            done = self.attempt("write %s at %d, %d" % (path, at, len(data)), call)
            self.changed(node, done, lambda old, at=at, data=data: written(old, at, data), lambda old, at=at, data=data: written_in_part(old, at, data))
            if not node.is_sure:
                break

    def put(self, fd, data, at):
        """A write that is cut short is one that failed."""
        if os.pwrite(fd, data, at) != len(data):
            raise OSError(errno.EIO, "cut short")

    def sync(self):
        """It fails once for what was acknowledged before the drive went, also later, since nobody can say that it is durable."""
        path = self.pick()
        if path:
            node = self.names[path]

            def call():
                with self.opened(path, os.O_RDWR) as fd:
                    os.fsync(fd)
            calm = self.calm()
            self.attempt("fsync " + path, call, node.troubles != self.trouble.times)
            if calm == self.trouble.times: # told
                node.troubles = self.trouble.times

    def create(self):
        path, node, flags = self.new_name(), Node([b""]), [os.O_CREAT | os.O_EXCL]
        self.removed.discard(path)

        def call():
            given, flags[0] = flags[0], os.O_CREAT | os.O_TRUNC # who tries again finds it, or does not
            os.close(os.open(self.at(path), given | os.O_WRONLY, 0o644))
        if self.attempt("create " + path, call):
            self.names[path] = node
            self.fill(path, node)
        else:
            self.open_ends.append([{path: None}, {path: node}])
        return path

    def save(self):
        """As editors do: a new file over the old one."""
        to = self.pick()
        path = self.create()
        if path in self.names and to in self.names and self.names[path].is_sure:
            self.move(path, to)

    def write(self):
        path = self.pick()
        if path:
            node = self.names[path]
            at = self.rng.randrange(len(node.contents[0]) + 1)
            data = self.some_bytes(20_000)

            def call():
                with self.opened(path, os.O_RDWR) as fd:
                    self.put(fd, data, at)
            done = self.attempt("write %s at %d, %d" % (path, at, len(data)), call)
            self.changed(node, done, lambda old: written(old, at, data), lambda old: written_in_part(old, at, data))

    def append(self):
        path = self.pick()
        if path and self.names[path].is_sure:
            node, data = self.names[path], self.some_bytes(20_000)

            def call():
                with self.opened(path, os.O_WRONLY | os.O_APPEND) as fd:
                    if os.write(fd, data) != len(data):
                        raise OSError(errno.EIO, "cut short")
            done = self.attempt("append %s, %d" % (path, len(data)), call, tries=(1,)) # another one would append twice
            self.changed(node, done, lambda old: old + data, lambda old: written_in_part(old, len(old), data))

    def cut(self):
        path = self.pick()
        if path:
            node = self.names[path]
            size = self.rng.randrange(len(node.contents[0]) + 3000)
            done = self.attempt("truncate %s to %d" % (path, size), lambda: os.truncate(self.at(path), size))
            self.changed(node, done, lambda old: cut_to(old, size), lambda old: [cut_to(old, size)])

    def tag(self):
        path = self.pick()
        if path:
            node, value = self.names[path], self.rng.randbytes(8).hex().encode()
            done = self.attempt("tag %s %s" % (path, value), lambda: os.setxattr(self.at(path), TAG, value))
            node.tags = [value] if done else node.tags + [value]

    def rename(self):
        path = self.pick()
        if path:
            self.move(path, self.new_name())

    def replace(self):
        self.move(self.pick(), self.pick())

    def move(self, path, to):
        if not path or not to or path == to or self.names[path] is self.names.get(to):
            return
        node, other = self.names.pop(path), self.names.pop(to, None)
        self.removed -= {path, to}
        calm = self.calm()
        if self.attempt("rename %s to %s" % (path, to), lambda: os.rename(self.at(path), self.at(to))):
            self.names[to] = node
            self.removed.add(path)
            self.is_gone(to, other, calm)
        else:
            self.open_ends.append([{path: node, to: other}, {path: None, to: node}])
            if other:
                self.open_ends[-1].append({path: None, to: other})
                self.both[to] = (path, node)

    def calm(self):
        """Not None if all is well; the same again if nothing has been the matter since."""
        return None if self.trouble.now else self.trouble.times

    def is_gone(self, path, node, calm):
        """It was acknowledged that this is not at the path any more."""
        if node and path not in node.known and (calm is None or calm != self.trouble.times):
            self.ghosts.setdefault(path, []).append(node)
        if node and node not in self.names.values():
            self.let_go(node)

    def remove(self):
        path = self.pick()
        if path:
            node, calm = self.names.pop(path), self.calm()
            if self.attempt("unlink " + path, lambda: os.unlink(self.at(path))):
                self.removed.add(path)
                self.is_gone(path, node, calm)
            else:
                self.open_ends.append([{path: node}, {path: None}])

    def link(self):
        path = self.pick()
        if path:
            node, to = self.names[path], self.new_name()
            if self.attempt("link %s to %s" % (path, to), lambda: os.link(self.at(path), self.at(to))):
                self.names[to] = node
            else:
                # one that came late is a name of what the file was then, if it was brought to another drive meanwhile
                was = Node(list(node.contents))
                was.tags = list(node.tags)
                self.open_ends.append([{to: None}, {to: node}, {to: was}])

    def make_folder(self):
        if len(self.folders()) > 6:
            return
        path, node = self.new_name(), Node()
        if self.attempt("mkdir " + path, lambda: os.mkdir(self.at(path))):
            self.names[path] = node
        else:
            self.open_ends.append([{path: None}, {path: node}])

    def remove_folder(self):
        used = {os.path.dirname(path) for path in set(self.names) | self.doubtful() | set(self.ghosts) | set(self.both)} | {self.folder}
        empty = [path for path in self.folders() if path not in used]
        if empty:
            path = self.rng.choice(empty)
            node, calm = self.names.pop(path), self.calm()
            if self.attempt("rmdir " + path, lambda: os.rmdir(self.at(path))):
                self.removed.add(path)
                if calm is None or calm != self.trouble.times:
                    self.left.add(path)
            else:
                self.open_ends.append([{path: node}, {path: None}])

    # --- looking ---

    def look(self):
        """What can be read is right, also while something is the matter."""
        path = self.pick()
        if path:
            got = []

            def call():
                with open(self.at(path), "rb") as file:
                    got[:] = [file.read()]
            if self.attempt("read " + path, call):
                self.judge(path, self.names[path], got[0], "reads")

    def judge(self, path, node, got, what):
        if not any(got in of.contents for of in [node, *self.ghosts.get(path, [])]):
            raise Wrong("%s %s as %s" % (path, what, how_it_differs(got, node.contents)))

    def look_for_removed(self):
        removed = sorted(self.removed - set(self.ghosts))
        if removed:
            path = self.rng.choice(removed)
            self.attempt("miss " + path, lambda: self.is_missing(path))

    def is_missing(self, path):
        try:
            os.lstat(self.at(path))
        except FileNotFoundError:
            return
        raise Wrong("%s was removed, and is there" % path)

    # --- at the end, all drives are there ---

    def settle(self):
        """The mount shows what was acknowledged, and of what failed one of the ways in which it may have ended, which is what is so from here on."""
        self.lay_ghosts()
        there = set(everything_below(self.top, self.folder))
        for ways in self.open_ends:
            fit = [way for way in ways if all(self.fits(there, path, node) for path, node in way.items())]
            if not fit:
                raise Wrong("none of the ways: %s; there: %s" % (
                    [{path: node and ("folder" if node.is_folder else [len(c) for c in node.contents]) for path, node in way.items()} for way in ways],
                    {path: path in there and os.path.isfile(self.at(path)) and os.path.getsize(self.at(path)) for way in ways for path in way}))
            self.names.update({path: node for path, node in fit[0].items() if node})
            self.removed.update(path for path, node in fit[0].items() if not node)
        self.open_ends = []
        self.clear_both()
        self.clear_left()
        there = set(everything_below(self.top, self.folder))
        missing, extra = sorted(set(self.names) - there), sorted(there - set(self.names))
        if missing or extra:
            raise Wrong("missing: %s; not to be there: %s (removed: %s)" % (missing, extra, sorted(set(extra) & self.removed)))
        for path, node in self.names.items():
            if not node.is_folder:
                self.settle_file(path, node)

    def clear_left(self):
        """A folder that a missing drive got after the last sync, for something new in it, is there again, and is empty (README)."""
        for path in sorted(self.left - set(self.names), reverse=True):
            if os.path.isdir(self.at(path)):
                os.rmdir(self.at(path)) # ENOTEMPTY: what is in it has come back
                self.came_back += 1
        self.left = set()

    def lay_ghosts(self):
        """What nobody knew of is back, and shows by its name, or is hidden by what has that now. All of that goes, and whatever was to have
        that name in a call that failed."""
        for path, ghosts in self.ghosts.items():
            if os.path.lexists(self.at(path)):
                got, node = read(self.at(path)), self.names.get(path)
                if not any(got in of.contents for of in ghosts + ([node] if node else []) + self.may_be_at(path)):
                    raise Wrong("%s is neither what has that name nor what had it" % path)
                self.came_back += 1
        paths = set(self.ghosts)
        for ways in [ways for ways in self.open_ends if any(paths & set(way) for way in ways)]:
            paths |= {path for way in ways for path in way}
            self.open_ends.remove(ways)
        self.clear(paths)
        self.both = {to: renamed for to, renamed in self.both.items() if to not in paths}
        self.ghosts = {}

    def clear(self, paths):
        """Of all that has these names, one after another; gives what it was."""
        went = {path: [] for path in paths}
        for path in paths:
            while os.path.lexists(self.at(path)):
                went[path].append(read(self.at(path)))
                os.unlink(self.at(path))
            self.names.pop(path, None)
        self.removed |= set(paths)
        return went

    def clear_both(self):
        """What was renamed is by the one name or by the other, whichever file shows there."""
        made = {to: (path, node) for to, (path, node) in self.both.items() if path not in self.names}
        went = self.clear(self.both)
        for to, (path, node) in made.items():
            if not any(got in node.contents for got in went[to]):
                raise Wrong("what was %s is not there any more, and not at %s, where there were %s" % (path, to, [len(got) for got in went[to]]))
        self.both = {}

    def may_be_at(self, path):
        return [way[path] for ways in self.open_ends for way in ways if way.get(path)]

    def fits(self, there, path, node):
        if node is None or path not in there:
            return (node is None) == (path not in there)
        if node.is_folder or os.path.isdir(self.at(path)):
            return node.is_folder and os.path.isdir(self.at(path))
        return read(self.at(path)) in node.contents

    def settle_file(self, path, node):
        got, tag = read(self.at(path)), tag_of(self.at(path))
        self.judge(path, node, got, "is there")
        if tag not in node.tags:
            raise Wrong("%s is tagged %s, not %s" % (path, tag, node.tags))
        node.contents, node.tags = [got], [tag]

    def check_names(self):
        """All names of a file are of one file, and there are no others; to be asked when nothing is kept any more."""
        names = {}
        for path, node in self.names.items():
            names.setdefault(node, []).append(path)
        for node, paths in names.items():
            seen = {(os.stat(self.at(path)).st_ino, os.stat(self.at(path)).st_nlink) for path in paths}
            node.known = set(paths)
            if not node.is_folder and (len(seen) != 1 or {nlink for _, nlink in seen} != {len(paths)}):
                raise Wrong("names %s: numbers and counts of names %s" % (paths, seen))


def everything_below(top, folder):
    """Paths from the top, the folder's own included."""
    if os.path.isdir(os.path.join(top, folder)):
        yield folder
    for at, folders, files in os.walk(os.path.join(top, folder)):
        for name in folders + files:
            yield os.path.relpath(os.path.join(at, name), top)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def tag_of(path):
    try:
        return os.getxattr(path, TAG)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return None


def how_it_differs(got, versions):
    """From each: sizes, and where the first and the last other byte are."""
    def of(version):
        other = [i for i in range(min(len(got), len(version))) if got[i] != version[i]]
        return "%d bytes" % len(version) + (", others from %d to %d" % (other[0], other[-1]) if other else "")
    return "%d bytes, and may be %s" % (len(got), "; or ".join(of(version) for version in versions[:4]))


def is_file(path):
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
