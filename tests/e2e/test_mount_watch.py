# SPDX-License-Identifier: GPL-3.0-or-later
"""What is changed on the drives shows through the mount: told of by fanotify or by inotify, past the limits of both, and where nobody tells."""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from edits import Edits, Storing, all_in_time, reading, run_all
from loops import loops, need_loops
from libfuse import counted
from mounts import mounts, need_fuse, sources, until
from namespaces import LET_GO, env_of
from places import places
from test_mount import World

HERE = pathlib.Path(__file__).parent


LIMIT = """
trap "" HUP INT TERM
exec 9< "$1" && flock 9 && before=$(cat "$1") && echo "$2" > "$1" && echo lowered
cat > /dev/null
test -n "$before" && echo "$before" > "$1"
"""


@contextlib.contextmanager
def limit(name, value):
    """A limit of the system's, lowered for as long as this lasts. Other tests that do so wait. A process of its own puts it back when nobody holds
    its pipe any more, however we end."""
    keeper = subprocess.Popen(["sh", "-c", LIMIT, "sh", "/proc/sys/fs/" + name, str(value)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert keeper.stdout.readline() == b"lowered\n"
        yield
    finally:
        keeper.stdin.close()
        keeper.stdout.close()
        assert keeper.wait(60) == 0


def test_a_limit_is_put_back():
    """Also where who lowered it is killed."""
    if os.geteuid() != 0:
        pytest.skip("the system's limits are root's")
    at = pathlib.Path("/proc/sys/fs/inotify/max_queued_events")
    with open(at, encoding="ascii") as ours:
        fcntl.flock(ours, fcntl.LOCK_SH) # no other test has it lowered
        before = int(at.read_text())
    child = os.fork()
    if not child:
        try:
            with limit("inotify/max_queued_events", before - 1):
                signal.pause()
        finally:
            os._exit(1)
    try:
        until(lambda: int(at.read_text()) == before - 1)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        until(lambda: int(at.read_text()) == before)


class Watching(World):
    """A world whose mounts get events from the source that is wanted; None: from whichever they like."""

    def __init__(self, mrmr, mount, make, source=None):
        super().__init__(mrmr, mount, make)
        self.make, self.source = make, source

    def start(self, by_inotify=0):
        """inotify is what is left where no more fanotify groups are to be had, and for so many drives anyway."""
        with limit("fanotify/max_user_groups", 0) if self.source == "inotify" else contextlib.nullcontext():
            self.mount = self.make_mount()
        if self.source:
            by_inotify = len(self.drives) if self.source == "inotify" else by_inotify
            expected = {"inotify": by_inotify, "fanotify": len(self.drives) - by_inotify}
            assert self.sources() == {source: n for source, n in expected.items() if n}

    def sources(self):
        return sources(self.mount)


def mounting(mount):
    """The process that serves it: the command becomes another program."""
    return mount.process.pid


@pytest.fixture(name="world", params=["fanotify", "inotify"])
def make_world(request, mrmr, tmp_path):
    need_fuse()
    need_loops()
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        yield Watching(mrmr, mount, make, request.param)


def test_every_change_in_time(world):
    """On each file system, whoever tells."""
    edits = {name: Edits(world.on(name), None, "edits on " + name) for name in world.drives}
    world.start()
    for on_it in edits.values():
        on_it.point = world.at()
    run_all(edits)


def test_changes_on_the_drives_are_seen(world):
    """The kernel keeps what it saw for as long as it likes, and yet every change shows."""
    world.write("red", "a/one", b"old")
    world.write("green", "a/two", b"two")
    world.write("blue", "a/b/three", b"three")
    world.start()
    for folder, _, files in os.walk(world.at()):
        for name in files:
            assert os.path.getsize(os.path.join(folder, name)) >= 0
    with pytest.raises(FileNotFoundError):
        world.read("a/new")
    world.write("blue", "a/new", b"made")
    world.shows("a/new", b"made")
    world.write("red", "a/one", b"a longer text")
    world.shows("a/one", b"a longer text")
    with open(world.on("red", "a/one"), "r+b") as file: # the size stays
        file.write(b"A LONGER")
        file.flush()
        world.shows("a/one", b"A LONGER text")
    os.unlink(world.on("green", "a/two"))
    world.shows("a/two", None)
    os.rename(world.on("red", "a/one"), world.on("red", "a/two"))
    world.shows("a/one", None)
    world.shows("a/two", b"A LONGER text")
    os.chmod(world.on("blue", "a/new"), 0o600)
    until(lambda: os.stat(world.at("a/new")).st_mode & 0o777 == 0o600)
    os.utime(world.on("blue", "a/new"), ns=(5, 5))
    until(lambda: os.stat(world.at("a/new")).st_mtime_ns == 5)
    # A folder that another drive gets, too; that one loses; that is moved.
    world.write("green", "a/b/four", b"four")
    world.shows("a/b/four", b"four")
    until(lambda: sorted(os.listdir(world.at("a/b"))) == ["four", "three"])
    shutil.rmtree(world.on("blue", "a/b"))
    until(lambda: os.listdir(world.at("a/b")) == ["four"])
    world.shows("a/b/three", None)
    os.rename(world.on("green", "a/b"), world.on("green", "moved"))
    world.shows("moved/four", b"four")
    world.shows("a/b/four", None)
    until(lambda: sorted(os.listdir(world.at())) == ["a", "moved"])
    world.write("green", "moved/five", b"5")
    world.shows("moved/five", b"5")
    shutil.rmtree(world.on("green", "moved"))
    world.shows("moved/five", None)
    # Replaced: a file by a folder, and back.
    os.unlink(world.on("blue", "a/new"))
    world.write("blue", "a/new/inside", b"in")
    world.shows("a/new/inside", b"in")
    shutil.rmtree(world.on("blue", "a/new"))
    world.write("blue", "a/new", b"a file")
    world.shows("a/new", b"a file")


def test_a_list_that_is_kept(world):
    """The kernel keeps a folder's list, and may know nothing of a name that comes or goes: nobody asked for it."""
    for name in ("one", "gone"):
        world.write("red", "a/" + name, b"1")
    world.start()
    for _ in range(2):
        assert sorted(os.listdir(world.at("a"))) == ["gone", "one"]
    world.write("red", "a/new", b"2")
    until(lambda: sorted(os.listdir(world.at("a"))) == ["gone", "new", "one"], 10)
    os.unlink(world.on("red", "a/gone"))
    until(lambda: sorted(os.listdir(world.at("a"))) == ["new", "one"], 10)


def test_a_working_folder_is_told_what_another_drive_brings(world):
    """A process that sits in a folder looks nothing up above it, and still sees a copy that appears."""
    world.write("red", "a/one", b"1")
    world.start()
    here = os.open(world.at("a"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.listdir(here) == ["one"]
        with pytest.raises(FileNotFoundError):
            os.stat("two", dir_fd=here)
        world.write("blue", "a/two", b"2")
        until(lambda: sorted(os.listdir(here)) == ["one", "two"])
        assert os.stat("two", dir_fd=here).st_size == 1
    finally:
        os.close(here)


def test_hard_links_on_a_drive(world):
    """A write through another name, in a folder nobody looked into, shows after a second at most."""
    world.write("red", "a/one", b"old")
    os.makedirs(world.on("red", "b"))
    os.link(world.on("red", "a/one"), world.on("red", "b/other"))
    world.start()
    assert world.read("a/one") == b"old" and os.stat(world.at("a/one")).st_nlink == 2
    with open(world.on("red", "b/other"), "ab") as file:
        file.write(b", and new")
    world.shows("a/one", b"old, and new")
    os.unlink(world.on("red", "a/one"))
    world.shows("a/one", None)
    assert world.read("b/other") == b"old, and new"


def test_nobody_stores(mrmr, tmp_path):
    """What is open and written by nobody is asked of nobody again, while another file, into which somebody stores, is looked at time and
    again."""
    need_fuse()
    with places(mrmr, tmp_path) as place:
        for name in ("red", "green", "blue"):
            place.add(name, "ext4")
        for name in ("quiet", "stored"):
            pathlib.Path(place.drives["red"].root, name).write_bytes(b"as it was")
        with counted(place) as (point, _), reading(point / "quiet") as quiet, reading(point / "stored") as reader, \
                Storing(os.path.join(place.drives["red"].root, "stored")) as storing:
            def all_of(file, fd):
                return os.pread(fd, 100, 0), file[:], os.stat(fd).st_size
            number, before = os.stat(quiet[0]).st_ino, all_of(quiet[1], quiet[0])
            at = os.path.getsize(place.folder / "requests")
            for i in range(4):
                storing.store(b"%d" % i)
                until(lambda i=i: os.pread(reader[0], 1, 0) == b"%d" % i)
                assert all_of(quiet[1], quiet[0]) == before
            asked = (place.folder / "requests").read_bytes()[at:].decode()
            assert asked.count("READ (15), nodeid: %d," % os.stat(reader[0]).st_ino) >= 4
            assert "nodeid: %d," % number not in asked
        place.check_all()


def test_ten_thousand_files_at_once(world):
    """Made on a drive, faster than anyone looks; all of them show, and as they are."""
    count = 10_000
    world.write("red", "f/before", b"")
    world.start()
    assert os.listdir(world.at("f")) == ["before"] and not os.path.exists(world.at("f/17"))
    start = time.monotonic()
    for i in range(count):
        with open(world.on("red", "f/%d" % i), "wb") as file:
            file.write(b"%d" % i)
    made = time.monotonic()
    until(lambda: len(os.listdir(world.at("f"))) == count + 1)
    print("made in %.1f s, all seen %.1f s later" % (made - start, time.monotonic() - made))
    for i in range(0, count, 10):
        assert world.read("f/%d" % i) == b"%d" % i
    for i in range(0, count, 2):
        os.unlink(world.on("red", "f/%d" % i))
    until(lambda: set(os.listdir(world.at("f"))) == {"before"} | {str(i) for i in range(1, count, 2)})


def test_more_changes_than_are_told(world):
    """Where changes come faster than the system keeps word of them, everything is looked at anew."""
    for i in range(10):
        world.write("red", "d%d/x" % i, b"old")
    with limit(world.source + "/max_queued_events", 4):
        world.start()
    for i in range(10):
        assert world.read("d%d/x" % i) == b"old"
    for n in range(30):
        for i in range(10):
            world.write("red", "d%d/%d" % (i, n), b"%d" % n)
            world.write("red", "d%d/x" % i, b"new %d" % n)
    for i in range(10):
        world.shows("d%d/x" % i, b"new 29")
        until(lambda i=i: len(os.listdir(world.at("d%d" % i))) == 31)
        assert world.read("d%d/17" % i) == b"17"


@pytest.mark.parametrize("world", ["inotify"], indirect=True)
def test_what_the_kernel_forgets_is_not_watched(world):
    """A watch lasts no longer than what the kernel keeps of its folder; what is looked at again is watched again."""
    for i in range(60):
        world.write("red", "of many/%d/file" % i, b"1")
    world.start()

    def watches():
        folder = pathlib.Path("/proc/%d/fdinfo" % mounting(world.mount))
        return sum(file.read_text().count("inotify wd:") for file in folder.iterdir() if file.exists())

    def forgotten():
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("2\n")
        return watches() < 20
    few = watches()
    for i in range(60):
        assert os.listdir(world.at("of many/%d" % i)) == ["file"]
    assert watches() >= few + 60
    until(forgotten)
    world.shows("of many/7/file", b"1")
    world.write("red", "of many/7/file", b"another")
    world.shows("of many/7/file", b"another")


def test_past_the_limit_of_watches(world):
    """Where the system gives no more watches, changes are looked for once a second; fanotify takes none of them."""
    for i in range(40):
        world.write("red", "d%02d/x" % i, b"old")
        world.write("red", "d%02d/over" % i, b"old")
    world.start()
    made, took = {}, []
    with limit("inotify/max_user_watches", 10):
        for i in range(40):
            assert world.read("d%02d/x" % i) == b"old" and not os.path.exists(world.at("d%02d/y" % i))
        for i in range(40):
            world.write("red", "d%02d/x" % i, b"newer")
            world.write("green", "d%02d/y" % i, b"y")
            world.write("red", "d%02d/z" % i, b"new")
            os.rename(world.on("red", "d%02d/z" % i), world.on("red", "d%02d/over" % i))
            made[i] = time.monotonic()

        def all_are_seen():
            """By little, so that a busy machine does not take longer for looking than they took to show."""
            for i in list(made):
                if os.path.exists(world.at("d%02d/y" % i)) and os.stat(world.at("d%02d/x" % i)).st_size == 5:
                    took.append(("d%02d" % i, time.monotonic() - made.pop(i)))
            return not made
        until(all_are_seen)
        for i in range(40):
            world.shows("d%02d/x" % i, b"newer")
            world.shows("d%02d/over" % i, b"new")
            until(lambda i=i: sorted(os.listdir(world.at("d%02d" % i))) == ["over", "x", "y"])
        all_in_time(took, "past the limit", told=False)


def test_btrfs_subvolumes(world):
    """A subvolume below a root is left out like a file system that is mounted there; one that is a root is a drive."""
    btrfs = shutil.which("btrfs")
    if not btrfs:
        pytest.skip("btrfs-progs are not installed")

    def subvolume(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run([btrfs, "-q", "subvolume", "create", path], check=True, timeout=60)
    subvolume(world.on("blue", "a/sub"))
    world.write("blue", "a/sub/inside", b"not of the pool")
    world.write("blue", "a/file", b"of the pool")
    own = os.path.join(world.make("grey", "btrfs", 128).root, "own")
    subvolume(own)
    os.makedirs(os.path.join(own, "a"))
    world.mrmr.run("add-drive", own)
    world.drives["own"] = own
    world.mrmr.run("sync")
    world.start(by_inotify=1) # fanotify watches no subvolume as a whole
    assert os.listdir(world.at("a")) == ["file"] and not os.path.exists(world.at("a/sub"))
    assert "inside" not in world.mrmr.run("ls", "-r", code=None).stdout
    with open(os.path.join(own, "a/of its own"), "wb") as file:
        file.write(b"seen")
    world.shows("a/of its own", b"seen")
    world.write("blue", "a/sub/later", b"not of the pool")
    subvolume(world.on("blue", "a/later"))
    world.write("blue", "a/later/inside", b"not of the pool")
    world.write("blue", "a/last", b"of the pool")
    world.shows("a/last", b"of the pool")
    assert sorted(os.listdir(world.at("a"))) == ["file", "last", "of its own"]
    # What was a folder of the pool, and is a subvolume now.
    world.write("blue", "b/x", b"of the pool")
    world.shows("b/x", b"of the pool")
    shutil.rmtree(world.on("blue", "b"))
    subvolume(world.on("blue", "b"))
    world.write("blue", "b/x", b"not of the pool")
    until(lambda: not os.path.exists(world.at("b")))
    with pytest.raises(FileNotFoundError):
        world.read("b/x")


def test_what_others_change_elsewhere(mrmr, tmp_path):
    """A drive on a FUSE file system tells of no changes past it: they are seen after remote-ttl, and not looked for before."""
    need_fuse()
    need_loops()
    if not shutil.which("bindfs"):
        pytest.skip("bindfs is not installed")
    far, through, ttl = tmp_path / "far", tmp_path / "through", 3
    (far / "f").mkdir(parents=True)
    through.mkdir()
    (far / "f/old").write_bytes(b"old")
    bindfs = subprocess.Popen(["bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0", far, through])
    try:
        until(lambda: os.path.ismount(through))
        with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
            world = Watching(mrmr, mount, make)
            world.write("red", "f/near", b"near")
            mrmr.run("add-drive", through, code=None)
            mrmr.run("set", "remote-ttl", str(ttl))
            world.start()
            assert sum(world.sources().values()) == 3
            took = {}

            def seen(what, ask):
                start = time.monotonic()
                until(ask)
                took[what] = time.monotonic() - start
            start = time.monotonic()
            assert sorted(os.listdir(world.at("f"))) == ["near", "old"] and not os.path.exists(world.at("f/new"))
            assert world.read("f/old") == b"old"
            (far / "f/new").write_bytes(b"new")
            seen("create", lambda: os.path.exists(world.at("f/new")) and "new" in os.listdir(world.at("f")))
            assert time.monotonic() - start >= ttl
            (far / "f/old").write_bytes(b"longer than old")
            seen("write", lambda: os.stat(world.at("f/old")).st_size == 15 and world.read("f/old") == b"longer than old")
            os.chmod(far / "f/old", 0o600)
            seen("chmod", lambda: os.stat(world.at("f/old")).st_mode & 0o777 == 0o600)
            os.unlink(far / "f/old")
            seen("unlink", lambda: not os.path.exists(world.at("f/old")) and "old" not in os.listdir(world.at("f")))
            world.write("red", "f/nearer", b"nearer")
            seen("create where events come from", lambda: os.path.exists(world.at("f/nearer")))
            print({what: round(seconds, 2) for what, seconds in took.items()})
            assert max(took.values()) < ttl + float(os.environ.get("MRMR_SLACK", "4"))
            world.mount.stop()
    finally:
        subprocess.run(["umount", "-l", through], check=False)
        bindfs.wait(20)


def test_every_change_in_time_for_a_user():
    """An ordinary user's mount of drives on each file system has inotify."""
    need_fuse()
    need_loops()
    for program in ("unshare", "setpriv"):
        if not shutil.which(program):
            pytest.skip(program + " is not installed")
    user = pwd.getpwnam("nobody")
    programs = pathlib.Path(os.environ["MRMR_BIN"]).parent
    with tempfile.TemporaryDirectory(prefix="mrmr-user-", dir="/tmp", ignore_cleanup_errors=True) as folder, loops(folder) as make:
        drives = [make(name, fs, 320 if fs == "xfs" else 128).root for name, fs in (("red", "ext4"), ("green", "xfs"), ("blue", "btrfs"))]
        for name in ("mrmr", "mrmr-mount"):
            shutil.copy(programs / name, folder)
        for name in ("edits.py", "mounts.py", "stuck.py"):
            shutil.copy(HERE / name, folder)
        for path in (folder, *drives):
            os.chown(path, user.pw_uid, user.pw_gid)
        script = """set -e
""" + LET_GO + """mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse
exec setpriv --reuid "$1" --regid "$2" --clear-groups -- sh -ec '
python="$1"; shift
for drive in "$@"; do ./mrmr add-drive "$drive"; done
mkdir point; ./mrmr mount point
"$python" -B edits.py "$@" "$PWD/point" || failed=yes
./mrmr umount point
test -z "$failed"' sh "$3" "${@:4}" """
        done = subprocess.run(["unshare", "-m", "bash", "-c", script, "bash", str(user.pw_uid), str(user.pw_gid), sys.executable, *drives],
                              cwd=folder, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL,
                              env=env_of(folder, MRMR_POOL=os.path.join(folder, "pool"), HOME=folder, PYTHONUNBUFFERED="1"))
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_hundred_thousand_entries(mrmr, tmp_path):
    """One folder over four drives: places in its list stay while files come and go on the drives and through the mount, from open to open."""
    need_fuse()
    need_loops()
    count = int(os.environ.get("MRMR_FILES", "12000"))
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = Watching(mrmr, mount, make)
        for name in ("grey", "black"): # with inodes enough, of which a file system of 64 MB has 16,000
            world.drives[name] = make(name, "ext4", 512)
            mrmr.run("add-drive", world.on(name))
        drives = [name for name in world.drives if name != "red"]
        for drive in drives:
            os.makedirs(world.on(drive, "f"))
        steady = ["file %d" % i for i in range(count)]
        for i, name in enumerate(steady):
            os.close(os.open(world.on(drives[i % 4], "f/" + name), os.O_CREAT | os.O_WRONLY))
        world.start()
        for which in ("first", "second"):
            start = time.monotonic()
            subprocess.run(["ls", "-lR", world.at()], check=True, stdout=subprocess.DEVNULL, timeout=1800)
            print("ls -lR of %d files on 4 drives, the %s time: %.2f s" % (count, which, time.monotonic() - start))
        come, seen = 0, []
        for name, _ in in_pieces(world.at("f"), 200): # each piece by an open of its own
            seen.append(name)
            if len(seen) % (count // 20) == 0:
                folder = world.at("f") if come % 2 else world.on(drives[come % 4], "f")
                with open(os.path.join(folder, "coming %d" % come), "wb") as file:
                    file.write(b"%d" % come)
                until(lambda name="f/coming %d" % come: os.path.exists(world.at(name)))
                if come:
                    name = "f/coming %d" % (come - 1)
                    os.unlink(world.at(name) if come % 3 else whole_path(world, name))
                come += 1
        assert come >= 19
        assert len(seen) == len(set(seen)) and set(steady) <= set(seen) and "." in seen
        until(lambda: set(os.listdir(world.at("f"))) == {*steady, "coming %d" % (come - 1)})
        # Through the mount: written, renamed and removed in the folder as it is.
        for i in range(0, 400, 4):
            with open(world.at("f/file %d" % i), "ab") as file:
                file.write(b"more")
            os.rename(world.at("f/file %d" % (i + 1)), world.at("f/renamed %d" % i))
            os.unlink(world.at("f/file %d" % (i + 2)))
        names = set(os.listdir(world.at("f")))
        assert len(names) == count + 1 - 100 and "renamed 396" in names and "file 397" not in names and "file 398" not in names
        assert os.stat(world.at("f/file 396")).st_size == 4


def whole_path(world, path):
    """Where it lies."""
    return next(world.on(drive, path) for drive in world.drives if os.path.lexists(world.on(drive, path)))


def in_pieces(folder, most):
    """Names and places of a folder's list, of which every piece goes on where the one before ended, in a new open of the folder."""
    class Entry(ctypes.Structure):
        _fields_ = [("ino", ctypes.c_uint64), ("place", ctypes.c_int64), ("size", ctypes.c_ushort), ("kind", ctypes.c_ubyte),
                    ("name", ctypes.c_char * 256)]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fdopendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.readdir.argtypes = libc.closedir.argtypes = libc.seekdir.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    place = 0
    while True:
        dir = libc.fdopendir(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        try:
            if place:
                libc.seekdir(dir, place)
            for _ in range(most):
                entry = libc.readdir(dir)
                if not entry:
                    return
                found = Entry.from_address(entry)
                place = found.place
                yield os.fsdecode(found.name), place
        finally:
            libc.closedir(dir)
