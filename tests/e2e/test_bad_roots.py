# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that cannot be drives: each is refused with the reason and the next step, left as it was, and the pool works on."""
import os
import pathlib

import pytest

from loops import loops, need_loops
from test_bad_world import NOBODY, Pool, fill, make_pool, open_folder, ordinary_user_pool, seed_of, tree


@pytest.fixture
def world(tmp_path):
    pool, contents = make_pool(tmp_path, drives=3, files=6)
    yield pool, tmp_path, contents
    assert set(pool.presence().values()) == {"present"}
    assert set(pool.presence()) == set(pool.drives), "the refused drive was added, or another one is gone"
    pool.well()


def refused(pool, root, *words):
    """Adding root fails with these words, and neither it, a drive's original nor the list of drives has changed."""
    drives, originals = pool.json("drives"), pool.record()
    there = tree(root) if os.path.isdir(root) else None
    done = pool.run("add-drive", root, code=1).says(root, *words)
    assert done.err.startswith("mrmr: ") and "; " in done.err, "no next step: %s" % done
    assert there == (tree(root) if os.path.isdir(root) else None)
    after = pool.json("drives")
    for listing in (drives, after):
        for drive in listing["drives"]:
            drive.pop("seen", None)
            drive.pop("available_size", None)
    assert after == drives
    pool.unchanged(originals)


def test_missing(world):
    pool, folder, _ = world
    refused(pool, folder / "not there", "No such file or directory", "mount the drive there first")
    assert not (folder / "not there").exists()


def test_a_file(world):
    pool, folder, _ = world
    (folder / "file").write_text("not a folder")
    refused(pool, folder / "file", "it is not a folder", "a drive is a folder")
    assert (folder / "file").read_text() == "not a folder"


def test_inside_a_drive(world):
    pool, folder, _ = world
    inside = folder / "d2" / "d2" / "dir 1"
    assert inside.is_dir()
    refused(pool, inside, "inside the drive 'd2'", "choose another folder")


def test_inside_a_drive_by_a_symlink(world):
    pool, folder, _ = world
    os.symlink(folder / "d2" / "d2", folder / "link")
    pool.run("add-drive", folder / "link", code=1).says("inside the drive 'd2'", "choose another folder")


def test_around_drives(world):
    pool, folder, _ = world
    around = folder / "around"
    (around / "below").mkdir(parents=True)
    pool.add("below", around / "below")
    refused(pool, around, "around the drive 'below'", "choose another folder")


def test_inside_the_pools_folder(world):
    pool, folder, _ = world
    inside = pool.dir / "inside"
    inside.mkdir()
    refused(pool, inside, "inside the pool's own folder", "choose another folder")


def test_around_the_pools_folder(world):
    pool, folder, _ = world
    other = Pool(folder / "around", "its pool")
    (folder / "around").mkdir()
    (folder / "side").mkdir()
    other.add("side", folder / "side")
    other.run("add-drive", folder / "around", code=1).says(
        folder / "around", "around the pool's own folder", "choose another folder")
    assert not (folder / "around" / ".mrmr").exists()


def test_a_pool_on_a_drive(world):
    pool, folder, _ = world
    before = tree(folder / "d1")
    for place in ("pool here", "d1/deeper/pool here"):
        other = Pool(folder / "d1", place)
        other.run("init", code=1).says("d1", "a drive of a pool", "choose another folder")
        done = other.run("add-drive", folder / "d1", code=1)
        assert not (other.dir / "catalog.sqlite").exists(), str(done)
    assert tree(folder / "d1") == before, "the refused pool left something on the drive"


def test_already_in_this_pool(world):
    pool, folder, _ = world
    refused(pool, folder / "d3", "in the pool already", "'d3'", "mrmr drives")
    os.symlink(folder / "d3", folder / "link")
    pool.run("add-drive", folder / "link", code=1).says("in the pool already", "'d3'")
    pool.run("add-drive", str(folder / "d3") + "//.", code=1).says("in the pool already", "'d3'")


def test_already_in_another_pool(world):
    pool, folder, contents = world
    other = Pool(folder, "pool2")
    before = pool.json("drives")["drives"]
    other.add("theirs")
    other.run("add-drive", folder / "d1", code=1).says(
        folder / "d1", "is a drive ('d1') of another pool", "--pool", ".mrmr away")
    assert set(other.presence()) == {"theirs"}
    assert [d["uuid"] for d in pool.json("drives")["drives"]] == [d["uuid"] for d in before]
    refused(pool, folder / "theirs", "of another pool", "--pool", ".mrmr away")
    other.run("sync")
    other.deep()


def test_a_copy_of_a_drive(world):
    pool, folder, _ = world
    os.system("cp -a '%s' '%s'" % (folder / "d1", folder / "copy"))
    refused(pool, folder / "copy", "is the drive 'd1', or a copy of it", "use only one of them")


def test_names_that_cannot_be(world):
    pool, folder, _ = world
    for name in ("d2", "", "with space", "-x", "a/b", "n" * 64, "line\nend"):
        (folder / "fresh").mkdir(exist_ok=True)
        done = pool.run("add-drive", folder / "fresh", "--name", name, code=(1, 2))
        assert done.err.strip() and not (folder / "fresh" / ".mrmr").exists(), str(done)


def test_read_only_mount(world):
    pool, folder, _ = world
    need_loops()
    with loops(folder) as make:
        loop = make("loop", "ext4", 20)
        (pathlib.Path(loop.root) / "kept").write_text("kept")
        os.system("mount -o remount,ro '%s'" % loop.root)
        pool.run("add-drive", loop.root, code=1).says(loop.root, "read-only", "mount it writable")
        assert (pathlib.Path(loop.root) / "kept").read_text() == "kept"


def test_as_an_ordinary_user(tmp_path):
    """A root that may not be read, one that may not be written; then a drive of the pool that loses its rights, which costs nothing."""
    rng = seed_of("unreadable roots")
    with open_folder() as folder:
        pool, contents = ordinary_user_pool(folder, drives=4, files=6, rng=rng)
        for mode, name in ((0o000, "closed"), (0o555, "fixed")):
            root = folder / name
            fill(root, name, rng, files=2)
            os.system("chown -R %d '%s'" % (NOBODY, root))
            root.chmod(mode)
            done = pool.run("add-drive", root, code=1).says(root)
            assert any(w in done.err for w in ("permission denied", "Permission denied", "read-only")), str(done)
            assert "; " in done.err, "no next step: %s" % done
            root.chmod(0o755)
            assert not (root / ".mrmr").exists()
        before = pool.record()
        pool.drives["d2"].chmod(0)
        done = pool.run("status", code=3).says("d2")
        drives = {d["name"]: d for d in pool.json("drives")["drives"]}
        assert drives["d2"]["presence"] == "failed" and "permissions" in drives["d2"]["why"], drives["d2"]
        pool.run("sync", code=3).says("d2")
        for path in sorted(p for p in contents if p.startswith("d2/")):
            assert pool.cat(path, code=(0, 3)) == contents[path]
        pool.drives["d2"].chmod(0o755)
        pool.well()
        pool.unchanged(before)
