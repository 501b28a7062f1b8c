# SPDX-License-Identifier: GPL-3.0-or-later
"""Mass disappearance and changes that cannot be ordinary edits are held until the user says yes; what is held can be had back."""
import os
import pathlib
import stat

import pytest

from test_bad_world import make_pool, seed_of
from trees import differences, record


@pytest.fixture
def world(tmp_path):
    pool, contents = make_pool(tmp_path, drives=4, redundancy=2, files=14, most=500_000, rng=seed_of("holds"))
    return pool, contents


def lose(pool, contents, name, part):
    paths = sorted(p for p in contents if p.startswith(name + "/"))
    gone = paths[:int(len(paths) * part)]
    for path in gone:
        (pool.drives[name] / path).unlink()
    return gone


def same_files(pool, before):
    """All is as it was but the folders' times: deleting files in them was the last change that they saw."""
    times = lambda entries: {p: dict(e, mtime=0) if stat.S_ISDIR(e["mode"]) else e for p, e in entries.items()}
    for name, root in pool.drives.items():
        assert not differences(times(before[name]), times(record(root)))


def held(pool, contents, gone, name):
    """sync holds, again and again, and nothing was dropped."""
    for _ in range(2):
        pool.run("sync", code=3).says(name, "held as it was", "%d vanished" % len(gone), "sync --accept-changes",
                                      "rebuild %s" % name)
    drive = next(d for d in pool.json("drives")["drives"] if d["name"] == name)
    assert "vanished" in (drive["hold"] or "")
    status = pool.status()
    assert status["held_drives"] == 1 and status["files"] == len(contents)
    # What shares parity with it is one drive less safe for as long, and told so.
    assert status["survives"] == 1 and status["margin"][0] == 0 and status["margin"][1] > 0
    pool.run("status", code=3).says(name, "survive", "fewer than 2 further losses, only 1 at worst", "end the hold")
    events = [event for event in pool.json("events")["events"] if event["kind"] == "hold" and event["drive"] == name]
    assert len(events) == 1 and "%d vanished" % len(gone) in events[0]["text"], "once, however often it is looked at"
    for path in gone:
        assert pool.cat(path, code=(0, 3)) == contents[path]
    pool.deep()


def test_held_then_rebuilt(world):
    pool, contents = world
    before = pool.record()
    gone = lose(pool, contents, "d2", 0.5)
    held(pool, contents, gone, "d2")
    pool.run("rebuild", "d2")
    same_files(pool, before)
    pool.well()
    assert pool.status()["held_drives"] == 0
    pool.readable_without(contents, "d1", "d2", every=4)


def test_held_then_accepted(world):
    pool, contents = world
    gone = lose(pool, contents, "d2", 0.5)
    held(pool, contents, gone, "d2")
    before = pool.record()
    pool.run("sync", "--accept-changes")
    pool.unchanged(before)
    for path in gone:
        pool.run("cat", path, code=1).says("no such file")
        del contents[path]
    pool.well()
    assert pool.status()["files"] == len(contents)
    pool.readable_without(contents, "d2", "d3", every=4)


def test_held_then_put_back_by_hand(world):
    pool, contents = world
    before = pool.record()
    paths = sorted(p for p in contents if p.startswith("d3/"))
    os.rename(pool.drives["d3"] / "d3", pool.folder / "aside")
    held(pool, contents, paths, "d3")
    os.rename(pool.folder / "aside", pool.drives["d3"] / "d3")
    pool.well()
    pool.unchanged(before)
    assert pool.status()["held_drives"] == 0


def test_work_goes_on_beside_a_hold(world):
    pool, contents = world
    gone = lose(pool, contents, "d2", 0.5)
    new = pool.drives["d1"] / "d1" / "new"
    new.write_bytes(b"new" * 100_000)
    (pool.drives["d2"] / "d2" / "new too").write_bytes(b"two" * 100_000)
    held(pool, dict(contents, **{"d1/new": b"", "d2/new too": b""}), gone, "d2")
    assert pool.status()["exposed_size"] == 0
    with pool.without("d1", "d2"):
        assert pool.cat("d1/new", code=(0, 3)) == b"new" * 100_000
        assert pool.cat("d2/new too", code=(0, 3)) == b"two" * 100_000
        for path in gone:
            assert pool.cat(path, code=(0, 3)) == contents[path]


def test_drive_lost_while_another_is_held(world):
    """Held files are gone from their drive; with one more drive lost r = 2 still gives all of them back."""
    pool, contents = world
    gone = lose(pool, contents, "d2", 0.5)
    pool.run("sync", code=3)
    with pool.without("d4"):
        pool.run("sync", code=3)
        for path in sorted(p for p in contents if p.startswith("d4/")) + gone:
            assert pool.cat(path, code=(0, 3)) == contents[path]
    pool.run("rebuild", "d2")
    pool.well()


def test_few_deletes_are_not_held(world):
    pool, contents = world
    gone = lose(pool, contents, "d2", 0.2)
    pool.well()
    assert pool.status()["files"] == len(contents) - len(gone)


def fill_folders(pool, drive, folders):
    made = {}
    for folder, files in folders.items():
        for i in range(files):
            path = "%s/%d" % (folder, i)
            made[path] = b"%d of %s" % (i, folder.encode())
            where = pool.drives[drive] / path
            where.parent.mkdir(exist_ok=True)
            where.write_bytes(made[path])
    return made


