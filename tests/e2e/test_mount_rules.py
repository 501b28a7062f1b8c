# SPDX-License-Identifier: GPL-3.0-or-later
"""What the manual states of the mount: as the system mounts it, what is kept out of the tree, folders that differ, copies that share their bytes."""
import contextlib
import errno
import os
import re
import shutil
import subprocess

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse, until
from namespaces import LET_GO, env_of
from some import some
from test_mount_drives import an_acl


class World:
    """Drives that are folders, the first one in the pool for longest."""

    def __init__(self, mrmr, mount):
        self.mrmr, self.make_mount, self.mount = mrmr, mount, None
        for name in ("red", "green", "blue"):
            os.makedirs(self.on(name))
            mrmr.run("add-drive", self.on(name))

    def on(self, drive, path=""):
        return os.path.join(self.mrmr.drive(drive), path)

    def at(self, path=""):
        return os.path.join(self.mount.point, path)

    def write(self, drive, path, data=b"x"):
        whole = self.on(drive, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "wb") as file:
            file.write(data)
        return whole


@pytest.fixture(name="world")
def make_world(mrmr, tmp_path):
    need_fuse()
    with mounts(mrmr, tmp_path) as mount:
        yield World(mrmr, mount)


# A mount namespace with an fstab and a /sbin of its own, in which the helper lies where an installation in /usr puts it; and one of processes,
# with which all in it ends.
SYSTEM = """set -e
""" + LET_GO + """sbin=$(realpath /sbin)
mount -t tmpfs none /mnt
mkdir /mnt/real /mnt/sbin
mount --bind "$sbin" /mnt/real
ln -s /mnt/real/* /mnt/sbin
ln -s "$HELPER" /mnt/sbin/mount.fuse.mrmr
mount --bind /mnt/sbin "$sbin"
mount --bind "$FSTAB" /etc/fstab
of() { findmnt -n -o "$1" -- "$POINT"; }
"""


def in_a_system(mrmr, folder, script, fstab=""):
    (folder / "fstab").write_text(fstab)
    env = env_of(folder, **mrmr.env, HELPER=os.path.join(os.path.dirname(mrmr.bin), "mrmr-mount"), FSTAB=folder / "fstab", POOL=mrmr.dir,
                 POINT=folder / "a mount")
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SYSTEM + script], env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mounted_by_the_system(world, tmp_path):
    """mount(8) by the type of the file system and by a line of fstab, with what only those understand, and umount(8), which ends the process."""
    for program in ("unshare", "findmnt"):
        if not shutil.which(program):
            pytest.skip(program + " is not installed")
    world.write("green", "f/one", b"the bytes")
    (tmp_path / "a mount").mkdir()
    words = {"point": str(tmp_path / "a mount").replace(" ", "\\040"), "pool": world.mrmr.dir}
    said = in_a_system(world.mrmr, tmp_path, """
ended() { for i in $(seq 500); do cat /proc/[0-9]*/comm 2>/dev/null | grep -qx mrmr-mount || return 0; sleep 0.01; done; return 1; }
mount -t fuse.mrmr "$POOL" "$POINT"
echo "$(of FSTYPE) $(of SOURCE) $(cat "$POINT/f/one")"
echo new >"$POINT/f/two"
umount "$POINT"
ended
test ! -e "$POINT/f"
mount "$POINT"
of OPTIONS
cat "$POINT/f/two"
if touch "$POINT/f/three" 2>/dev/null; then exit 1; fi
umount "$POINT"
ended
mount -a -t fuse.mrmr -o rw
cat "$POINT/f/one"
umount "$POINT"
ended
! findmnt -- "$POINT"
""", "%(pool)s %(point)s fuse.mrmr defaults,nofail,_netdev,noatime,noexec,ro,x-systemd.automount 0 0\n" % words)
    first, options, second, last = said.splitlines()
    assert first == "fuse.mrmr %s the bytes" % world.mrmr.dir
    assert {"ro", "noexec", "noatime"} <= set(options.split(",")), options
    assert (second, last) == ("new", "the bytes")


