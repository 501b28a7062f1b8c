# SPDX-License-Identifier: GPL-3.0-or-later
"""A catalog that cannot be written: its file system is full, or read-only, or the user may not. Nothing is lost, and it is said why."""
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from loops import loops, need_loops
from some import some
from test_bad_world import NOBODY, Pool, fill, open_folder, ordinary_user_pool, seed_of, tree
from test_full_drives import fill_up, free, make_room


@pytest.fixture
def world(tmp_path):
    """The pool's folder on a small file system of its own; drives beside it."""
    need_loops()
    rng = seed_of("catalog")
    with loops(tmp_path) as make:
        home = make("home", "ext4", 16)
        pool, contents = Pool(home.root, "pool"), {}
        for name in ("d1", "d2", "d3"):
            root = tmp_path / name
            root.mkdir()
            contents.update(fill(root, name, rng, files=8))
            pool.add(name, root)
        pool.well()
        yield pool, contents, rng, pathlib.Path(home.root)


def many(pool, rng, files=2500):
    """Enough for the catalog to need room: every row of it has names and digests."""
    folder = pool.drives["d1"] / "d1" / "many"
    folder.mkdir()
    for i in range(files):
        (folder / ("%d %s" % (i, "n" * 200))).write_bytes(b"%d" % i)


def test_full(world):
    pool, contents, rng, home = world
    before = pool.record()
    many(pool, rng, files=600)
    fill_up(home)
    done = pool.run("sync", code=(1, 3)).says("catalog")
    assert "full" in done.text or "space" in done.text or "room" in done.text, str(done)
    done = pool.run("status", code=(0, 1, 3))  # SQLite may need room for its shared memory even to read
    assert done.code != 1 or "make room" in done.err, str(done)
    pool.unchanged(before, "d2", "d3")
    make_room(home)
    pool.well()
    pool.readable_without(contents, "d1", every=3)


def test_filling_up_at_every_step(world):
    """Room for a little more each time, so that it ends at ever later places."""
    pool, contents, rng, home = world
    many(pool, rng)
    fill_up(home, "filler 0")
    codes = []
    for step in some(range(1, 12), 2):
        for path in home.glob("filler*"):
            path.unlink()
        fill_up(home, "filler", leave=step * 250_000)
        done = pool.run("sync", code=(0, 1, 3))
        assert done.code != 1 or "room" in done.err, str(done)
        codes.append(done.code)
        make_room(home)
        pool.deep()
        fill_up(home, "filler", leave=step * 250_000)
    print("exit codes by room: %r" % codes)
    make_room(home)
    pool.well()
    pool.readable_without(contents, "d2", every=3)


def test_read_only_file_system(world):
    pool, contents, rng, home = world
    new = fill(pool.drives["d1"], "d1/new", rng, files=2)
    subprocess.run(["mount", "-o", "remount,ro", home], check=True)
    try:
        before = {name: tree(root) for name, root in pool.drives.items()}
        for command in (["sync"], ["scrub"], ["set-redundancy", "2"], ["set", "hold-percent", "40"], ["rebuild", "d1"]):
            done = pool.run(*command, code=1).says(pool.dir)
            assert "read-only" in done.err.lower() and "; " in done.err, str(done)
        for command in (["status"], ["drives"], ["ls", "d1"], ["where", sorted(contents)[0]], ["events"], ["get"]):
            pool.run(*command, code=(0, 3))
        for path in sorted(contents)[::5]:
            assert pool.cat(path, code=(0, 3)) == contents[path]
        assert {name: tree(root) for name, root in pool.drives.items()} == before
    finally:
        subprocess.run(["mount", "-o", "remount,rw", home], check=True)
    contents.update(new)
    pool.well()
    pool.readable_without(contents, "d1", every=3)


def test_folder_of_somebody_else():
    """A catalog that this user may read, not write."""
    with open_folder() as folder:
        pool, contents = ordinary_user_pool(folder, drives=3, files=3)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "0:0", pool.dir], check=True)
            subprocess.run(["chmod", "-R", "go+rX", pool.dir], check=True)
        else:
            subprocess.run(["chmod", "-R", "a-w", pool.dir], check=True)
        done = pool.run("sync", code=1).says(pool.dir)
        assert "denied" in done.err and "writable" in done.err, str(done)
        pool.run("status", code=(0, 1, 3))
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "%d:%d" % (NOBODY, NOBODY), pool.dir], check=True)
        else:
            subprocess.run(["chmod", "-R", "u+w", pool.dir], check=True)
        pool.well()


