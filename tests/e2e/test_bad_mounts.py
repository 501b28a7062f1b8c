# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts that are not what they were: nothing mounted, another file system, two swapped, one mounted over a folder, read-only."""
import os
import pathlib
import subprocess

import pytest

from loops import loops, need_loops
from test_bad_world import Pool, fill, seed_of, tree


@pytest.fixture
def world(tmp_path):
    need_loops()
    rng = seed_of("mounts")
    with loops(tmp_path) as make:
        pool, contents, drives = Pool(tmp_path), {}, {}
        for name, fs in (("d1", "ext4"), ("d2", "ext4"), ("d3", "btrfs"), ("d4", "ext4")):
            drives[name] = make(name, fs, 128 if fs == "btrfs" else 48)
            contents.update(fill(drives[name].root, name, rng, files=12))
            pool.add(name, drives[name].root)
        pool.well()
        pool.before = pool.record()
        yield pool, drives, contents
        if "d2" in drives:
            pool.well()
            pool.unchanged(pool.before)


def files_of(contents, name):
    return sorted(p for p in contents if p.startswith(name + "/"))


def test_nothing_mounted(world):
    """An empty mountpoint is a drive that is away: nothing is dropped, nothing written below it, its files are readable."""
    pool, drives, contents = world
    drives["d2"].umount()
    stripes, files = pool.status()["stripes"], pool.status()["files"]
    for _ in range(2):
        done = pool.run("sync", code=3).says("d2", "nothing is mounted", "mount it")
        assert os.listdir(drives["d2"].root) == []
    assert pool.presence()["d2"] == "away"
    pool.run("sync", "--accept-changes", code=3)
    pool.run("scrub", code=(0, 3))
    assert os.listdir(drives["d2"].root) == []
    status = pool.status()
    assert status["files"] == files and status["stripes"] >= stripes, str(done)
    for path in files_of(contents, "d2"):
        assert pool.cat(path, code=(0, 3)) == contents[path]
    # The rest of the work goes on.
    new = fill(drives["d1"].root, "d1/new", seed_of("new"), files=3)
    pool.run("sync", code=3)
    drives["d2"].mount()
    pool.before = pool.record()
    contents.update(new)


def test_nothing_mounted_and_somebody_writes_there(world):
    """A file saved into the empty mountpoint is nobody's file of the pool, and stays what it is."""
    pool, drives, contents = world
    drives["d2"].umount()
    stray = pathlib.Path(drives["d2"].root) / "d2" / "stray"
    stray.parent.mkdir()
    stray.write_text("saved to the wrong place")
    pool.run("sync", code=3).says("d2")
    pool.run("add-drive", drives["d2"].root, code=1).says(
        drives["d2"].root, "is the place of the drive 'd2'", "not mounted", "mount it")
    assert stray.read_text() == "saved to the wrong place"
    assert os.listdir(drives["d2"].root) == ["d2"]
    stray.unlink()
    stray.parent.rmdir()
    drives["d2"].mount()


def test_swapped(world):
    pool, drives, contents = world
    a, b = drives["d1"], drives["d2"]
    a.umount(), b.umount()
    a.root, b.root = b.root, a.root
    a.mount(), b.mount()
    before = {name: tree(drives[name].root) for name in ("d1", "d2")}
    pool.run("status", code=3).says("'d1' and 'd2' are swapped", a.root, b.root, "the right way round")
    assert [pool.presence()[n] for n in ("d1", "d2")] == ["foreign", "foreign"]
    pool.run("sync", code=3).says("swapped")
    pool.run("sync", "--accept-changes", code=3)
    assert {name: tree(drives[name].root) for name in ("d1", "d2")} == before, "something was written to a foreign drive"
    a.umount(), b.umount()
    a.root, b.root = b.root, a.root
    a.mount(), b.mount()


def test_another_file_system_in_the_place(world):
    pool, drives, contents = world
    make_other = type(drives["d2"])
    drives["d2"].umount()
    root = pathlib.Path(drives["d2"].root)
    other = make_other.__new__(make_other)
    other.__dict__.update(drives["d4"].__dict__)
    other.image, other.root, other.mounted = drives["d2"].image + ".other", str(root), False
    subprocess.run(["cp", "--sparse=always", drives["d4"].image, other.image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", other.image], check=True)
    try:
        other.mount()
        (root / "their file").write_text("of another disk")
        pool.run("sync", code=3).says("d2", "another file system is mounted", str(root))
        assert sorted(os.listdir(root)) == ["lost+found", "their file"]
        for path in files_of(contents, "d2")[::4]:
            assert pool.cat(path, code=(0, 3)) == contents[path]
    finally:
        other.umount()
    drives["d2"].mount()


def test_mounted_over_a_folder_of_a_drive(world):
    """What a mount hides has not vanished; what is mounted there is not the drive's."""
    pool, drives, contents = world
    over = pathlib.Path(drives["d1"].root) / "d1" / "dir 1"
    hidden = [p for p in contents if p.startswith("d1/dir 1/")]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", over], check=True)
    try:
        (over / "of the other").write_text("not of the drive")
        pool.run("sync", code=3).says("d1", "something is mounted over", "unmount it")
        assert os.listdir(over) == ["of the other"]
        for path in hidden:
            assert pool.cat(path, code=(0, 3)) == contents[path]
        listing = pool.json("ls", "d1/dir 1")
        assert "of the other" not in [e["name"] for e in listing["entries"]]
    finally:
        subprocess.run(["umount", over], check=True)


def test_read_only(world):
    """A drive that turned read-only is still read and protected; what would have to be written there waits."""
    pool, drives, contents = world
    subprocess.run(["mount", "-o", "remount,ro", drives["d2"].root], check=True)
    new = fill(drives["d1"].root, "d1/new", seed_of("read-only"), files=3)
    gone = files_of(contents, "d3")[0]
    (pathlib.Path(drives["d3"].root) / gone).unlink()
    try:
        pool.run("sync", code=(0, 3))
        pool.deep()
        contents.update(new)
        del contents[gone]
        for name in ("d1", "d3", "d4"):
            for path in files_of(contents, name)[::3]:
                assert pool.cat(path, code=(0, 3)) == contents[path]
    finally:
        subprocess.run(["mount", "-o", "remount,rw", drives["d2"].root], check=True)
    pool.well()
    pool.before = pool.record()
    pool.run("scrub")


def test_drive_found_at_another_place(world):
    pool, drives, contents = world
    d2 = drives["d2"]
    d2.umount()
    old, d2.root = d2.root, d2.root + " elsewhere"
    os.makedirs(d2.root)
    d2.mount()
    pool.run("sync", code=3).says("d2", "drive.d2.uri")
    pool.run("set", "drive.d2.uri", drives["d1"].root, code=1).says("d2", "d1")
    pool.run("set", "drive.d2.uri", d2.root)
    pool.drives["d2"] = pathlib.Path(d2.root)
    assert set(pool.presence().values()) == {"present"}
    assert os.listdir(old) == []