def test_a_pool_that_is_not_there_is_not_mounted_by_the_system(world, tmp_path):
    """mount(8) fails, and says why."""
    (tmp_path / "a mount").mkdir()
    said = in_a_system(world.mrmr, tmp_path, """
if mount -t fuse.mrmr "$POOL/none" "$POINT" 2>&1; then exit 1; fi
! findmnt -- "$POINT"
""")
    assert "none" in said and "--pool" in said, said


KEPT_OUT = ["lost+found", ".Trash-1000", "System Volume Information", "@eaDir", "junk.tmp"]


def refused(call, *path):
    with pytest.raises(OSError) as failed:
        call(*path)
    return errno.errorcode[failed.value.errno]


def test_names_that_are_kept_out(world):
    """They do not show, wherever they lie, can be neither found nor made, and what has such a name on a drive is left alone."""
    world.mrmr.run("set", "exclude", "*.tmp:cache/old")
    for name in KEPT_OUT:
        world.write("red", name + "/inside", b"1")
        world.write("green", "f/" + name, b"2")
    world.write("red", "f/shown")
    world.write("red", "cache/old", b"3")
    world.write("red", "cache/new")
    world.write("red", "bare/x.tmp")
    world.mount = world.make_mount()
    assert sorted(os.listdir(world.at())) == ["bare", "cache", "f"]
    assert os.listdir(world.at("bare")) == [] and refused(os.rmdir, world.at("bare")) == "ENOTEMPTY"
    told = world.mount.log.read_text()
    assert "the folder 'bare' cannot be removed: in it is 'x.tmp'" in told and "it is kept out (see: mrmr get)" in told, told
    assert sorted(os.listdir(world.at("f"))) == ["lost+found", "shown"] # that is kept out at a drive's root alone
    assert os.listdir(world.at("cache")) == ["new"]
    paths = KEPT_OUT + ["f/" + name for name in KEPT_OUT[1:]] + ["cache/old"]
    for path in paths:
        whole = world.at(path)
        assert not os.path.lexists(whole), path
        assert refused(open, whole, "wb") == "EACCES", path
        assert refused(os.mkdir, whole) == "EACCES"
        assert refused(os.symlink, "shown", whole) == "EACCES"
        assert refused(os.mkfifo, whole) == "EACCES"
        assert refused(os.rename, world.at("f/shown"), whole) == "EACCES"
        assert refused(os.rename, world.at("cache"), whole) in ("EACCES", "EINVAL") # not into itself
        assert refused(os.link, world.at("f/shown"), whole) == "EACCES"
        assert refused(os.unlink, whole) == "ENOENT"
        assert refused(os.rename, whole, world.at("f/x")) == "ENOENT"
    for name in KEPT_OUT:
        with open(world.on("red", name + "/inside"), "rb") as one, open(world.on("green", "f/" + name), "rb") as two:
            assert (one.read(), two.read()) == (b"1", b"2")
    with open(world.on("red", "cache/old"), "rb") as file:
        assert file.read() == b"3"
    # What is set while it is mounted holds, too.
    world.mrmr.run("set", "exclude", "shown")
    until(lambda: sorted(os.listdir(world.at("f"))) == ["junk.tmp", "lost+found"] and sorted(os.listdir(world.at("cache"))) == ["new", "old"])
    assert refused(open, world.at("f/shown"), "wb") == "EACCES"
    with open(world.at("more.tmp"), "xb"):
        pass


