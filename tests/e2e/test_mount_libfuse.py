# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mount has from libfuse 3.17 on, and how it does without before: files without a name, set-id bits and capabilities that
the kernel leaves to the file system. Tests ask the libfuse that is there."""
import errno
import os
import stat

import pytest

from libfuse import NEW, counted
from mounts import until
from places import places

OTHER = 61004


@pytest.fixture(name="place")
def make_place(mrmr, tmp_path):
    with places(mrmr, tmp_path) as place:
        for name in ("red", "green", "blue"):
            place.add(name, "ext4")
        yield place


def test_what_small_writes_ask_for(place):
    """A thousand: with the bits left to us one question about capabilities, else one before each write."""
    with counted(place) as (point, requests):
        fd = os.open(point / "file", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            asked = requests(lambda: [os.pwrite(fd, b"x", i) for i in range(1000)])
        finally:
            os.close(fd)
    print(asked)
    assert asked["WRITE"] == 1000
    assert asked.get("GETXATTR", 0) == (1 if NEW else 1000)


def as_user(folder, does):
    """In a process of another user, who is in this folder already: those above it are not his."""
    pid = os.fork()
    if not pid:
        try:
            os.chdir(folder)
            os.setgroups([])
            os.setgid(OTHER)
            os.setuid(OTHER)
            does()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def test_set_id_bits_and_capabilities(place):
    """They go when somebody writes, and stay when root does; those that were set on the drive, too, and at once."""
    place.start("-o", "suid")
    path = place.at("program")

    def mode():
        return stat.S_IMODE(os.stat(path).st_mode)

    def write(path):
        with open(path, "r+b") as file:
            file.write(b"other")

    def cut(path):
        os.truncate(path, 3)

    def other(change):
        as_user(place.point, lambda: change("program"))
    with open(path, "wb") as file:
        file.write(b"bytes")
    for bits, left in ((0o6777, 0o777), (0o4766, 0o766), (0o2777, 0o777), (0o2766, 0o766 if NEW else 0o2766)):
        for change in (write, cut):
            os.chmod(path, bits)
            assert mode() == bits
            change(path)
            assert mode() == bits
            other(change)
            assert mode() == left
    with open(path, "r+b") as file: # found plain once, and given the bit on its drive
        os.chmod(path, 0o777)
        os.chown(path, OTHER, OTHER)
        other(write)
        on_drive = os.path.join(place.drives[place.drive_of("program")].root, "program")
        os.chmod(on_drive, 0o4777)
        until(lambda: mode() == 0o4777)
        other(write)
        assert mode() == 0o777
        assert stat.S_IMODE(os.stat(on_drive).st_mode) == 0o777
        file.read()
    for change in (write, cut, lambda path: os.chown(path, 0, 0)):
        os.setxattr(path, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
        assert os.getxattr(path, "security.capability")
        change(path)
        with pytest.raises(OSError) as caught:
            os.getxattr(path, "security.capability")
        assert caught.value.errno == errno.ENODATA


def give_name(fd, path):
    """Only with a folder's descriptor, which an absolute path needs not, does Python follow the link in /proc."""
    os.link("/proc/self/fd/%d" % fd, path, src_dir_fd=fd, follow_symlinks=True)


def refuses_files_without_a_name(place):
    with pytest.raises(OSError) as caught:
        os.open(place.at("d"), os.O_TMPFILE | os.O_RDWR)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_files_without_a_name(place):
    place.start()
    os.mkdir(place.at("d"))
    if not NEW:
        return refuses_files_without_a_name(place)
    with open(place.at("taken"), "wb") as file:
        file.write(b"taken")
    place.run("sync")
    fds = [os.open(place.at(folder), os.O_TMPFILE | os.O_RDWR, 0o640) for folder in ("d", "", "d")]
    for i, fd in enumerate(fds):
        os.write(fd, b"nameless %d" % i)
        os.fsync(fd)
        st = os.fstat(fd)
        assert (st.st_nlink, st.st_size, stat.S_IMODE(st.st_mode)) == (0, 10, 0o640)
    assert len({os.fstat(fd).st_ino for fd in fds}) == 3
    assert os.listdir(place.at("d")) == []

    def name(fd, path):
        give_name(fd, place.at(path))
    with pytest.raises(FileExistsError):
        name(fds[0], "taken")
    number = os.fstat(fds[0]).st_ino
    name(fds[0], "d/named")
    os.makedirs(place.at("new/below"))
    name(fds[1], "new/below/named")
    name(fds[1], "new/below/again")
    os.write(fds[0], b" and more")
    assert os.stat(place.at("d/named")).st_ino == number == os.fstat(fds[0]).st_ino
    assert os.stat(place.at("new/below/named")).st_nlink == 2
    for fd in fds:
        os.close(fd)
    with open(place.at("taken"), "rb") as file:
        assert file.read() == b"taken"
    place.run("sync")
    with open(place.at("d/named"), "r+b") as file: # its bytes count now: they are kept before they change
        assert file.read() == b"nameless 0 and more"
        file.seek(0)
        file.write(b"N")
    with open(place.at("new/below/again"), "rb") as file:
        assert file.read() == b"nameless 1"
    place.mrmr.run("scrub", code=(0, 3))
    place.check_all()
    gone = os.open(place.at("d"), os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    with pytest.raises(FileNotFoundError):
        name(gone, "d/never")
    os.close(gone)
    as_user_folder = place.at("of the other")
    os.mkdir(as_user_folder)
    os.chown(as_user_folder, OTHER, OTHER)

    def make():
        fd = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o666)
        os.write(fd, b"mine")
        give_name(fd, "mine")
    as_user(as_user_folder, make)
    st = os.stat(as_user_folder + "/mine")
    assert (st.st_uid, st.st_gid, st.st_size) == (OTHER, OTHER, 4)
    assert place.mount.process.poll() is None
