# SPDX-License-Identifier: GPL-3.0-or-later
"""Passthrough: which files the kernel uses without asking, that none of their bytes is protected meanwhile, whoever syncs and however
long a mapping lasts, and that what was written so is protected afterwards. Where libfuse has no passthrough, that it is refused is the
test."""
import ctypes
import errno
import mmap
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from libfuse import NEW, counted
from mounts import is_mounted, until
from places import places
from test_mount_libfuse import OTHER, as_user

ON = ("-o", "passthrough")
MIB = 1 << 20
need_new = (lambda test: test) if NEW else (lambda test: None) # what is not there is no test: see the first one
on_each = pytest.mark.parametrize("place", ["ext4", "xfs", "btrfs"], indirect=True)


@pytest.fixture(name="place")
def make_place(request, mrmr, tmp_path):
    """All drives have the same file system: which one gets a new file is not the test's to say."""
    with places(mrmr, tmp_path) as place:
        for name in ("red", "green", "blue"):
            place.add(name, getattr(request, "param", "ext4"))
        yield place


def refused(place, options=ON, code=1, program=None, **how):
    point = place.folder / "never"
    point.mkdir(exist_ok=True)
    done = subprocess.run([program or place.mrmr.bin, "mount", "-f", *options, point], capture_output=True, text=True,
                          check=False, env=place.mrmr.env, stdin=subprocess.DEVNULL, timeout=60, **how)
    assert done.returncode == code and not is_mounted(point), done
    return done.stderr


def older_kernel():
    """This process, and what becomes of it, is told that the kernel is a 2.6 (personality(2))."""
    uname26 = 0x0020000
    assert ctypes.CDLL(None, use_errno=True).personality(uname26) >= 0 and os.uname().release.startswith("2.6.")


def test_where_it_is_refused(place):
    """Cause and next step are said, and nothing is mounted."""
    if not NEW:
        said = refused(place)
        assert "libfuse 3.17" in said and "without it" in said
        return
    for folder in (place.folder, *place.folder.parents):
        os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) | 0o055)
    shutil.chown(place.mrmr.dir, OTHER, OTHER)
    for name in ("mrmr-mount", "mrmr"): # whoever builds may do so where others may not look
        mine = shutil.copy(os.path.join(os.path.dirname(place.mrmr.bin), name), place.folder)
    said = refused(place, program=mine, user=OTHER, group=OTHER)
    assert "root" in said and "without it" in said
    said = refused(place, preexec_fn=older_kernel)
    assert "not offered by this kernel" in said and "6.9" in said and "without it" in said
    place.start() # without it all is well


def test_the_writeback_cache_is_refused(place):
    for name in ("writeback", "writeback_cache"):
        said = refused(place, options=("-o", "noatime," + name), code=2)
        assert "writeback is refused" in said and "without it" in said


def alone(fd, size):
    """A mapping that has no descriptor: Python keeps one of its own otherwise."""
    return mmap.mmap(fd, size, trackfd=False)


def sync(place, left=0):
    """What is left out: its name is told, and the exit code says that something is exposed."""
    done = place.run("sync", code=3 if left else 0)
    assert ("in use directly" in done.stdout + done.stderr) == bool(left), done
    return done.stdout + done.stderr


def exposed(place, path):
    return int(os.getxattr(place.at(path), "user.mrmr.exposed"))


def on_drive(place, path):
    return os.path.join(place.drives[place.drive_of(path)].root, path)


def protected_soon(place):
    """After the last one let go of it the drive is asked again within a second."""
    until(lambda: place.run("sync", code=(0, 3)).returncode == 0, 10)