def test_a_file_system_that_is_mounted_below_a_drive(world):
    """It is not entered, and nothing is written to it: what is new there, or comes there, goes to another drive."""
    need_loops()
    world.write("red", "f/here")
    world.write("red", "f/over/hidden")
    world.write("green", "f/over/there", b"of another drive")
    over = world.on("red", "f/over")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", over], check=True)
    try:
        with open(os.path.join(over, "not of the pool"), "wb"):
            pass
        os.mkdir(world.on("red", "f/alone"))
        os.makedirs(world.on("red", "g/below"))
        os.makedirs(world.on("red", "h/.Trash-7"))
        for place in ("f/alone", "g/below"):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", world.on("red", place)], check=True)
        world.mount = world.make_mount()
        # Folders in which nothing shows: why they stay is told, and not twice in a minute.
        for folder in ("g", "h"):
            assert os.listdir(world.at(folder)) == [] and refused(os.rmdir, world.at(folder)) == "ENOTEMPTY"
        told = world.mount.log.read_text()
        assert "drive red: the folder 'g' cannot be removed: in it is 'below'" in told and "something is mounted there" in told and "'h'" not in told, told
        assert sorted(os.listdir(world.at("f"))) == ["here", "over"]
        assert os.listdir(world.at("f/over")) == ["there"]
        for path in ("f/over/not of the pool", "f/over/hidden", "f/alone"):
            assert not os.path.lexists(world.at(path)), path
        for i in range(8):
            with open(world.at("f/over/%d" % i), "xb") as file:
                file.write(b"new")
        assert refused(os.rename, world.at("f/here"), world.at("f/over/here")) == "EXDEV"
        subprocess.run(["mv", world.at("f/here"), world.at("f/over/here")], check=True, timeout=60)
        assert os.listdir(world.at("f")) == ["over"]
        assert any(os.path.exists(world.on(drive, "f/over/here")) for drive in ("green", "blue"))
        with contextlib.suppress(OSError): # the name is taken on one drive
            os.mkdir(world.at("f/alone"))
        with contextlib.suppress(OSError):
            with open(world.at("f/alone/x"), "xb"):
                pass
        assert os.listdir(over) == ["not of the pool"] and os.listdir(world.on("red", "f/alone")) == []
        assert "not of the pool" not in world.mrmr.run("ls", "-r", code=None).stdout
        world.mount.stop()
    finally:
        subprocess.run(["umount", over], check=True)
        for place in ("f/alone", "g/below"):
            subprocess.run(["umount", world.on("red", place)], check=False)


def test_a_file_system_is_mounted_below_a_drive_meanwhile(world):
    """What it covers goes from the tree, and comes back with it, also what was looked at before."""
    need_loops()
    world.write("red", "f/over/hidden")
    world.write("green", "f/over/there")
    over, alone = world.on("red", "f/over"), world.on("red", "f/alone")
    world.write("red", "f/alone/x")
    world.mount = world.make_mount()
    names = sorted(name for _, folders, files in os.walk(world.at()) for name in folders + files)
    assert names == ["alone", "f", "hidden", "over", "there", "x"]
    for place in (over, alone):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], check=True)
    try:
        until(lambda: os.listdir(world.at("f")) == ["over"], 10)
        until(lambda: os.listdir(world.at("f/over")) == ["there"], 10)
        until(lambda: not os.path.lexists(world.at("f/alone")) and not os.path.lexists(world.at("f/over/hidden")), 10)
    finally:
        for place in (over, alone):
            subprocess.run(["umount", place], check=True)
    until(lambda: sorted(os.listdir(world.at("f"))) == ["alone", "over"] and sorted(os.listdir(world.at("f/over"))) == ["hidden", "there"], 10)
    until(lambda: os.path.lexists(world.at("f/alone")) and os.listdir(world.at("f/alone")) == ["x"], 10)


