# SPDX-License-Identifier: GPL-3.0-or-later
"""Rebuild among other things that happen: interruptions, edits, deletions, strangers in the way, little room."""
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from test_bad_world import Pool, make_pool, seed_of


def plain_pool(folder, drives=3, size=100_000, files=3, others=None):
    """A pool with a few files of one size on each drive (others: so many on each but the first), path dN/fI; path → bytes."""
    rng, pool, contents = seed_of("rebuild"), Pool(folder), {}
    for d in range(1, drives + 1):
        name = "d%d" % d
        for i in range(files if d == 1 or others is None else others):
            path = "%s/f%d" % (name, i)
            contents[path] = rng.randbytes(size + i)
            where = pathlib.Path(folder) / name / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(contents[path])
        pool.add(name)
    return pool, contents


def kill_when(process, condition):
    """SIGKILL as soon as the condition holds; whether it did before the process ended."""
    while process.poll() is None:
        if condition():
            process.kill()
            process.wait()
            return True
        time.sleep(0.001)
    return False


def holds(root, contents, name):
    for path, data in contents.items():
        if path.startswith(name + "/"):
            assert (root / path).read_bytes() == data, path


def test_accepted_changes_give_up_nothing_that_comes_back(tmp_path):
    """--accept-changes beside an unfinished rebuild, which it was not about."""
    pool, contents = plain_pool(tmp_path, size=20_000, files=400, others=10)  # enough files to be met among them
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    pool.add("new")
    process = pool.start("rebuild", "d1", "--onto", "new", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cut = kill_when(process, lambda: len(list(pool.drives["new"].glob("d1/*"))) > 50)
    assert cut, "the rebuild was over before it could be interrupted"
    pool.run("sync", code=(0, 3))
    pool.run("sync", "--accept-changes", code=3).says("new", "not whole yet", "mrmr rebuild new")
    pool.run("rebuild", "new")
    holds(pool.drives["new"], contents, "d1")
    pool.well()


def all_is_readable(pool, contents, *away):
    with pool.without(*away):
        for path, data in contents.items():
            assert pool.cat(path, code=(0, 3)) == data, path


def rows_on(root):
    return sorted(path.name for path in root.glob(".mrmr/parity/*/*"))


def test_parity_that_was_put_on_the_new_drive_meanwhile(tmp_path):
    """As by a daemon, which protects what is new at any moment. It is nobody's of the lost drive's stripes, so it stays."""
    pool, contents = plain_pool(tmp_path, drives=4)
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    new = pool.drives.setdefault("new", tmp_path / "new")
    pool.add("new")
    for name in ("d2", "d3", "d4"):
        contents[name + "/late"] = name.encode() * 100_000
        (pool.drives[name] / name / "late").write_bytes(contents[name + "/late"])
    pool.run("sync", code=3)
    there = rows_on(new)
    assert there
    pool.run("rebuild", "d1", "--onto", "new")
    assert set(there) <= set(rows_on(new))
    holds(new, contents, "d1")
    pool.well()
    for name in sorted(pool.drives):
        all_is_readable(pool, contents, name)


def test_folders_of_the_new_drive_that_a_sync_has_seen(tmp_path):
    """They hold nothing, and are no hindrance; anything else is."""
    pool, contents = plain_pool(tmp_path)
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    new = tmp_path / "new"
    (new / "empty" / "er").mkdir(parents=True)
    (new / "empty" / "link").symlink_to("er")
    pool.add("new")
    pool.run("sync", code=3)
    pool.run("rebuild", "d1", "--onto", "new", code=1).says("'new'", "holds files already", "leave --onto out")
    (new / "empty" / "link").unlink()
    pool.run("sync", code=3)
    pool.run("rebuild", "d1", "--onto", "new")
    holds(new, contents, "d1")
    assert (new / "empty" / "er").is_dir()
    pool.well()
    assert {entry["name"] for entry in pool.json("ls", "empty")["entries"]} == {"er"}


def test_parity_on_the_new_drive_of_what_the_lost_one_had(tmp_path):
    """It goes to a third drive, and where there is none for it, nothing is done."""
    pool, contents = plain_pool(tmp_path, drives=5)
    pool.run("set-redundancy", "3")
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    new = pool.drives.setdefault("new", tmp_path / "new")
    pool.add("new")
    with pool.without("d3"):
        for name in ("d2", "d4", "d5"): # as much as may be lost, in stripes with the other two
            del contents[name + "/f0"]
            (pool.drives[name] / name / "f0").unlink()
            pool.run("sync", code=3)
        there = rows_on(new)
        assert there
        pool.run("rebuild", "d1", "--onto", "new", code=1).says("'new'", "parity already", "no other drive has room for a row of it", "leave --onto out")
        all_is_readable(pool, contents)
    pool.run("rebuild", "d1", "--onto", "new")
    assert set(there) - set(rows_on(new))
    holds(new, contents, "d1")
    pool.well()
    for lost in (("new", "d2", "d3"), ("d3", "d4", "d5")):
        all_is_readable(pool, contents, *lost)


def test_deletions_on_a_drive_that_never_became_whole(tmp_path):
    """One file cannot come back, so the drive stays as being rebuilt; what is deleted there later is found all the same."""
    pool, contents = plain_pool(tmp_path, size=1_000_000)
    pool.run("sync")
    with pool.without("d2", "d3"):
        (pool.drives["d1"] / "late").write_bytes(b"late" * 1000)
        pool.run("sync", code=3)
    shutil.rmtree(pool.drives.pop("d1"))
    new = pool.drives.setdefault("new", tmp_path / "new")
    pool.add("new")
    pool.run("rebuild", "d1", "--onto", "new", code=3).says("late")
    holds(new, contents, "d1")
    for i in range(3):
        (new / ("d1/f%d" % i)).unlink()
    pool.run("sync", code=(0, 3))
    pool.run("where", "d1/f1", code=1)
    pool.readable_without(contents, "d2")
    pool.run("sync", "--accept-changes", code=(0, 3))
    pool.well()


def unfinished(folder):
    """A drive whose rebuild left one file over (it was never protected), and what the others hold."""
    pool, contents = plain_pool(folder, size=1_000_000)
    pool.run("sync")
    with pool.without("d2", "d3"):
        (pool.drives["d1"] / "late").write_bytes(b"late" * 1000)
        pool.run("sync", code=3)
    shutil.rmtree(pool.drives.pop("d1"))
    pool.add("new")
    pool.run("rebuild", "d1", "--onto", "new", code=3)
    holds(pool.drives["new"], contents, "d1")
    return pool, contents


def test_a_folder_renamed_on_a_drive_that_never_became_whole(tmp_path):
    pool, contents = unfinished(tmp_path)
    root = pool.drives["new"]
    (root / "d1").rename(root / "renamed")
    pool.run("sync", code=(0, 3))
    with pool.without("new"):
        for i in range(3):
            assert pool.cat("renamed/f%d" % i, code=(0, 3)) == contents["d1/f%d" % i]


def test_something_mounted_on_a_drive_that_never_became_whole(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    pool, contents = unfinished(tmp_path)
    folder = pool.drives["new"] / "d1"
    subprocess.run(["mount", "-t", "tmpfs", "mrmr-test", folder], check=True)
    try:
        pool.run("sync", code=(0, 3))
    finally:
        subprocess.run(["umount", folder], check=True)
    with pool.without("new"):
        for i in range(3):
            assert pool.cat("d1/f%d" % i, code=(0, 3)) == contents["d1/f%d" % i]


def test_changes_accepted_while_a_drive_that_could_help_is_away(tmp_path):
    pool, contents = plain_pool(tmp_path, size=20_000, files=400, others=10)  # enough files to be met among them
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    pool.add("new")
    process = pool.start("rebuild", "d1", "--onto", "new", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert kill_when(process, lambda: len(list(pool.drives["new"].glob("d1/*"))) > 50)
    with pool.without("d2"):
        pool.run("sync", "--accept-changes", code=3).says("not whole yet")
    pool.run("rebuild", "new", code=(0, 3))
    holds(pool.drives["new"], contents, "d1")
    pool.well()


def test_a_stranger_in_the_place_of_a_lost_file(tmp_path):
    """An old backup was copied onto the new disk first: neither the rebuild nor a later sync takes it for an edit."""
    pool, contents = plain_pool(tmp_path)
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    stranger = tmp_path / "new" / "d1" / "f1"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"an old backup")
    pool.add("new")
    pool.run("rebuild", "d1", "--onto", "new", code=3).says("d1/f1", "another file is in its place", "move it away")
    pool.run("sync", code=3)
    assert stranger.read_bytes() == b"an old backup"
    stranger.unlink()
    pool.run("rebuild", "new")
    holds(pool.drives["new"], contents, "d1")
    pool.well()


def test_a_save_that_no_sync_has_seen_is_left_alone(tmp_path):
    pool, contents = plain_pool(tmp_path)
    pool.run("sync")
    rotten, gone = pool.drives["d1"] / "d1/f1", pool.drives["d1"] / "d1/f2"
    before = rotten.stat()
    with open(rotten, "r+b") as f:
        f.seek(500)
        f.write(b"rot")
    os.utime(rotten, ns=(before.st_atime_ns, before.st_mtime_ns))
    pool.run("sync", code=3).says("d1/f1", "held")
    rotten.write_bytes(b"what the user saved since")
    gone.unlink()
    pool.run("rebuild", "d1", code=3).says("d1/f1", "edited since the last sync", "mrmr sync")
    assert rotten.read_bytes() == b"what the user saved since"
    assert gone.read_bytes() == contents["d1/f2"]


def test_a_second_name_that_is_taken_elsewhere(tmp_path):
    """A file with two names, one of which other drives have: it comes back under the other."""
    pool, contents = plain_pool(tmp_path)
    os.link(pool.drives["d1"] / "d1/f0", pool.drives["d1"] / "d1/second")
    for other in ("d2", "d3"):
        (pool.drives[other] / "d1").mkdir()
        (pool.drives[other] / "d1/second").write_bytes(other.encode() * 100)
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    pool.run("rebuild", "d1", code=3).says("'d1/second', another name of", "another file is in its place")
    for path, data in contents.items():
        assert pool.cat(path) == data
    for other in ("d2", "d3"):
        assert (pool.drives[other] / "d1/second").read_bytes() == other.encode() * 100
    pool.well()


@pytest.mark.parametrize("linked", [False, True])
def test_a_second_name_after_an_interrupted_rebuild(tmp_path, linked):
    """The file is in place again, with one of its names or with both, and the catalog does not know it yet: it ends with both."""
    pool, contents = plain_pool(tmp_path)
    root = pool.drives["d1"]
    os.link(root / "d1/f0", root / "d1/second")
    pool.run("sync")
    before = (root / "d1/f0").stat()
    for name in ("f0", "second"):
        (root / "d1" / name).unlink()
    (root / "d1/f0").write_bytes(contents["d1/f0"])
    os.utime(root / "d1/f0", ns=(before.st_atime_ns, before.st_mtime_ns))
    if linked:
        os.link(root / "d1/f0", root / "d1/second")
    done = pool.run("rebuild", "d1")
    assert "not restored" not in done.text, str(done)
    assert (root / "d1/second").samefile(root / "d1/f0")
    assert (root / "d1/second").read_bytes() == contents["d1/f0"]
    pool.well()


def test_a_folder_that_became_a_symlink(tmp_path):
    """What cannot come back through it is told; the rest does."""
    pool, contents = plain_pool(tmp_path)
    root = pool.drives["d1"]
    (root / "z").mkdir()
    (root / "z" / "last").write_bytes(b"z" * 5000)
    pool.run("sync")
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(root / "d1")
    (root / "d1").symlink_to(outside)
    (root / "z" / "last").unlink()
    pool.run("rebuild", "d1", code=3).says("d1/f0")
    assert (root / "z" / "last").read_bytes() == b"z" * 5000
    assert not list(outside.iterdir()), "it went out through the symlink"


def test_a_symlink_that_points_elsewhere_is_no_copy(tmp_path):
    pool, _ = plain_pool(tmp_path)
    link = pool.drives["d1"] / "link"
    link.symlink_to("right")
    pool.run("sync")
    link.unlink()
    link.symlink_to("wrong")
    pool.run("rebuild", "d1", code=3).says("'link'", "another")
    assert os.readlink(link) == "wrong"


def allocate(path, size):
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def test_rebuild_into_the_room_of_several_drives(tmp_path):
    """The emptier drive has no room for all: the files of one batch are spread with one another in mind."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    roots = [tmp_path / "d1", tmp_path / "d2", tmp_path / "d3"]
    for root in roots:
        root.mkdir()
    mounted = []
    try:
        for root, size in zip(roots[1:], ("200m", "600m")):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "mrmr-test", root], check=True)
            mounted.append(root)
        pool, contents = Pool(tmp_path), {}
        rng = seed_of("spread")
        (roots[2] / "h").write_bytes(rng.randbytes(60_000_000))
        for i in range(12):
            contents["f%d" % i] = rng.randbytes(5_000_000)
            (roots[0] / ("f%d" % i)).write_bytes(contents["f%d" % i])
        for root in roots:
            pool.add(root.name, root)
        pool.run("set", "exclude", "ballast")
        pool.run("sync")
        fs = os.statvfs(roots[1])
        allocate(roots[1] / "ballast", max(1, fs.f_bavail * fs.f_frsize - (45 << 20)))
        allocate(roots[2] / "ballast", 220_000_000)
        shutil.rmtree(roots[0])
        pool.run("rebuild", "d1", code=(0, 3))
        for path, data in contents.items():
            assert pool.cat(path, code=(0, 3)) == data
    finally:
        for root in mounted:
            subprocess.run(["umount", root], check=True)


def test_what_comes_back_exposed_needs_a_look(tmp_path):
    """Two drives, one lost: its files are back on the other, and nothing protects them."""
    pool, contents = plain_pool(tmp_path, drives=2)
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    pool.run("rebuild", "d1", code=3).says("not everything is protected", "mrmr status")
    for path, data in contents.items():
        assert pool.cat(path, code=(0, 3)) == data


def test_copies_of_a_killed_rebuild_are_cleared_away(tmp_path):
    pool, contents = plain_pool(tmp_path, size=200_000, files=60, others=10)
    pool.run("sync")
    shutil.rmtree(pool.drives.pop("d1"))
    process = pool.start("rebuild", "d1", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def left():
        return [p for root in pool.drives.values() for p in root.glob(".mrmr/work/*")]

    assert kill_when(process, lambda: len(left()) > 20)
    assert left()
    # What is left of the drive is not forgotten.
    assert pool.presence()["d1"] == "away"
    pool.run("status", code=3).says("d1", "reconstruction", "mrmr rebuild d1")
    assert len(pool.json("ls", "d1")["entries"]) == 60
    pool.run("sync", code=(0, 3))
    assert not left()
    pool.run("rebuild", "d1", code=(0, 3))
    assert "d1" not in pool.presence()
    for path, data in contents.items():
        whole = [root / path for root in pool.drives.values() if (root / path).exists()]
        assert len(whole) == 1 and whole[0].read_bytes() == data, path
        if path.endswith("0"):
            assert pool.cat(path) == data
    pool.well()


def test_a_clock_set_back_at_boot(tmp_path):
    """The power went while a drive was attached, and the next boot's clock is behind: what is missing is held all the same."""
    import sqlite3
    pool, contents = plain_pool(tmp_path)
    pool.run("sync")
    with sqlite3.connect(pool.dir / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE drive SET boot = '00000000-1111-2222-3333-444444444444', scanned = ? WHERE name = 'd1'",
                        (time.time_ns() + 3600 * 10**9,))
    catalog.close()
    os.truncate(pool.drives["d1"] / "d1/f0", 0)
    (pool.drives["d1"] / "d1/f1").unlink()
    pool.run("sync", code=3).says("d1/f0", "d1/f1")
    pool.run("rebuild", "d1", code=(0, 3))
    holds(pool.drives["d1"], contents, "d1")
    pool.run("sync")
    pool.well()


def test_an_interrupted_repair_without_inode_numbers(tmp_path):
    """On overlayfs nothing tells files apart by inode: what lies where a repair was cut off is kept, be it whose it may."""
    import sqlite3
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    for name in ("lower", "upper", "work", "mnt"):
        (tmp_path / name).mkdir()
    options = "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % ((tmp_path,) * 3)
    mount = subprocess.run(["mount", "-t", "overlay", "mrmr-test", "-o", options, tmp_path / "mnt"], capture_output=True)
    if mount.returncode:
        pytest.skip("no overlay on this file system: %s" % mount.stderr.decode(errors="replace").strip())
    try:
        pool, contents = plain_pool(tmp_path, drives=2)
        root = tmp_path / "mnt" / "over"
        (root / "over").mkdir(parents=True)
        (root / "over/f").write_bytes(b"as it was protected" * 1000)
        pool.add("over", root)
        pool.run("sync")
        with sqlite3.connect(pool.dir / "catalog.sqlite") as catalog:
            node = catalog.execute("SELECT n.node FROM name n JOIN node d ON d.id = n.node JOIN drive v ON v.id = d.drive "
                                   "WHERE v.name = 'over' AND n.name = CAST('f' AS BLOB)").fetchone()[0]
        catalog.close()
        # The power went right after the exchange, in the middle of which the user had saved: the copy is in place,
        # with the size and time that the catalog knows, and the user's file under the pending name.
        pending = root / ".mrmr/quarantine" / ("pending-%d" % node)
        pending.parent.mkdir(exist_ok=True)
        pending.write_bytes(b"what the user has just saved, the only copy")
        pool.run("sync", code=(0, 3))
        found = [p for p in root.rglob("*") if p.is_file() and p.stat().st_size < 1000 and b"the only copy" in p.read_bytes()]
        assert found, "the user's file is gone"
        assert (root / "over/f").read_bytes() == b"what the user has just saved, the only copy"
    finally:
        subprocess.run(["umount", tmp_path / "mnt"], check=True)
