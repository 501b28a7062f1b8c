# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount and files that somebody found and has not opened yet: names that lead to another file meanwhile, handles kept for later."""
import contextlib
import errno
import os
import random
import signal
import time
import traceback

import pytest

from mounts import until
from places import places

SECONDS = 4
READERS, WRITERS = 4, 3


@pytest.fixture(name="place")
def make_place(mrmr, tmp_path):
    with places(mrmr, tmp_path) as place:
        for name in ("red", "green"):
            place.add(name, "ext4")
        yield place.start()


def beside_one_another(workers):
    """Each runs in a process of its own until its time is over. What they return, as lines; one that fails fails the test."""
    children = []
    for work in workers:
        out, into = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(out)
                os.write(into, repr(work()).encode()[:60000])
                os._exit(0)
            except BaseException: # pylint: disable=broad-except; the parent is told
                os.write(into, traceback.format_exc().encode()[:60000])
                os._exit(1)
        os.close(into)
        children.append((pid, out))
    said = []
    try:
        for pid, out in children:
            with open(out, "rb") as pipe:
                said.append(pipe.read().decode())
    finally:
        failed = []
        for pid, _ in children:
            if not said:
                os.kill(pid, signal.SIGKILL)
            failed.append(os.waitpid(pid, 0)[1])
    assert not any(failed), said
    return said


def held_open(pid):
    """What a process has open, by name."""
    names = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
    return names


def until_over(step):
    end, n = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        step(n)
        n += 1
    return n


def replaced(path, me):
    """A file of which each byte says who wrote it, put in the place of the one before."""
    temp = "%s.%d" % (path, me)
    def step(n):
        with open(temp, "wb") as file:
            file.write(bytes([65 + me]) * (1 + n % 5000))
        os.rename(temp, path)
    return lambda: until_over(step)


def read_whole(path, flags, absent):
    """Opened, read, and of one writer; absent: that there is no such name just now is an answer, too."""
    def step(_):
        try:
            fd = os.open(path, flags)
        except OSError as error:
            if not (absent and error.errno == errno.ENOENT):
                raise AssertionError("open: " + errno.errorcode[error.errno]) from error
            return
        try:
            data = os.read(fd, 8192)
            assert data == data[:1] * len(data), data[:80]
            assert absent or os.fstat(fd).st_size == len(data) > 0
        finally:
            os.close(fd)
    return lambda: until_over(step)


def test_opening_what_is_replaced_all_the_time(place):
    path = place.at("name")
    replaced(path, 0)
    with open(path, "wb") as file:
        file.write(b"A")
    print(beside_one_another([replaced(path, i) for i in range(WRITERS)] + [read_whole(path, os.O_RDONLY, False)] * READERS
                             + [read_whole(path, os.O_RDWR, False)]))
    assert sorted(os.listdir(place.point)) == sorted({"name"} | set(os.listdir(place.point)) & {"lost+found"})


def test_opening_what_is_removed_and_made_again(place):
    path = place.at("name")
    def step(n):
        with open(path, "wb") as file:
            file.write(b"x" * (1 + n % 100))
        os.unlink(path)
    print(beside_one_another([lambda: until_over(step)] + [read_whole(path, os.O_RDONLY, True)] * READERS))


def test_symlinks_that_are_replaced_all_the_time(place):
    for i in range(WRITERS):
        with open(place.at("to%d" % i), "wb") as file:
            file.write(b"%d" % i)
    link = place.at("link")
    os.symlink("to0", link)
    def turn(i):
        def step(_):
            os.symlink("to%d" % i, "%s.%d" % (link, i))
            os.rename("%s.%d" % (link, i), link)
        return lambda: until_over(step)
    print(beside_one_another([turn(i) for i in range(WRITERS)] + [read_whole(link, os.O_RDONLY, False)] * READERS))


def test_what_was_found_stays_what_it_was(place):
    """An O_PATH descriptor is what a path led to: it is opened whatever became of the name, as on any file system."""
    seed = int(os.environ.get("MRMR_SEED", random.randrange(1 << 32)))
    print("seed", seed)
    rng = random.Random(seed)
    found = {}
    for i in range(40):
        path = place.at("f%d" % i)
        with open(path, "wb") as file:
            file.write(b"first %d" % i)
        if i % 4 == 0:
            os.link(path, path + ".also")
    place.run("sync", code=(0, 3))
    for i in range(40):
        found[i] = os.open(place.at("f%d" % i), os.O_PATH)
    for i in rng.sample(range(40), 40):
        path = place.at("f%d" % i)
        if i % 2:
            os.unlink(path)
        else:
            with open(path + ".new", "wb") as file:
                file.write(b"second")
            os.rename(path + ".new", path)
    for i, fd in found.items():
        with open("/proc/self/fd/%d" % fd, "r+b") as file:
            assert file.read() == b"first %d" % i
            file.write(b" more")
        assert os.fstat(fd).st_nlink == (1 if i % 4 == 0 else 0)
        with open("/proc/self/fd/%d" % fd, "rb") as file:
            assert file.read() == b"first %d more" % i
        os.close(fd)
    for i in range(0, 40, 4):
        with open(place.at("f%d.also" % i), "rb") as file:
            assert file.read() == b"first %d more" % i
    if place.mount: # what was kept is let go of
        until(lambda: not any(" (deleted)" in name or "/retained/" in name for name in held_open(place.mount.process.pid)))
    place.check_all()
