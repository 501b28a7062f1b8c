# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount, on real file systems: what it shows, how soon it shows what changes on the drives, and that it goes away cleanly."""
import ctypes
import errno
import fcntl
import os
import shutil
import stat
import subprocess

import pytest

from loops import loops, need_loops
from mounts import is_mounted, mounts, need_fuse, until
from trees import differences, record

FILES = int(os.environ.get("MRMR_FILES", "12000"))


class World:
    """Three drives of three kinds, mounted in one tree."""

    def __init__(self, mrmr, mount, make):
        self.mrmr, self.make_mount = mrmr, mount
        self.drives = {}
        # ext4 has one inode for 4 KiB of such a small file system.
        sizes = {"ext4": 64 if FILES <= 12000 else 64 + FILES // 250, "xfs": 320, "btrfs": 128}
        for name, fs in (("red", "ext4"), ("green", "xfs"), ("blue", "btrfs")):
            self.drives[name] = make(name, fs, sizes[fs])
            mrmr.run("add-drive", self.drives[name].root)
        self.mount = None

    def on(self, drive, path=""):
        return os.path.join(self.drives[drive].root, path)

    def at(self, path=""):
        return os.path.join(self.mount.point, path)

    def write(self, drive, path, data):
        whole = self.on(drive, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "wb") as file:
            file.write(data)
        return whole

    def read(self, path):
        with open(self.at(path), "rb") as file:
            return file.read()

    def shows(self, path, data):
        """The mount comes to show these bytes; None: no such file."""
        def look():
            try:
                return self.read(path) == data
            except FileNotFoundError:
                return data is None
            except (IsADirectoryError, NotADirectoryError): # what was there before
                return False
        until(look)


@pytest.fixture(name="world")
def make_world(mrmr, tmp_path):
    need_fuse()
    need_loops()
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, mount, make)
        yield world


def test_one_tree(world):
    """Every file, folder, link and attribute of every drive, once, and nothing of ours."""
    world.write("red", "a/one", b"1" * 3_000_000)
    world.write("green", "a/two", b"2")
    world.write("blue", "a/deep/er/three", b"3")
    os.symlink("one", world.on("green", "a/link"))
    os.link(world.on("red", "a/one"), world.on("red", "a/again"))
    os.mkfifo(world.on("blue", "a/fifo"), 0o640)
    os.chown(world.on("green", "a/two"), 1234, 4321)
    os.chmod(world.on("green", "a/two"), 0o4751)
    os.utime(world.on("green", "a/two"), ns=(1_500_000_000_123_456_789, 1_400_000_000_987_654_321))
    os.setxattr(world.on("green", "a/two"), "user.colour", b"red")
    os.makedirs(world.on("red", "empty"))
    world.write("red", "lost+found/x", b"")
    world.write("red", ".Trash-0/x", b"")
    world.write("blue", "\udcff\n %%", b"odd")
    world.write("blue", "n" * 255, b"long")
    world.mount = world.make_mount()
    assert sorted(os.listdir(world.at())) == sorted(["a", "empty", "\udcff\n %%", "n" * 255])
    assert sorted(os.listdir(world.at("a"))) == ["again", "deep", "fifo", "link", "one", "two"]
    for name in ("one", "two"):
        drive = "red" if name == "one" else "green"
        here, there = os.lstat(world.at("a/" + name)), os.lstat(world.on(drive, "a/" + name))
        for field in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns", "st_blocks"):
            assert getattr(here, field) == getattr(there, field), (name, field)
    assert os.stat(world.at("a/one")).st_ino == os.stat(world.at("a/again")).st_ino
    assert os.readlink(world.at("a/link")) == "one" and world.read("a/link") == b"1" * 3_000_000
    assert stat.S_ISFIFO(os.lstat(world.at("a/fifo")).st_mode)
    assert os.listxattr(world.at("a/two")) == ["user.colour"]
    assert os.getxattr(world.at("a/two"), "user.colour") == b"red"
    assert world.read("a/deep/er/three") == b"3" and world.read("\udcff\n %%") == b"odd"
    for path, why in ((".mrmr", errno.ENOENT), (".mrmr/drive", errno.ENOENT), ("lost+found", errno.ENOENT),
                      ("nothing", errno.ENOENT), ("a/two/x", errno.ENOTDIR), ("x" * 256, errno.ENAMETOOLONG)):
        with pytest.raises(OSError) as failed:
            os.lstat(world.at(path))
        assert failed.value.errno == why, path
    with pytest.raises(OSError) as failed:
        os.getxattr(world.at("a/two"), "user.nothing")
    assert failed.value.errno == errno.ENODATA


