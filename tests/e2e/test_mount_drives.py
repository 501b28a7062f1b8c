# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount while drives go: missing from the start, dying under open files, hanging, reading wrong; and coming back."""
import errno
import fcntl
import hashlib
import os
import signal
import struct
import subprocess
import threading
import time

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse, sources, until
from seeded import Seeded
from some import ALL, some
from trees import differences, record

SHUTDOWN = 0x8004587D # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
FIBMAP = 1


class World:
    def __init__(self, mrmr, mount, make, folder):
        self.mrmr, self.make_mount, self.folder = mrmr, mount, folder
        self.drives, self.make, self.content, self.mount = {}, make, {}, None

    def add(self, name, fs, megabytes=96):
        self.drives[name] = self.make(name, fs, megabytes)
        return self.drives[name].root

    def fill(self, name, root, rng, files=10, most=4_000_000 if ALL else 1_000_000):
        for i in range(files):
            path = "shared/of %s %d" % (name, i) if i % 2 else "%s/deep/%d" % (name, i)
            data = rng.randbytes(rng.randrange(most))
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "wb") as file:
                file.write(data)
            self.content[path] = data

    def at(self, path=""):
        return os.path.join(self.mount.point, path)

    def all_there(self, paths=None):
        wrong = []
        for path in paths or self.content:
            with open(self.at(path), "rb") as file:
                if file.read() != self.content[path]:
                    wrong.append(path)
        assert wrong == []


def why_not_read(path):
    """The error, or 0."""
    try:
        with open(path, "rb") as file:
            file.read()
        return 0
    except OSError as error:
        return error.errno


def drop_caches():
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3\n")