def removes_as(user, path):
    """The number of the error; 0: the user has removed it."""
    folder, name = os.path.split(path)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            os.setgroups([])
            os.setgid(user + 1)
            os.setuid(user)
            os.unlink(name)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_folders_that_differ(world):
    """A folder's mode, owner and attributes are those of the drive that is in the pool for longest, whether that is there or not, its times the
    newest; what is set is set on all of them."""
    acl, other = an_acl(1234), an_acl(4321)
    for i, (drive, mode, uid) in enumerate((("red", 0o750, 1001), ("green", 0o700, 1002), ("blue", 0o755, 0))):
        world.write(drive, "f/%s" % drive)
        folder = world.on(drive, "f")
        os.chown(folder, uid, uid + 1)
        os.chmod(folder, mode)
        os.setxattr(folder, "user.colour", drive.encode())
        os.setxattr(folder, "user.only on " + drive, b"")
        os.setxattr(folder, "system.posix_acl_access", acl if drive == "red" else other)
        os.utime(folder, ns=(10**18 + i % 2, 10**18 + i % 2)) # green's are the newest
    mode = os.stat(world.on("red", "f")).st_mode # with the ACL's mask

    def is_as_on_red():
        stat = os.stat(world.at("f"))
        assert (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns) == (mode, 1001, 1002, 10**18 + 1)
        assert sorted(os.listxattr(world.at("f"))) == ["system.posix_acl_access", "user.colour", "user.only on red"]
        assert os.getxattr(world.at("f"), "user.colour") == b"red"
        assert os.getxattr(world.at("f"), "system.posix_acl_access") == acl
        assert sorted(os.listdir(world.at("f"))) == ["blue", "green", "red"]
    world.mrmr.run("sync")
    world.mount = world.make_mount()
    is_as_on_red()
    world.mount.stop()
    os.rename(world.on("red"), world.mrmr.folder / "elsewhere")
    world.mount.start()
    is_as_on_red()
    world.mount.stop()
    os.rename(world.mrmr.folder / "elsewhere", world.on("red"))
    world.mount.start()
    is_as_on_red()
    # Who may remove a file is its own drive's word, also of one that is protected, and goes nowhere by itself.
    assert removes_as(1001, world.at("f/green")) == errno.EACCES
    assert os.listdir(world.on("green", "f")) == ["green"] and "survives 1" in os.getxattr(world.at("f/green"), "user.mrmr.protection").decode()
    # What is asked of it is asked of all its copies.
    os.chown(world.at("f"), 1005, 1006)
    os.chmod(world.at("f"), 0o711)
    os.setxattr(world.at("f"), "user.colour", b"all")
    os.setxattr(world.at("f"), "system.posix_acl_access", other)
    os.utime(world.at("f"), ns=(5, 6))
    for folder in (world.at("f"), *(world.on(drive, "f") for drive in ("red", "green", "blue"))):
        stat = os.stat(folder)
        assert (stat.st_uid, stat.st_gid, stat.st_mtime_ns) == (1005, 1006, 6), folder
        assert os.getxattr(folder, "user.colour") == b"all"
        assert os.getxattr(folder, "system.posix_acl_access") == other
    # The next one's, once the first has it no more.
    os.chmod(world.on("green", "f"), 0o2775)
    shutil.rmtree(world.on("red", "f"))
    until(lambda: os.stat(world.at("f")).st_mode & 0o7777 == 0o2775)
    assert "user.only on green" in os.listxattr(world.at("f"))


def extents(path):
    """(first block, blocks, whether others have them, too) of each extent."""
    done = subprocess.run(["filefrag", "-s", "-v", path], check=True, capture_output=True, text=True)
    found = re.findall(r"^ *\d+: +\d+\.\. +\d+: +(\d+)\.\. +\d+: +(\d+):(.*)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return [(int(first), int(count), "shared" in flags) for first, count, flags in found]


@pytest.mark.parametrize("fs", some(["xfs", "btrfs"], 1))
def test_copies_share_their_blocks(mrmr, tmp_path, fs):
    """copy_file_range, and cp, which uses it, copy no bytes within a drive that can share them; what is written to the copy is the copy's alone."""
    need_fuse()
    need_loops()
    size, part = 4 << 20, 1 << 20
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        root = make("red", fs, 320 if fs == "xfs" else 128).root
        mrmr.run("add-drive", root)
        m = mount()
        data = os.urandom(size)
        for name in ("source", "target"):
            (m.point / name).write_bytes(data if name == "source" else b"t" * 3 * part)
        with open(m.point / "source", "rb") as source, open(m.point / "target", "r+b") as target:
            os.fsync(source.fileno())
            os.fsync(target.fileno())
            at = 0
            while at < part:
                at += os.copy_file_range(source.fileno(), target.fileno(), part - at, part + at, part + at)
        subprocess.run(["cp", "--reflink=auto", m.point / "source", m.point / "copy"], check=True, timeout=60)
        assert subprocess.run(["cp", "--reflink=always", m.point / "source", m.point / "always"], capture_output=True).returncode == 1
        assert (m.point / "copy").read_bytes() == data
        assert (m.point / "target").read_bytes() == b"t" * part + data[part:2 * part] + b"t" * part
        of = {name: extents(os.path.join(root, name)) for name in ("source", "copy", "target")}
        assert all(shared for _, _, shared in of["copy"]), of
        assert [(first, count) for first, count, _ in of["copy"]] == [(first, count) for first, count, _ in of["source"]], of
        assert sum(count for _, count, shared in of["target"] if shared) == part // 4096, of
        with open(m.point / "copy", "r+b") as copy:
            copy.write(b"the copy's own")
        assert (m.point / "source").read_bytes() == data
        m.stop()