def test_a_read_only_mount(world):
    """Whatever would change something is refused, and nothing has changed."""
    world.write("red", "a/one", b"1")
    before = record(world.on("red"))
    world.mount = world.make_mount("m", "-o", "ro")
    for change in (lambda: open(world.at("new"), "w"), lambda: open(world.at("a/one"), "r+"), lambda: os.mkdir(world.at("b")),
                   lambda: os.unlink(world.at("a/one")), lambda: os.rename(world.at("a"), world.at("b")),
                   lambda: os.chmod(world.at("a"), 0o700), lambda: os.utime(world.at("a/one")),
                   lambda: os.setxattr(world.at("a/one"), "user.x", b"")):
        with pytest.raises(OSError) as failed:
            change()
        assert failed.value.errno == errno.EROFS
    world.mount.stop()
    assert differences(before, record(world.on("red"))) == []


def is_free(mrmr):
    """Nobody has the lock of the pool's mount, which he has until he has let go of the drives."""
    with open(mrmr.dir / "mounted", "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_unmounted_and_mounted_at_once(world, mrmr, tmp_path):
    """Who unmounts is told when it is over: the drives can go, and the pool be mounted anew. umount(8) does not know of that, and who mounts waits."""
    point, besides = tmp_path / "m", tmp_path / "besides"
    point.mkdir()
    besides.mkdir()
    try:
        for _ in range(8):
            mrmr.run("mount", point)
            mrmr.run("umount", point)
            assert is_free(mrmr)
        for _ in range(4):
            mrmr.run("mount", point)
            subprocess.run(["umount", point], check=True)
        # Where it is mounted besides: the process goes on, and nobody waits for it.
        mrmr.run("mount", point)
        subprocess.run(["mount", "--bind", point, besides], check=True)
        assert mrmr.run("umount", besides).stderr == ""
        assert is_mounted(point) and not is_mounted(besides)
        mrmr.run("umount", point)
        assert is_free(mrmr)
    finally:
        subprocess.run(["umount", "-l", besides], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["umount", "-l", point], check=False, stderr=subprocess.DEVNULL)
        until(lambda: is_free(mrmr))
    assert world.drives


def test_one_path_on_several_drives(world):
    """The newest shows; where a folder and a file meet, the folder."""
    os.utime(world.write("red", "x", b"red"), ns=(10, 10))
    os.utime(world.write("green", "x", b"green"), ns=(20, 20))
    os.utime(world.write("blue", "x", b"blue"), ns=(15, 15))
    world.write("red", "y", b"a file")
    world.write("green", "y/z", b"in a folder")
    world.mount = world.make_mount()
    assert world.read("x") == b"green"
    assert sorted(os.listdir(world.at())) == ["x", "y"] and world.read("y/z") == b"in a folder"
    world.mrmr.run("sync", code=None)
    # One that appears after the catalog saw the others is newer, whatever its date.
    os.unlink(world.on("red", "x"))
    os.utime(world.write("red", "x", b"late"), ns=(1, 1))
    world.mrmr.run("sync", code=None)
    world.shows("x", b"late")
    os.unlink(world.on("green", "y/z"))
    os.rmdir(world.on("green", "y"))
    world.shows("y", b"a file")


def test_a_drive_that_is_added(world):
    """It shows in the mount that is there, watched like the others; names that were missing are there."""
    world.write("red", "both/old", b"1")
    world.mount = world.make_mount()
    assert os.listdir(world.at()) == ["both"] and not os.path.exists(world.at("both/new"))
    late = world.mrmr.folder / "late"
    os.makedirs(late / "both")
    (late / "both/new").write_bytes(b"2")
    (late / "alone").write_bytes(b"3")
    world.mrmr.run("add-drive", late)
    until(lambda: os.path.exists(world.at("both/new")))
    assert sorted(os.listdir(world.at())) == ["alone", "both"]
    assert sorted(os.listdir(world.at("both"))) == ["new", "old"]
    assert world.read("both/new") == b"2" and world.read("alone") == b"3"
    assert os.getxattr(world.at("alone"), "user.mrmr.drive") == b"late"
    (late / "both/newer").write_bytes(b"4")
    world.shows("both/newer", b"4")
    world.mrmr.run("sync")
    assert b"survives" in os.getxattr(world.at("both/new"), "user.mrmr.protection")


def test_numbers_stay(world):
    """Inode numbers are the same after a restart, and after a rename on the drive; a handle still opens."""
    world.write("red", "a/one", b"1")
    world.write("green", "a/two", b"2")
    world.mrmr.run("sync")
    world.mount = world.make_mount()
    paths = ["", "a", "a/one", "a/two"]
    before = [os.stat(world.at(path)).st_ino for path in paths]
    assert len(set(before)) == 4
    world.mount.stop()
    world.mount.start()
    assert [os.stat(world.at(path)).st_ino for path in reversed(paths)] == before[::-1]
    os.rename(world.on("red", "a/one"), world.on("red", "renamed"))
    world.shows("renamed", b"1")
    assert os.stat(world.at("renamed")).st_ino == before[2]


def handle(path):
    """name_to_handle_at and open_by_handle_at, of which Python knows nothing."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)

    class Handle(ctypes.Structure):
        _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
    made, mount = Handle(128), ctypes.c_int()
    if libc.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(made), ctypes.byref(mount), 0):
        raise OSError(ctypes.get_errno(), "name_to_handle_at")

    def reopen(folder):
        fd = libc.open_by_handle_at(folder, ctypes.byref(made), os.O_RDONLY)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "open_by_handle_at")
        return fd
    return reopen


def test_file_handles_outlive_the_process(world):
    """What NFS does: a handle that was given out before a restart opens the file after it."""
    world.write("red", "a/b/one", b"the bytes")
    world.mrmr.run("sync")
    world.mount = world.make_mount()
    reopen = handle(world.at("a/b/one"))
    world.mount.stop()
    world.mount.start()
    root = os.open(world.at(), os.O_RDONLY)
    try:
        with open(reopen(root), "rb") as file:
            assert file.read() == b"the bytes"
        os.unlink(world.on("red", "a/b/one"))
        world.shows("a/b/one", None)
        with pytest.raises(OSError):
            reopen(root)
    finally:
        os.close(root)


def test_handles_of_what_no_scan_has_seen(world):
    """The same of files that came since, through the mount or on a drive, and of one that was renamed."""
    for path in ("a/b/known", "a/other", "deep/er/est/known", "to be renamed"):
        world.write("red", path, path.encode())
    world.mrmr.run("sync")
    world.mount = world.make_mount()
    paths = ["a/b/new", "deep/er/est/new", "made/below/new", "a/b/renamed", "on green/new", "on blue/new", "gone"]
    for path in paths:
        if path.startswith("on "):
            world.write(path.split("/", maxsplit=1)[0][3:], path, path.encode())
            world.shows(path, path.encode())
        elif path == "a/b/renamed":
            os.rename(world.at("to be renamed"), world.at(path))
        else:
            os.makedirs(os.path.dirname(world.at(path)), exist_ok=True)
            with open(world.at(path), "wb") as file:
                file.write(path.encode())
    handles = {path: handle(world.at(path)) for path in [*paths, "made/below"]}
    numbers = {path: os.stat(world.at(path)).st_ino for path in handles}
    world.mount.stop()
    os.unlink(next(world.on(drive, "gone") for drive in world.drives if os.path.exists(world.on(drive, "gone"))))
    world.mount.start()
    root = os.open(world.at(), os.O_RDONLY)
    try:
        for path, reopen in handles.items():
            if path == "gone":
                with pytest.raises(OSError) as caught:
                    reopen(root)
                assert caught.value.errno == errno.ESTALE
                continue
            fd = reopen(root)
            assert os.fstat(fd).st_ino == numbers[path] == os.stat(world.at(path)).st_ino
            if path in paths:
                assert os.read(fd, 100) == (path if path != "a/b/renamed" else "to be renamed").encode()
            else:
                assert os.listdir(fd) == ["new"]
            os.close(fd)
    finally:
        os.close(root)


def test_a_large_folder_keeps_its_places(world):
    """A reader in the middle of a list neither misses nor repeats what is there all the time, while names come and go."""
    count = FILES
    drives = list(world.drives)
    steady = {"file %d" % i for i in range(count)}
    for i, name in enumerate(sorted(steady)):
        world.write(drives[i % 3] if i % 7 else "red", "f/" + name, b"")
    world.mount = world.make_mount()
    seen, at = [], 0
    with os.scandir(world.at("f")) as entries:
        for entry in entries:
            seen.append(entry.name)
            if len(seen) % 500 == 0:
                world.write("red", "f/coming %d" % at, b"")
                if at:
                    os.unlink(world.on("red", "f/coming %d" % (at - 1)))
                at += 1
    assert len(seen) == len(set(seen))
    assert steady <= set(seen)
    assert at > 5
    until(lambda: set(os.listdir(world.at("f"))) == steady | {"coming %d" % (at - 1)})


def test_copied_out_whole(world):
    """rsync -aHAX brings everything out, and a second time nothing."""
    if not shutil.which("rsync"):
        pytest.skip("rsync is not installed")
    for drive in world.drives:
        for i in range(20):
            world.write(drive, "%s/%d" % (drive, i), os.urandom(10_000 * i))
            os.setxattr(world.on(drive, "%s/%d" % (drive, i)), "user.i", b"%d" % i)
    os.link(world.on("red", "red/3"), world.on("red", "red/also 3"))
    world.mount = world.make_mount()
    out = world.mrmr.folder / "out"
    def copy():
        return subprocess.run(["rsync", "-aHAX", "--itemize-changes", "--exclude=.mrmr", world.at() + "/", out], check=True, capture_output=True, timeout=120).stdout
    assert copy()
    assert copy() == b""
    for drive in world.drives:
        assert differences(record(world.on(drive, drive)), record(os.fspath(out / drive))) == []


def test_what_the_pool_says_of_a_file(world):
    world.write("red", "one", b"1" * 100_000)
    world.write("green", "two", b"2" * 100_000)
    world.write("blue", "f/three", b"3" * 100_000)
    world.mrmr.run("sync")
    world.mount = world.make_mount()
    def said(path, what):
        return os.getxattr(world.at(path), "user.mrmr." + what).decode()
    assert [said("one", what) for what in ("drive", "protection", "exposed", "version")] == ["red", "survives 1", "0", "1"]
    assert said("f", "drive") == "blue" and set(said("", "drive").split()) == set(world.drives)
    # The commands take the paths that people complete in the mount.
    os.symlink(world.mount.point, world.mrmr.folder / "link")
    for path in (world.at("f/three"), world.mrmr.folder / "link/f/three"):
        assert [copy["drive"] for copy in world.mrmr.json("where", path)["copies"]] == ["blue"]
        assert world.mrmr.run("cat", path).stdout == "3" * 100_000
    assert "one" in world.mrmr.run("ls", world.at()).stdout
    world.write("red", "new", b"12345")
    world.shows("new", b"12345")
    assert said("new", "exposed") == "5" and "exposed" in said("new", "protection")
    for path in ("one", "new"): # `where` says the same
        copy, = world.mrmr.json("where", path)["copies"]
        assert [copy["drive"], str(copy["exposed_size"]), str(copy["version"])] == [
            said(path, what) for what in ("drive", "exposed", "version")]
        assert said(path, "protection").startswith("survives %d" % copy["survives"])
    with pytest.raises(OSError):
        said("f", "version")


def test_room_is_what_status_says(world):
    """df of the mount: what can still be stored and protected. What status says before and after may differ by a block or two."""
    world.write("red", "one", b"1" * 5_000_000)
    world.write("green", "two", b"2" * 300_000)
    world.mrmr.run("sync")
    for drive in world.drives: # what is written out later takes room then
        fd = os.open(world.on(drive), os.O_RDONLY)
        assert ctypes.CDLL(None).syncfs(fd) == 0
        os.close(fd)
    before = world.mrmr.json("status", code=None)["storable_size"]
    world.mount = world.make_mount()
    room = os.statvfs(world.mount.point)
    after = world.mrmr.json("status", code=None)["storable_size"]
    here = room.f_bavail * room.f_frsize
    assert before > 10_000_000
    assert min(before, after) - room.f_frsize < here <= max(before, after), (before, here, after)
    assert room.f_blocks * room.f_frsize >= sum(os.statvfs(world.on(d)).f_blocks * os.statvfs(world.on(d)).f_frsize
                                                for d in world.drives) - room.f_frsize


def test_mounting_where_it_cannot_be(world):
    """Each refusal names the thing and the next step, and leaves nothing mounted."""
    mrmr, folder = world.mrmr, world.mrmr.folder
    world.mount = world.make_mount("a m")
    said = mrmr.run("mount", world.mount.point, code=1).stderr
    assert "mounted" in said and "mrmr umount '%s'" % world.mount.point in said
    (folder / "full").mkdir()
    (folder / "full" / "x").write_text("")
    assert "not empty" in mrmr.run("mount", folder / "full", code=1).stderr
    assert "make the folder" in mrmr.run("mount", folder / "nowhere", code=1).stderr
    (folder / "file").write_text("")
    assert mrmr.run("mount", folder / "file", code=1).stderr
    os.mkdir(world.on("red", "inside"))
    assert "red" in mrmr.run("mount", world.on("red", "inside"), code=1).stderr
    (folder / "m2").mkdir()
    said = mrmr.run("mount", folder / "m2", code=1).stderr # the same pool, elsewhere
    for word in (mrmr.dir, world.mount.point, "process %d" % world.mount.process.pid, "mrmr umount '%s'" % world.mount.point):
        assert str(word) in said, said
    assert mrmr.run("mount", "-o", "no_such_option=1", folder / "m2", code=1).stderr
    assert "unmount it" in mrmr.run("mount", "-o", "remount,ro", folder / "m2", code=2).stderr
    assert mrmr.run("--pool", folder / "no pool", "mount", folder / "m2", code=1).stderr
    for name in ("full", "nowhere", "file", "m2"):
        assert not is_mounted(folder / name)
    assert "nothing is mounted" in mrmr.run("umount", folder / "m2", code=1).stderr
    busy = os.open(world.at(), os.O_RDONLY)
    assert "lazy" in mrmr.run("umount", world.mount.point, code=1).stderr
    os.close(busy)
    os.symlink(world.mount.point, folder / "a link")
    mrmr.run("umount", folder / "a link")
    assert world.mount.process.wait(60) == 0
    said = mrmr.run("mount", "-o", "noexec,no_such_option=1", folder / "m2", code=1).stderr
    assert "unknown option(s): `-o no_such_option=1';" in said and "--help" not in said, said


def test_only_a_pool_is_unmounted(mrmr, tmp_path):
    """What is no pool's stays, and is named; so is what is not there."""
    need_fuse()
    other = tmp_path / "other"
    other.mkdir()
    assert "nothing is mounted" in mrmr.run("umount", other, code=1).stderr
    assert "No such file" in mrmr.run("umount", tmp_path / "nowhere", code=1).stderr
    subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
    try:
        for options in ([], ["--lazy"]):
            said = mrmr.run("umount", *options, other, code=1).stderr
            assert "tmpfs" in said and "umount %s" % other in said, said
            assert os.path.ismount(other)
    finally:
        subprocess.run(["umount", "-l", other], capture_output=True)


def test_in_the_background_and_from_fstab(world):
    """Detached, the command ends when the mount is there; mount(8) finds the helper's arguments right."""
    mrmr, point = world.mrmr, world.mrmr.folder / "a mount"
    world.write("red", "one", b"1")
    point.mkdir()
    mrmr.run("mount", point)
    try:
        assert (point / "one").read_bytes() == b"1"
        mrmr.run("umount", point)
        assert not is_mounted(point)
        options = ("defaults,nofail,noexec,x-systemd.automount,_netdev,relatime,noatime,nodiratime,strictatime,lazytime,iversion,silent,"
                   "user=somebody,uhelper=some")

        def helper(*more, pool=mrmr.dir, code=0):
            done = subprocess.run([os.path.join(os.path.dirname(mrmr.bin), "mrmr-mount"), pool, point, *more], capture_output=True,
                                  text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
            assert done.returncode == code, done.stderr
            return done.stderr
        # A rehearsal, as of `mount -fav`: nothing is mounted, and what would not go well is told.
        helper("-fv", "-o", options)
        assert "no pool" in helper("-f", pool=world.on("red"), code=1)
        assert "no_such" in helper("-f", "-o", "no_such", code=1)
        (point / "x").write_bytes(b"")
        assert "not empty" in helper("-f", code=1)
        (point / "x").unlink()
        assert not is_mounted(point)
        helper("-o", options)
        assert (point / "one").read_bytes() == b"1"
        helper("-f", "-o", options)
        assert (point / "one").read_bytes() == b"1"
    finally:
        subprocess.run(["umount", "-l", point], capture_output=True)


def test_a_dead_mount_is_cleared(world):
    world.write("red", "one", b"1")
    world.mount = world.make_mount()
    world.mount.kill()
    with pytest.raises(OSError) as failed:
        os.listdir(world.at())
    assert failed.value.errno == errno.ENOTCONN
    world.mount.start()
    assert world.read("one") == b"1"
    world.mount.kill()
    world.mrmr.run("umount", "%s/" % world.mount.point)
    assert os.listdir(world.at()) == []


def test_another_dead_mount_is_left(world):
    """Of another file system, whose process has ended: it is named, and stays."""
    point = world.mrmr.folder / "theirs"
    point.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = "fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse
    try:
        assert libc.mount(b"theirs", os.fsencode(point), b"fuse.theirs", 0, options.encode()) == 0, ctypes.get_errno()
        os.close(fuse)
        with pytest.raises(OSError) as failed:
            os.statvfs(point)
        assert failed.value.errno == errno.ENOTCONN
        done = subprocess.run([world.mrmr.bin, "--pool", world.mrmr.dir, "mount", point], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and "fuse.theirs" in done.stderr and "umount -l" in done.stderr, done.stderr
        with open("/proc/self/mounts", encoding="utf-8") as mounted:
            assert any(line.split()[1:3] == [os.fspath(point), "fuse.theirs"] for line in mounted)
    finally:
        subprocess.run(["umount", "-l", point], capture_output=True)


def test_what_the_kernel_keeps(world):
    """Counted in requests: what was seen once is not asked for again, until it changes."""
    for i in range(60):
        os.utime(world.write("red" if i % 2 else "green", "f/%d" % i, b"x" * 50_000), ns=(10**18, 10**18))
    point, log = world.mrmr.folder / "counted", world.mrmr.folder / "requests"
    point.mkdir()
    with open(log, "ab") as file:
        process = subprocess.Popen([os.path.join(os.path.dirname(world.mrmr.bin), "mrmr-mount"), "--pool", world.mrmr.dir,
                                    "-f", "-v", "-o", "debug", point], stderr=file, stdin=subprocess.DEVNULL)

    def requests(does):
        """What the kernel asks for while it is done: opcode → count. Closes are left out: they are sent some time later."""
        at = os.path.getsize(log)
        does()
        counts = {}
        for line in log.read_bytes()[at:].decode(errors="replace").splitlines():
            if "opcode: " in line:
                name = line.split("opcode: ")[1].split()[0]
                counts[name] = counts.get(name, 0) + 1
        return {name: n for name, n in counts.items() if name not in ("RELEASE", "RELEASEDIR")}

    def settled(does, holds):
        """The same, once it holds: other tests make the kernel drop what it keeps, at moments."""
        for _ in range(5):
            asked = requests(does)
            if holds(asked):
                break
        assert holds(asked), asked

    def list_all():
        subprocess.run(["ls", "-lR", point], check=True, stdout=subprocess.DEVNULL)

    def read_all():
        for i in range(60):
            assert (point / "f" / str(i)).read_bytes() == b"x" * 50_000

    def stat_all():
        for i in range(60):
            os.stat(point / "f" / str(i))
    try:
        until(lambda: is_mounted(point))
        asked = requests(list_all)
        assert asked["READDIRPLUS"] >= 2 and "LOOKUP" not in asked
        # ls asks for extended attributes, too, which kernels do not keep; newer ones do for each file.
        # Reading a folder made its access time old.
        settled(list_all, lambda asked: asked.get("GETATTR", 0) <= 2 and not {"LOOKUP", "READDIR", "READDIRPLUS"} & set(asked))
        settled(stat_all, lambda asked: asked == {})
        settled(lambda: [os.path.exists(point / "f/none") for _ in range(20)], lambda asked: asked.get("LOOKUP", 0) <= 1)
        assert requests(read_all)["READ"] >= 60
        settled(read_all, lambda asked: not {"READ", "LOOKUP"} & set(asked))
        world.write("red", "f/1", b"x" * 49_999 + b"y")
        until(lambda: (point / "f/1").read_bytes()[-1:] == b"y")
        settled(stat_all, lambda asked: set(asked) <= {"GETATTR", "FORGET", "BATCH_FORGET"})
    finally:
        subprocess.run(["umount", "-l", point], check=True)
        process.wait(60)