@pytest.mark.parametrize("what", some(["cut", "zeros", "text", "another version", "gone", "a folder"], 2))
def test_catalog_that_is_none(tmp_path, what):
    """Refused with the reason, and not written to; the drives stay what they are."""
    rng = seed_of("no catalog")
    pool, contents = Pool(tmp_path), {}
    for name in ("d1", "d2", "d3"):
        (tmp_path / name).mkdir()
        contents.update(fill(tmp_path / name, name, rng, files=4))
        pool.add(name)
    pool.well()
    catalog = pool.dir / "catalog.sqlite"
    kept = tmp_path / "kept"
    shutil.copytree(pool.dir, kept)
    for path in pool.dir.glob("catalog.sqlite-*"):
        path.unlink()
    if what == "cut":
        os.truncate(catalog, catalog.stat().st_size // 2 + 1)
    elif what == "zeros":
        catalog.write_bytes(bytes(catalog.stat().st_size))
    elif what == "text":
        catalog.write_text("dear diary\n" * 1000)
    elif what == "another version":
        subprocess.run(["sqlite3", catalog, "PRAGMA user_version = 99"], check=True)
    else:
        catalog.unlink()
        if what == "a folder":
            catalog.mkdir()
    before = {name: tree(root) for name, root in pool.drives.items()}
    there = catalog.read_bytes() if catalog.is_file() else None
    for command in (["sync"], ["status"], ["scrub", "--repair"], ["sync", "--accept-changes"], ["cat", sorted(contents)[0]]):
        done = pool.run(*command, code=1).says("mrmr: ")
        assert str(pool.dir) in done.err or "catalog" in done.err, str(done)
        if what in ("cut", "zeros", "text"):
            assert re.search("zcat .* catalog.sqlite", done.err), str(done)
    if what == "another version":
        done.says("schema version 99", "or a newer one")
    assert (catalog.read_bytes() if catalog.is_file() else None) == there
    assert {name: tree(root) for name, root in pool.drives.items()} == before, "a drive was written to"
    shutil.rmtree(pool.dir)
    shutil.move(kept, pool.dir)
    pool.well()
    pool.readable_without(contents, "d1")


@pytest.mark.parametrize("drive", some(["d1", "d2", "d3"], 1))
def test_the_next_step_after_a_damaged_catalog(tmp_path, drive):
    """What the message says to do, done word for word: from then on every file is read, and what has no bytes is known."""
    rng = seed_of("damaged catalog")
    pool, contents = Pool(tmp_path, "the pool"), {}
    for name in ("d1", "d2", "d3"):
        (tmp_path / name).mkdir()
        contents.update(fill(tmp_path / name, name, rng, files=4))
        (tmp_path / name / name / "empty").mkdir()
        pool.add(name)
    pool.well()
    contents.update(fill(tmp_path / "d2", "d2/later", rng, files=3))
    pool.well()
    catalog = pool.dir / "catalog.sqlite"
    catalog.write_bytes(rng.randbytes(5000))
    before = {name: tree(root) for name, root in pool.drives.items()}
    command = re.search("zcat .*? catalog.sqlite", pool.run("status", code=1).says(catalog, "away", "docs/FORMAT.md").err).group()
    (tmp_path / "away").mkdir()
    for path in pool.dir.glob("catalog.sqlite*"):
        path.rename(tmp_path / "away" / path.name)
    command = command.replace("DRIVE", shlex.quote(str(pool.drives[drive])))
    subprocess.run(["sh", "-c", command], cwd=pool.dir, check=True)
    pool.deep()
    for path, data in contents.items():
        assert pool.cat(path, code=(0, 3)) == data
    for name in pool.drives:
        assert "empty" in [entry["name"] for entry in pool.json("ls", name)["entries"]]
    pool.run("status", code=(0, 3))
    assert {name: tree(root) for name, root in pool.drives.items()} == before, "a drive was written to"
    pool.readable_without(contents, "d1")