def test_too_much_of_one_top_folder(world):
    """Few of the drive's files, but most of a folder's: held, by the part that is set."""
    pool, contents = world
    made = fill_folders(pool, "d1", {"kept": 300, "lost": 120})
    contents.update(made)
    pool.well()
    gone = ["lost/%d" % i for i in range(40)] # of 120 a third, of all less than a tenth
    for path in gone:
        (pool.drives["d1"] / path).unlink()
    pool.run("sync", code=3).says("of 120 files in lost 40 vanished", "held as it was")
    for path in gone[::10]:
        assert pool.cat(path, code=(0, 3)) == contents[path]
    pool.run("rebuild", "d1")
    assert all((pool.drives["d1"] / path).read_bytes() == contents[path] for path in gone)
    pool.well()
    # The same is an ordinary change where more is allowed.
    pool.run("set", "hold-percent", "50")
    for path in gone:
        (pool.drives["d1"] / path).unlink()
        del contents[path]
    pool.well()
    assert pool.status()["files"] == len(contents)


def test_too_many_files(world):
    """Whatever part of the drive they are."""
    pool, contents = world
    contents.update(fill_folders(pool, "d1", {"a": 60, "b": 60}))
    pool.run("set", "hold-files", "10")
    pool.well()
    for i in range(5): # of changed and vanished ones together
        (pool.drives["d1"] / "a" / str(i)).unlink()
        (pool.drives["d1"] / "b" / str(i)).write_bytes(b"changed")
    pool.well()
    for i in range(5, 11):
        (pool.drives["d1"] / "a" / str(i)).unlink()
        (pool.drives["d1"] / "b" / str(i)).write_bytes(b"changed")
    pool.run("sync", code=3).says("6 vanished and 6 changed", "held as it was", "sync --accept-changes", "rebuild d1")
    assert pool.cat("b/7", code=(0, 3)) == contents["b/7"]
    # Another drive's own limit is not touched by that.
    (pool.drives["d2"] / "d2" / "new").write_bytes(b"new")
    pool.run("sync", code=3)
    assert pool.status()["held_drives"] == 1 and pool.status()["exposed_size"] == 0
    pool.run("rebuild", "d1")
    for i in range(5, 11):
        assert (pool.drives["d1"] / "a" / str(i)).read_bytes() == contents["a/%d" % i]
        assert (pool.drives["d1"] / "b" / str(i)).read_bytes() == contents["b/%d" % i]
    pool.well()


@pytest.mark.parametrize("what", ["touch -r", "truncated", "emptied"])
def test_change_without_a_newer_time(world, what):
    """An edit that keeps size and mtime is found by its change time and read; a shrunk file with its old time is held (fsck does that)."""
    pool, contents = world
    path = max((p for p in contents if p.startswith("d1/")), key=lambda p: len(contents[p]))
    where = pool.drives["d1"] / path
    st = where.stat()
    if what == "touch -r":
        new = bytes(b ^ 255 for b in contents[path])
        with open(where, "r+b") as f:
            f.write(new)
        os.utime(where, ns=(st.st_atime_ns, st.st_mtime_ns))
        done = pool.run("sync", code=(0, 3))
        if done.code == 3:  # held: the old content is still to be had, and the user says yes to the new
            done.says(path, "--accept-changes")
            pool.run("sync", "--accept-changes")
        assert where.read_bytes() == new
        contents[path] = new
        pool.well()
        pool.readable_without(contents, "d1", "d3", every=4)
        return
    os.truncate(where, 0 if what == "emptied" else st.st_size // 2)
    os.utime(where, ns=(st.st_atime_ns, st.st_mtime_ns))
    pool.run("sync", code=3).says(os.path.basename(path), "without a newer modification time", "--accept-changes",
                                  "rebuild d1")
    assert pool.cat(path, code=(0, 3)) == contents[path]
    pool.deep()
    done = pool.run("rebuild", "d1", "--path", path)
    assert where.read_bytes() == contents[path], str(done)
    assert where.stat().st_mtime_ns == st.st_mtime_ns
    pool.well()


def test_all_files_of_a_drive_gone(world):
    """An empty drive with its identity intact, as after a stray rm: held, all of it readable, all of it back."""
    pool, contents = world
    before = pool.record()
    os.system("rm -rf '%s'" % (pool.drives["d1"] / "d1"))
    gone = [p for p in contents if p.startswith("d1/")]
    held(pool, contents, gone, "d1")
    pool.run("rebuild", "d1")
    same_files(pool, before)
    pool.well()


def test_everything_of_ours_removed(world):
    """`rm -rf .mrmr` on a drive: its files are all there and nothing is taken for lost; the drive comes back in as a new one."""
    pool, contents = world
    before = pool.record()
    os.system("rm -rf '%s'" % (pool.drives["d4"] / ".mrmr"))
    pool.run("sync", code=3).says("d4", ".mrmr/drive", "removed", "rebuild d4")
    assert pool.presence()["d4"] == "away"
    for path in sorted(p for p in contents if p.startswith("d4/"))[::3]:
        assert pool.cat(path, code=(0, 3)) == contents[path]
    pool.unchanged(before)
    assert not pathlib.Path(pool.drives["d4"] / ".mrmr").exists()