def shut_down(root, flags=2):
    """The file system is dead at once, as when its disk is pulled: nothing is flushed, every call is EIO. Other flags: 0, it is written out first."""
    fd = os.open(root, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", flags))
    finally:
        os.close(fd)


def mount_again(drive):
    """A dead file system can be mounted anew once nobody holds on to it: the mount lets go by itself."""
    subprocess.run(["umount", "-l", drive.root], check=True)
    drive.mounted = False

    def once():
        drive.mount()
        try:
            with open(os.path.join(drive.root, "shared", "alive"), "wb"):
                return True
        except OSError: # the dead one again; somebody may be looking at it
            subprocess.run(["umount", "-l", drive.root], check=True)
            drive.mounted = False
            return False
    until(once, 150)


@pytest.fixture(name="world")
def make_world(mrmr, tmp_path):
    need_fuse()
    need_loops()
    seed = int(os.environ.get("MRMR_SEED", time.time_ns() % 2**32))
    print("seed of mount drives: %d" % seed)
    rng = Seeded(seed)
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        world = World(mrmr, mount, make, tmp_path)
        world.rng = rng
        for name, fs in (("red", "ext4"), ("green", "xfs"), ("blue", "ext4"), ("grey", "ext4")):
            root = world.add(name, fs, 320 if fs == "xfs" else 96)
            world.fill(name, root, rng)
            mrmr.run("add-drive", root)
        mrmr.run("set-redundancy", "2")
        mrmr.run("sync")
        subprocess.run(["sync"], check=True) # a dead drive keeps what was written out
        yield world


def test_missing_from_the_start(world):
    """With as many drives away as may fail, the tree is the same, to the byte and the attribute."""
    world.mount = world.make_mount()
    before = record(world.at())
    world.mount.stop()
    world.drives["red"].umount()
    world.drives["green"].umount()
    world.mount.start()
    told = world.mount.log.read_text().splitlines()
    for name, drive in world.drives.items():
        about = [line for line in told if line.startswith("mrmr: drive %s: " % name)]
        assert len(about) == (name in ("red", "green")), told
        assert all(drive.root in line and "nothing is mounted" in line and "by reconstruction" in line for line in about), told
    assert differences(before, record(world.at())) == []
    world.all_there()
    # Reading in pieces, out of order, through a mapping of the page cache.
    path = max(world.content, key=lambda p: len(world.content[p]))
    data = world.content[path]
    with open(world.at(path), "rb", buffering=0) as file:
        for _ in range(200):
            at = world.rng.randrange(len(data))
            assert os.pread(file.fileno(), 70_000, at) == data[at:at + 70_000]
    # They come back while it is mounted, with a file more.
    with open(os.path.join(world.drives["blue"].root, "shared/new"), "wb") as file:
        file.write(b"meanwhile")
    world.drives["red"].mount()
    world.drives["green"].mount()
    with open(os.path.join(world.drives["red"].root, "shared/newer"), "wb") as file:
        file.write(b"on the drive that was away")
    world.content.update({"shared/new": b"meanwhile", "shared/newer": b"on the drive that was away"})
    until(lambda: "newer" in os.listdir(world.at("shared")))
    world.all_there()
    until(lambda: all("drive %s: it is in service\n" % name in world.mount.log.read_text() for name in ("red", "green")))
    # One more is away than may be: whoever wants to know why something fails is told of what it is, and who could help.
    world.mount.stop()
    for name in ("red", "green", "blue"):
        world.drives[name].umount()
    world.mount.start()
    before = len(world.mount.log.read_bytes())
    path = next(path for path in sorted(world.content) if "grey" not in path and why_not_read(world.at(path)) == errno.EIO)
    with pytest.raises(OSError) as failed:
        os.rename(world.at(path), world.at(path + " moved"))
    assert failed.value.errno == errno.EIO
    told = world.mount.log.read_bytes()[before:].decode().splitlines()
    for what in ("read '%s'" % path, "rename '%s'" % path):
        assert any(what in line and all(name in line for name in ("red", "green", "blue")) for line in told), told


def test_changes_while_a_drive_is_away(world):
    """What is written, renamed and removed of a missing drive's files is so when it is back, and nothing of the old comes to life."""
    of_red = sorted(path for path in world.content if "red" in path)
    written, renamed, replaced, *removed = of_red
    world.mount = world.make_mount()
    numbers = {path: os.stat(world.at(path)).st_ino for path in (written, renamed)}
    world.mount.stop()
    world.drives["red"].umount()
    world.mount.start()
    with open(world.at(written), "r+b") as file:
        file.seek(1000)
        file.write(b"written while it was away")
    os.rename(world.at(renamed), world.at("shared/renamed"))
    with open(world.at("shared/other"), "wb") as file:
        file.write(b"in its place")
    os.rename(world.at("shared/other"), world.at(replaced))
    for path in removed:
        os.unlink(world.at(path))
        assert not os.path.exists(world.at(path))
    for path in removed + [renamed, replaced, written]:
        assert os.path.basename(path) not in os.listdir(world.at(os.path.dirname(path))) or path in (replaced, written)
    data = bytearray(world.content[written])
    data[1000:1025] = b"written while it was away"
    world.content.update({written: bytes(data), "shared/renamed": world.content[renamed], replaced: b"in its place"})
    for path in removed + [renamed]:
        del world.content[path]
    world.all_there()
    assert os.stat(world.at(written)).st_ino == numbers[written]
    assert os.stat(world.at("shared/renamed")).st_ino == numbers[renamed]
    world.drives["red"].mount()
    until(lambda: not any(os.path.exists(os.path.join(world.drives["red"].root, path)) for path in of_red))
    world.all_there()
    assert not any(os.path.exists(world.at(path)) for path in removed + [renamed])
    world.mrmr.run("sync")
    world.all_there()
    world.mrmr.run("scrub")


def an_acl(uid):
    """rwx for the owner, r-x for one more user and the group, nothing for others; as setfacl writes it."""
    entries = ((1, 7, -1), (2, 5, uid), (4, 5, -1), (16, 5, -1), (32, 0, -1))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def test_folders_change_while_a_drive_is_away(world):
    """A folder of a missing drive has another name and other attributes at once, and on the drive when it is back."""
    acl, when = an_acl(1234), 1_234_567_890_000_000_005
    of_red = sorted(path for path in world.content if path.startswith("red/deep/"))
    world.mount = world.make_mount()
    numbers = {path: os.stat(world.at(path)).st_ino for path in of_red}
    world.mount.stop()
    red = world.drives["red"]
    red.umount()
    world.mount.start()
    os.mkdir(world.at("new"))
    os.rename(world.at("red/deep"), world.at("new/of red")) # on the missing drive alone
    os.rename(world.at("shared"), world.at("blue/shared")) # on all, into one that it has not
    os.mkdir(world.at("shared"))
    with pytest.raises(OSError) as refused:
        os.rename(world.at("blue/shared"), world.at("new"))
    assert refused.value.errno == errno.ENOTEMPTY
    moved = {path: path.replace("red/deep/", "new/of red/").replace("shared/", "blue/shared/") for path in world.content}
    content = {moved[path]: data for path, data in world.content.items()}
    first, last = (moved[path] for path in (of_red[0], of_red[-1]))
    os.unlink(world.at(last))
    del content[last]
    with open(world.at(first), "ab") as file:
        file.write(b" and more")
    content[first] += b" and more"
    world.content = content
    for path in ("new/of red", "blue/shared"):
        os.chown(world.at(path), 1001, 1002)
        os.chmod(world.at(path), 0o2770)
        os.setxattr(world.at(path), "user.color", b"red")
        os.setxattr(world.at(path), "system.posix_acl_access", acl)
        os.utime(world.at(path), ns=(when, when))

    os.chmod(world.at(), 0o711) # the tree's root, which lies on all

    def attributes(path):
        stat = os.stat(path)
        return (oct(stat.st_mode), stat.st_uid, stat.st_gid, stat.st_mtime_ns, os.getxattr(path, "user.color"),
            os.getxattr(path, "system.posix_acl_access"))

    def as_it_should_be():
        world.all_there()
        for path in ("new/of red", "blue/shared"):
            assert attributes(world.at(path)) == ("0o42750", 1001, 1002, when, b"red", acl)
        assert os.stat(world.at()).st_mode & 0o7777 == 0o711
        assert not os.path.exists(world.at("red/deep")) and os.listdir(world.at("shared")) == []
        for path in of_red[:-1]:
            assert os.stat(world.at(moved[path])).st_ino == numbers[path]
    as_it_should_be()
    world.mount.stop()
    world.mount.start()
    as_it_should_be()
    red.mount()
    until(lambda: os.path.isdir(os.path.join(red.root, "blue/shared")) and not os.path.exists(os.path.join(red.root, "red/deep")))
    until(lambda: os.stat(os.path.join(red.root, "blue/shared")).st_mtime_ns == when)
    as_it_should_be()
    for path in ("new/of red", "blue/shared"):
        assert attributes(os.path.join(red.root, path)) == ("0o42750", 1001, 1002, when, b"red", acl)
    assert not os.path.exists(os.path.join(red.root, "shared"))
    assert os.stat(red.root).st_mode & 0o7777 == 0o711
    world.mrmr.run("sync")
    as_it_should_be()
    world.mrmr.run("scrub")
    assert os.path.getsize(world.mrmr.dir / "gone") == 0


def test_dying_under_open_files(world):
    """A reader in the middle of a file goes on in it, and so does everyone else; then the drive returns."""
    world.mount = world.make_mount()
    paths = [p for p in world.content if len(world.content[p]) > 300_000 and ("red" in p or "green" in p)]
    assert paths
    files = {path: open(world.at(path), "rb", buffering=0) for path in paths}
    got = {path: file.read(100_000) for path, file in files.items()}
    names, watched = sorted(os.listdir(world.at("shared"))), sources(world.mount)
    shut_down(world.drives["red"].root)
    shut_down(world.drives["green"].root)
    drop_caches()
    for path, file in files.items():
        rest = b"".join(iter(lambda file=file: file.read(1 << 20), b""))
        assert got[path] + rest == world.content[path], path
    world.all_there()
    assert sorted(os.listdir(world.at("shared"))) == names
    for path in paths:
        assert os.stat(world.at(path)).st_size == len(world.content[path])
    for name in ("red", "green"):
        mount_again(world.drives[name])
    new = os.path.join(world.drives["red"].root, "shared/back")
    with open(new, "wb") as file:
        file.write(b"back")
    until(lambda: os.path.exists(world.at("shared/back")))
    until(lambda: sources(world.mount) == watched)
    for path, file in files.items(): # the same open files, from the drives again
        file.seek(0)
        assert b"".join(iter(lambda file=file: file.read(1 << 20), b"")) == world.content[path]
        file.close()
    world.all_there()


@pytest.mark.parametrize("first", some(range(5), 1))
def test_changes_on_a_drive_that_has_just_died(world, first):
    """Nobody has noticed yet: the first change, whatever it is, is made elsewhere, or when the drive is back."""
    world.mount = world.make_mount()
    gone, moved, longer, private, tagged = ["shared/of red %d" % i for i in (1, 3, 5, 7, 9)]
    os.chmod(world.at(tagged), 0o640)
    os.setxattr(world.at(tagged), "user.tag", b"acknowledged")
    linked, link = "red/deep/4", "red/deep/4 by another name"
    os.link(world.at(linked), world.at(link))
    for path in (tagged, "red/deep"):
        fd = os.open(world.at(path), os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    def append(path=longer):
        with open(world.at(path), "ab") as file:
            file.write(b"more")
    changes = [lambda: os.unlink(world.at(gone)), lambda: os.rename(world.at(moved), world.at("shared/renamed")), append,
               lambda: os.chmod(world.at(private), 0o600), lambda: os.truncate(world.at("red/deep/2"), 10)]
    shut_down(world.drives["red"].root)
    for change in changes[first:] + changes[:first]:
        change()
    # What no sync has seen would not be of a copy that is made of what was protected: there is none.
    for change in (lambda: append(linked), lambda: append(tagged), lambda: os.chmod(world.at(tagged), 0o600), lambda: os.setxattr(world.at(tagged), "user.tag", b""),
                   lambda: os.rename(world.at(tagged), world.at("shared/other"))):
        with pytest.raises(OSError) as refused:
            change()
        assert refused.value.errno == errno.EIO
    del world.content[gone]
    world.content["shared/renamed"] = world.content.pop(moved)
    world.content[longer] += b"more"
    world.content["red/deep/2"] = world.content["red/deep/2"][:10]

    def as_changed():
        # a write that was refused may have been noted before that: then it is not read without its drive
        world.all_there([path for path in world.content if path not in (tagged, linked)])
        assert not os.path.exists(world.at(gone)) and not os.path.exists(world.at(moved))
        assert os.stat(world.at(private)).st_mode & 0o777 == 0o600
    as_changed()
    mount_again(world.drives["red"])
    with open(os.path.join(world.drives["red"].root, "shared/back"), "wb") as file:
        file.write(b"back")
    until(lambda: os.path.exists(world.at("shared/back")))
    as_changed()
    assert os.stat(world.at(tagged)).st_mode & 0o777 == 0o640
    assert os.getxattr(world.at(tagged), "user.tag") == b"acknowledged"
    append(link)
    world.content[linked] += b"more"
    world.all_there()


def test_a_drive_that_hangs(world):
    """What hangs costs one time-out, and nothing on another drive waits for it; it is back once it answers."""
    root = world.folder / "slow"
    through = world.folder / "through"
    root.mkdir()
    through.mkdir()
    bindfs = subprocess.Popen(["bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0", root, through])
    try:
        until(lambda: os.path.ismount(through))
        world.fill("slow", through, world.rng)
        world.mrmr.run("add-drive", through, code=None)
        world.mrmr.run("sync")
        world.mrmr.run("set", "drive-timeout", "2")
        world.mount = world.make_mount()
        os.listdir(world.at("shared"))
        slow = [path for path in world.content if "slow" in path]
        others = [path for path in world.content if "slow" not in path and path.startswith(("red/", "blue/", "grey/"))]
        os.kill(bindfs.pid, signal.SIGSTOP)
        reader = threading.Thread(target=world.all_there, args=(slow,), daemon=True)
        start = time.monotonic()
        reader.start()
        world.all_there(others)
        reader.join(60)
        assert not reader.is_alive()
        print("the files of a drive that hangs were all read after %.1f s" % (time.monotonic() - start))
        world.all_there()
        assert sorted(os.listdir(world.at("slow"))) == ["deep"]
        os.kill(bindfs.pid, signal.SIGCONT)
        (through / "shared" / "woke").write_bytes(b"up")
        until(lambda: os.path.exists(world.at("shared/woke")), 150)
        world.all_there()
        world.mount.stop()
    finally:
        os.kill(bindfs.pid, signal.SIGCONT)
        subprocess.run(["umount", "-l", through], check=False)
        bindfs.wait(20)


def middle_of_the_files(world, name):
    """The byte of a drive's image at which the middle of a file is, with half of the others' further back."""
    middles = []
    for path in world.content:
        whole = os.path.join(world.drives[name].root, path)
        if os.path.exists(whole):
            with open(whole, "rb") as file:
                block = os.statvfs(whole).f_bsize
                place = fcntl.ioctl(file.fileno(), FIBMAP, struct.pack("i", os.fstat(file.fileno()).st_size // 2 // block))
                middles.append(struct.unpack("i", place)[0] * block)
    return sorted(middles)[len(middles) // 2]


def test_a_medium_that_cannot_be_read(world):
    """Where a drive gives errors in the middle of its files, the bytes come from the others."""
    world.mount = world.make_mount()
    world.all_there()
    subprocess.run(["sync"], check=True)
    end = middle_of_the_files(world, "grey")
    # Nothing is written to it any more: a write beyond the cut would make the gap read as zeros.
    subprocess.run(["mount", "-o", "remount,ro", world.drives["grey"].root], check=True)
    os.truncate(world.drives["grey"].image, end) # what lies further back is gone
    drop_caches()
    failed = 0
    for path in world.content:
        whole = os.path.join(world.drives["grey"].root, path)
        try:
            if os.path.exists(whole):
                with open(whole, "rb") as file:
                    file.read()
        except OSError:
            failed += 1
    print("%d files of the cut drive cannot be read there" % failed)
    assert failed
    drop_caches()
    world.all_there()


def test_rotten_bytes_and_verified_reads(world):
    """With verify-reads on a byte that rotted on a present drive does not reach a reader."""
    path = max((p for p in world.content if "blue" in p), key=lambda p: len(world.content[p]))
    whole = os.path.join(world.drives["blue"].root, path)
    before = os.stat(whole)
    with open(whole, "r+b") as file:
        file.seek(len(world.content[path]) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(whole, ns=(before.st_atime_ns, before.st_mtime_ns))
    world.mrmr.run("set", "verify-reads", "on")
    world.mount = world.make_mount()
    world.all_there()


def test_drives_come_and_go_while_everything_is_read(world):
    """For some rounds: any two drives die, everything is read by four at once, they return."""
    rounds = int(os.environ.get("MRMR_ROUNDS", "2"))
    world.mount = world.make_mount()
    for i in range(rounds):
        gone = world.rng.sample(sorted(world.drives), 2)
        wrong, stop = [], threading.Event()

        def read(seed):
            rng = Seeded(seed)
            while not stop.is_set():
                path = rng.choice(sorted(world.content))
                data = world.content[path]
                at = rng.randrange(len(data) + 1)
                try:
                    with open(world.at(path), "rb", buffering=0) as file:
                        if os.pread(file.fileno(), 300_000, at) != data[at:at + 300_000]:
                            wrong.append(path)
                except OSError as error:
                    wrong.append((path, error))
                time.sleep(0.02) # what they wait for here takes seconds, and others want to run, too
        readers = [threading.Thread(target=read, args=(world.rng.random(),), daemon=True) for _ in range(4)]
        for reader in readers:
            reader.start()
        for name in gone:
            shut_down(world.drives[name].root)
        drop_caches()
        world.all_there()
        for name in gone:
            mount_again(world.drives[name])
            with open(os.path.join(world.drives[name].root, "round %d %s" % (i, name)), "wb"):
                pass
        until(lambda i=i: all(os.path.exists(world.at("round %d %s" % (i, name))) for name in gone), 150)
        stop.set()
        for reader in readers:
            reader.join()
        assert wrong == []
    world.all_there()
    digest = hashlib.sha256(b"".join(world.content[p] for p in sorted(world.content))).hexdigest()
    print("%d rounds, %d files, %s" % (rounds, len(world.content), digest[:12]))


def test_mounted_anew_while_nobody_uses_it(world):
    """A drive that is unmounted and mounted again is followed at once, though nothing is asked of it; so is one over which something is mounted."""
    root = world.drives["red"].root
    world.mount = world.make_mount()
    world.all_there()

    def said(what):
        return world.mount.log.read_text().count(what)
    subprocess.run(["umount", "-l", root], check=True)
    until(lambda: said("out of service: drive red: it was unmounted"), 10)
    world.drives["red"].mounted = False
    world.drives["red"].mount()
    with open(os.path.join(root, "made anew"), "wb") as file:
        file.write(b"anew")
    until(lambda: os.path.exists(world.at("made anew")), 10)
    world.all_there()
    subprocess.run(["mount", "-t", "tmpfs", "none", root], check=True)
    try:
        until(lambda: said("out of service: drive red: it was unmounted") == 2, 10)
    finally:
        subprocess.run(["umount", root], check=True)
    until(lambda: said("drive red: it is in service") == 2, 10)
    with open(world.at("made anew"), "rb") as file:
        assert file.read() == b"anew"
    # It ends while there is something to be told of: not by a descriptor that is closed.
    subprocess.run(["umount", "-l", world.mount.point], check=True)
    for drive in world.drives.values():
        subprocess.run(["umount", "-l", drive.root], check=True)
        drive.mounted = False
    assert world.mount.process.wait(60) == 0 and said("writing device") == 0, world.mount.log.read_text()