@need_new
@on_each
def test_no_byte_passes_the_daemon(place):
    """None of an unprotected file, through any of its descriptors; each of a protected one."""
    with counted(place, "passthrough") as (point, requests):
        place.point = point

        def use(path, flags=0):
            fd = os.open(path, os.O_RDWR | flags, 0o644)
            more = os.open(path, os.O_RDWR | os.O_APPEND)
            for i in range(100):
                os.pwrite(fd, b"x" * 5000, i * 5000)
                os.write(more, b"y")
            assert os.pread(fd, 5000, 5000) == b"x" * 5000
            with open(path, "rb") as reading:
                assert reading.read()[:500000] == b"x" * 500000
            with mmap.mmap(fd, 4096) as mapped:
                mapped[7:9] = b"MM"
                mapped.flush()
            os.close(more)
            os.close(fd)
        asked = requests(lambda: use(point / "new", os.O_CREAT | os.O_EXCL))
        assert "WRITE" not in asked and "READ" not in asked, asked
        with open(on_drive(place, "new"), "rb") as file:
            data = file.read()
        assert data[:12] == b"xxxxxxxMMxxx" and os.stat(point / "new").st_size == len(data)
        asked = requests(lambda: use(point / "new"))
        assert "WRITE" not in asked and "READ" not in asked, asked
        protected_soon(place)
        asked = requests(lambda: use(point / "new"))
        assert asked["WRITE"] >= 200 and asked["READ"] >= 1, asked
        place.run("sync")
    place.check_all()


@need_new
@on_each
def test_what_is_open_is_left_out(place):
    place.start(*ON)
    fd = os.open(place.at("f"), os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"1" * 3 * MIB)
    with open(place.at("other"), "wb") as file:
        file.write(b"2" * MIB)
    said = sync(place, left=1)
    assert "'f': it is in use directly" in said
    assert exposed(place, "f") == 3 * MIB
    assert place.mrmr.json("status", code=3)["direct_files"] == 1
    assert "1 file is in use through the mount's passthrough" in place.run("status", code=3).stdout
    os.pwrite(fd, b"3" * MIB, MIB)
    reading = os.open(place.at("f"), os.O_RDONLY)
    os.close(fd)
    sync(place, left=1) # one that reads keeps it so, too
    os.close(reading)
    protected_soon(place)
    assert exposed(place, "f") == 0 and exposed(place, "other") == 0
    with open(place.at("f"), "rb") as file:
        assert file.read() == b"1" * MIB + b"3" * MIB + b"1" * MIB
        # Protected, and read by somebody, it is an ordinary file: what it was is kept.
        with open(place.at("f"), "r+b") as writing:
            writing.write(b"4" * 10)
    place.check_all()


@need_new
@on_each
def test_a_mapping_outlives_its_descriptor(place):
    place.start(*ON)
    fd = os.open(place.at("f"), os.O_RDWR | os.O_CREAT, 0o644)
    os.truncate(fd, 2 * MIB)
    mapped = alone(fd, 2 * MIB)
    os.close(fd)
    mapped[0:5] = b"first"
    for i in range(3):
        mapped[MIB + i:MIB + i + 1] = b"%d" % i
        sync(place, left=1)
    # Opened by another meanwhile, and truncated and grown through the daemon.
    with open(place.at("f"), "r+b") as again:
        assert again.read(5) == b"first"
        again.truncate(3 * MIB)
    sync(place, left=1)
    mapped[5:9] = b"last"
    mapped.close()
    protected_soon(place)
    assert exposed(place, "f") == 0
    with open(on_drive(place, "f"), "rb") as file:
        data = file.read()
    assert data[:10] == b"firstlast\0" and data[MIB:MIB + 4] == b"012\0" and len(data) == 3 * MIB
    place.check_all()


