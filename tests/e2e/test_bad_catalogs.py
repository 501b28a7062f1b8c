# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogs and drives that are not of the same time: nothing is deleted, everything stays readable, and it is said what to do."""
import shutil

from test_bad_world import Pool, fill, make_pool, seed_of, tree


def session(root):
    return (root / ".mrmr/drive").read_bytes()


def later_work(pool, contents, rng):
    """Changes that make new generations and drop old ones on every drive."""
    for name, root in pool.drives.items():
        new = fill(root, name + "/later", rng, files=4)
        contents.update({p: d for p, d in new.items()})
        gone = sorted(p for p in contents if p.startswith(name + "/dir"))[0]
        (root / gone).unlink()
        del contents[gone]
    sessions = [session(root) for root in pool.drives.values()]
    pool.run("sync")
    pool.run("set-redundancy", 2)
    now = [session(root) for root in pool.drives.values()]
    assert all(a != b for a, b in zip(sessions, now)), "every drive has to be written to for this test"


def nothing_touched(pool, before):
    for name, root in pool.drives.items():
        now = tree(root)
        assert set(now) == set(before[name]), "names on %s" % name
        assert now == before[name], "something on %s was written" % name


def test_catalog_from_an_old_copy(tmp_path):
    rng = seed_of("old catalog")
    pool, contents = make_pool(tmp_path, rng=rng)
    shutil.copytree(pool.dir, tmp_path / "old pool")
    later_work(pool, contents, rng)
    shutil.move(pool.dir, tmp_path / "newest pool")
    shutil.move(tmp_path / "old pool", pool.dir)

    before = {name: tree(root) for name, root in pool.drives.items()}
    done = pool.run("status", code=3)
    assert set(pool.presence().values()) == {"diverged"}
    for name in pool.drives:
        done.says(name)
    drives = pool.json("drives")["drives"]
    for drive in drives:
        assert "diverged" in drive["why"] and "restored from an old copy" in drive["why"], drive["why"]
        assert "newest catalog" in drive["why"]
    pool.run("sync", code=(1, 3)).says("diverged", "newest catalog")
    pool.run("sync", "--accept-changes", code=(1, 3))
    pool.run("scrub", "--repair", code=(1, 3))
    pool.run("set-redundancy", 2, code=(0, 1, 3))
    nothing_touched(pool, before)

    shutil.rmtree(pool.dir)
    shutil.move(tmp_path / "newest pool", pool.dir)
    pool.run("status")
    pool.well()
    for name in pool.drives:
        pool.readable_without(contents, name, every=3)


def test_catalog_used_on_a_second_host_and_then_here_again(tmp_path):
    rng = seed_of("second host")
    pool, contents = make_pool(tmp_path, rng=rng)
    there = Pool(tmp_path, "pool of the second host")
    there.drives = pool.drives
    shutil.copytree(pool.dir, there.dir)
    later_work(there, contents, rng)
    there.well()

    before = {name: tree(root) for name, root in pool.drives.items()}
    pool.run("sync", code=(1, 3)).says("diverged", "another computer used the drive", "newest catalog")
    pool.run("scrub", "--repair", code=(1, 3))
    assert set(pool.presence().values()) == {"diverged"}
    nothing_touched(pool, before)
    there.well()
    for name in there.drives:
        there.readable_without(contents, name, every=3)


def test_catalogs_used_in_turns(tmp_path):
    """Each makes the drives that it writes to strange to the other. What one has not written to is the same drive to both."""
    rng = seed_of("in turns")
    pool, contents = make_pool(tmp_path, rng=rng)
    there = Pool(tmp_path, "other")
    there.drives = pool.drives
    shutil.copytree(pool.dir, there.dir)
    sessions = {name: session(root) for name, root in pool.drives.items()}
    contents.update(fill(pool.drives["d2"], "d2/here", rng, files=2))
    pool.run("sync")
    written = {name for name, root in pool.drives.items() if session(root) != sessions[name]}
    assert written
    before = {name: tree(pool.drives[name]) for name in written}
    contents.update(fill(pool.drives["d1"], "d1/there", rng, files=2))
    before["d1"] = tree(pool.drives["d1"])
    there.run("sync", code=(1, 3)).says("diverged")
    assert {name for name, p in there.presence().items() if p == "diverged"} == written
    for name in written:
        assert tree(pool.drives[name]) == before[name], "something on %s was written" % name
    pool.run("sync", code=(0, 3))
    for path, data in contents.items():
        assert (pool.drives[path[:2]] / path).read_bytes() == data
        assert pool.cat(path, code=(0, 3)) == data


def test_drive_from_an_old_image(tmp_path):
    """One drive copied back as it was: known as old, never written, and its files come back by rebuilding onto a fresh one."""
    rng = seed_of("old image")
    pool, contents = make_pool(tmp_path, rng=rng)
    shutil.copytree(pool.drives["d2"], tmp_path / "image", symlinks=True)
    later_work(pool, contents, rng)
    now = pool.record()
    shutil.rmtree(pool.drives["d2"])
    shutil.move(tmp_path / "image", pool.drives["d2"])

    before = tree(pool.drives["d2"])
    pool.run("status", code=3).says("d2", "old image")
    assert pool.presence()["d2"] == "diverged"
    pool.run("sync", code=3).says("d2", "old image", "rebuild d2")
    pool.run("scrub", "--repair", code=(0, 1, 3)) # 0: the others' rows and files were all that was to be put right
    assert tree(pool.drives["d2"]) == before, "something was written to the old drive"
    for path in sorted(p for p in contents if p.startswith("d2/")):
        assert pool.cat(path, code=(0, 3)) == contents[path], "the newest bytes of %s" % path

    shutil.move(pool.drives["d2"], tmp_path / "put aside")
    pool.add("fresh")
    pool.run("rebuild", "d2", "--onto", "fresh", code=(0, 3))
    pool.drives["d2"] = pool.drives.pop("fresh")
    pool.unchanged(now)
    pool.well()
