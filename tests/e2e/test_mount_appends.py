# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is open through the mount while others append to it directly on its drive."""
import contextlib
import os

import pytest

from mounts import until
from places import places


@pytest.fixture(name="place")
def make_place(mrmr, tmp_path):
    with places(mrmr, tmp_path) as place:
        place.add("red", "ext4")
        yield place


@contextlib.contextmanager
def appending(path, *flags):
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | sum(flags), 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


def lines(*wanted):
    return b"".join(b"%s\n" % one.encode() for one in wanted)


@pytest.mark.parametrize("flag", [0, os.O_DIRECT], ids=["cached", "past the cache"])
def test_both_append(place, flag):
    """Whoever appends here asks for no size before he writes, and writes over nothing; what he reads then is what there is."""
    place.start()
    with appending(place.at("log"), flag) as here, appending(os.path.join(place.drives["red"].root, "log")) as there, \
            open(place.at("log"), "rb", buffering=0) as reader:
        os.write(here, b"here 1\n")
        assert reader.read() == b"here 1\n" # its page is in the kernel's cache
        os.write(there, b"there 1\n")
        os.write(here, b"here 2\n")
        os.write(there, b"there 2 is longer\n")
        os.write(there, b"there 3\n")
        os.write(here, b"here 3\n")
        wanted = lines("here 1", "there 1", "here 2", "there 2 is longer", "there 3", "here 3")
        assert os.pread(there, 1000, 0) == wanted
        until(lambda: os.pread(reader.fileno(), 1000, 0) == wanted, 10)
        os.truncate(os.path.join(place.drives["red"].root, "log"), 0) # as who turns logs over
        os.write(here, b"here 4\n")
        assert os.pread(there, 1000, 0) == lines("here 4")
        assert os.stat(place.at("log")).st_size == len(lines("here 4"))


def test_verified_reads_follow(place):
    """What is verified when it is read is what was opened: of a file that changed since that is nobody's wish."""
    red = place.drives["red"].root
    for name in ("log", "page"):
        with open(os.path.join(red, name), "wb") as file:
            file.write(b"1st line\n")
    place.add("green", "ext4")
    place.run("sync")
    place.run("set", "verify-reads", "on")
    place.start()
    with open(place.at("log"), "rb", buffering=0) as log, open(place.at("page"), "rb", buffering=0) as page:
        assert log.read() == page.read() == b"1st line\n"
        with open(os.path.join(red, "log"), "ab") as file:
            file.write(b"2nd line\n")
        until(lambda: log.read() == b"2nd line\n", 10)
        with open(os.path.join(red, "page"), "r+b") as file:
            file.write(b"2nd")
        until(lambda: os.pread(page.fileno(), 100, 0) == b"2nd line\n", 10)