@need_new
@on_each
def test_ordinary_and_direct_do_not_mix(place):
    """All that are open at a time are used in the same way, whichever was first, and whatever comes of the file meanwhile."""
    with counted(place, "passthrough") as (point, requests):
        place.point = point
        with open(point / "f", "wb") as file:
            file.write(b"a" * MIB)
        protected_soon(place)
        first = open(point / "f", "r+b", buffering=0)
        first.truncate(0)
        place.run("sync") # nothing of it counts any more
        first.write(b"b" * MIB)
        second = open(point / "f", "r+b", buffering=0)
        asked = requests(lambda: second.write(b"c" * 4096))
        assert asked["WRITE"] >= 1, asked
        first.close()
        second.close()
        third = open(point / "f", "r+b", buffering=0) # all were closed
        asked = requests(lambda: third.write(b"d" * 4096))
        assert "WRITE" not in asked, asked
        third.close()
        with open(point / "f", "rb") as file:
            assert file.read() == b"d" * 4096 + b"b" * (MIB - 4096)
        threads = [threading.Thread(target=lambda i=i: many(point / ("t%d" % (i % 3)))) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not FAILED, FAILED
    protected_soon(place)
    place.check_all()


FAILED = []


def many(path):
    """Opens and closes the same few files beside others that do: no open may fail."""
    try:
        for i in range(150):
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.pwrite(fd, b"%d" % i, i)
            os.close(fd)
    except OSError as error:
        FAILED.append(error)


@need_new
@on_each
def test_sizes_and_names(place):
    """What goes through the daemon, and what does not, are one file."""
    place.start(*ON)
    a, b = place.at("a"), place.at("b")
    with open(a, "w+b", buffering=0) as file:
        file.write(b"0123456789")
        assert os.stat(a).st_size == 10 == os.fstat(file.fileno()).st_size
        os.truncate(a, 4)
        assert os.fstat(file.fileno()).st_size == 4
        file.seek(0)
        assert file.read() == b"0123"
        os.posix_fallocate(file.fileno(), 0, 8192)
        assert os.stat(a).st_size == 8192
        file.truncate(6)
        with open(a, "ab", buffering=0) as one, open(a, "ab", buffering=0) as other:
            for _ in range(20):
                one.write(b"one")
                other.write(b"two")
        assert os.stat(a).st_size == 6 + 120
        number = os.stat(a).st_ino
        os.rename(a, b)
        os.link(b, place.at("c"))
        assert os.fstat(file.fileno()).st_ino == number and os.stat(b).st_nlink == 2
        file.write(b"still")
        os.fsync(file.fileno())
        os.unlink(b)
        os.unlink(place.at("c"))
        assert os.fstat(file.fileno()).st_nlink == 0
        file.seek(0)
        file.write(b"gone")
        file.seek(0)
        assert file.read(4) == b"gone"
        with open(b, "w+b", buffering=0) as new: # the name, not the file
            new.write(b"new")
    with open(b, "wb", buffering=0) as file: # O_TRUNC
        assert os.stat(b).st_size == 0
        file.write(b"once more")
    with open(b, "rb") as file:
        assert file.read() == b"once more"
    fd = os.open(place.at("d"), os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644) # as the drive has it
    with mmap.mmap(-1, 8192) as buf:
        buf[:] = b"D" * 8192
        assert os.writev(fd, [buf]) == 8192
        if place.drives["red"].fs == "btrfs": # which writes it the ordinary way
            assert os.writev(fd, [memoryview(buf)[:100]]) == 100
        else:
            with pytest.raises(OSError) as caught:
                os.writev(fd, [memoryview(buf)[:100]])
            assert caught.value.errno == errno.EINVAL
    os.close(fd)
    protected_soon(place)
    place.check_all()


@need_new
@on_each
def test_set_id_bits_go(place):
    place.start(*ON, "-o", "suid")
    path = place.at("program")
    with open(path, "wb") as file: # root's: who writes it while he has it open writes with his rights
        file.write(b"x")
        os.chmod(path, 0o6777)

        def write():
            with open("program", "r+b") as file:
                file.write(b"other")
        as_user(place.point, write)
        until(lambda: stat.S_IMODE(os.stat(path).st_mode) == 0o777, 5)


@need_new
def test_a_full_drive_is_the_writers_own(place):
    """Nothing goes to another drive while it is used directly, neither by a write nor by what the daemon does."""
    root = place.add("small", "ext4", 48)
    for name in ("red", "green", "blue"): # the least used one is small
        with open(os.path.join(place.drives[name].root, "used"), "wb") as file:
            file.write(random.Random(name).randbytes(60 * MIB))
    place.start(*ON)
    fd = os.open(place.at("f"), os.O_RDWR | os.O_CREAT, 0o644)
    assert os.path.exists(os.path.join(root, "f"))
    with pytest.raises(OSError) as caught:
        while True:
            os.write(fd, b"f" * MIB)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError) as caught:
        os.posix_fallocate(fd, 0, 100 * MIB)
    assert caught.value.errno == errno.ENOSPC and os.path.exists(os.path.join(root, "f"))
    os.ftruncate(fd, MIB)
    os.pwrite(fd, b"g" * MIB, 0)
    os.close(fd)
    with open(place.at("f"), "rb") as file:
        assert file.read() == b"g" * MIB
    assert place.drive_of("f") == "small"


MAPPER = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
mapped = mmap.mmap(fd, 1 << 20, trackfd=False)
os.close(fd)
print("mapped", flush=True)
for line in sys.stdin:
    at, _, text = line.rstrip("\\n").partition(" ")
    mapped[int(at):int(at) + len(text)] = text.encode()
    print("stored", flush=True)
"""


@need_new
@pytest.mark.parametrize("options", [None, (), ON], ids=["no mount", "ordinary", "passthrough"])
def test_a_killed_daemon_leaves_mappings_behind(place, options):
    """Whoever has one goes on, and no sync takes the file for one that rests, also beside the next mount."""
    place.start(*ON)
    with open(place.at("f"), "wb") as file:
        file.write(b"." * 2 * MIB)
    program = subprocess.Popen([sys.executable, "-c", MAPPER, place.at("f")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, cwd="/")

    def store(at, text):
        program.stdin.write("%d %s\n" % (at, text))
        program.stdin.flush()
        assert program.stdout.readline() == "stored\n"
    try:
        assert program.stdout.readline() == "mapped\n"
        store(0, "before")
        place.mount.process.send_signal(signal.SIGKILL)
        place.mount.process.wait(60)
        for i in range(2):
            store(100 + i, "x")
            done = place.run("sync", code=3)
            assert "'f': a program uses it since a mount with passthrough that has ended" in done.stdout + done.stderr, done
        if options is not None:
            subprocess.run(["umount", "-l", place.point], check=True)
            place.start(*options)
            store(200, "beside")
            done = place.run("sync", code=3)
            assert "'f': a program uses it" in done.stdout + done.stderr, done
        store(300, "last")
    finally:
        program.stdin.close()
        program.wait(60)
    place.run("sync")
    if options is None:
        subprocess.run(["umount", "-l", place.point], check=True)
        place.start()
    assert exposed(place, "f") == 0
    with open(place.at("f"), "rb") as file:
        data = file.read()
    assert data[:7] == b"before." and data[100:102] == b"xx" and data[300:304] == b"last"
    place.check_all()


@need_new
@on_each
def test_writers_beside_syncs(place):
    """Files are written in every way, opened, mapped and let go of, while sync runs again and again. In the end all is protected, and
    what scrub reads is what the digests say: a byte that was written unseen would be rot."""
    seed = int(os.environ.get("MRMR_SEED", random.randrange(1 << 32)))
    print("seed", seed)
    place.start(*ON)
    end = time.monotonic() + 8

    def work(me):
        rng = random.Random("%d/%d" % (seed, me))
        model = {}
        try:
            while time.monotonic() < end:
                path = place.at("w%d-%d" % (me, rng.randrange(4)))
                fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
                data = model.setdefault(path, bytearray())
                if rng.random() < 0.1:
                    os.ftruncate(fd, 0)
                    del data[:]
                for _ in range(rng.randrange(8)):
                    at, more = rng.randrange(2 * MIB), rng.randbytes(rng.randrange(1, 100_000))
                    os.pwrite(fd, more, at)
                    data.extend(bytes(max(0, at + len(more) - len(data))))
                    data[at:at + len(more)] = more
                mapped = alone(fd, len(data)) if data and rng.random() < 0.5 else None
                os.close(fd)
                for _ in range(rng.randrange(8) if mapped else 0):
                    at = rng.randrange(len(data))
                    mapped[at] = data[at] = rng.randrange(256)
                    time.sleep(rng.random() * 0.1)
                if mapped:
                    mapped.close()
                if rng.random() < 0.1:
                    time.sleep(rng.random())
            for path, data in model.items():
                with open(path, "rb") as file:
                    assert file.read() == data, path
        except BaseException as error: # pylint: disable=broad-except; it is raised where it is seen
            failed.append(error)
    failed = []
    with place.syncing():
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed, failed
    protected_soon(place)
    place.check_all()
