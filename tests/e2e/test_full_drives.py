# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives without room: before, in the middle, and when every one of them is full and a file is deleted."""
import os
import pathlib
import random
import re
import subprocess
import time

import pytest

from loops import loops, need_loops
from some import rounds
from test_bad_world import Pool, seed_of

MIB = 1 << 20


def free(root):
    st = os.statvfs(root)
    return st.f_bavail * st.f_frsize


def fill_up(root, name="filler", leave=0):
    """Take all the room there is, in a file that the pool leaves out."""
    with open(pathlib.Path(root) / (name + " 0"), "ab") as f:
        step = 1 << 30
        while step >= 512:
            try:
                if free(root) < leave + step:
                    raise OSError
                os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, step)
            except OSError:
                step //= 2


def make_room(root, name="filler"):
    for path in pathlib.Path(root).glob(name + " *"):
        path.unlink()


def build(folder, make, rng, sizes, data, files_of=900_000):
    """sizes and data in MiB, by drive."""
    pool, contents = Pool(folder), {}
    for i, (size, mib) in enumerate(zip(sizes, data)):
        name = "d%d" % (i + 1)
        root = pathlib.Path(make(name, "ext4", size).root)
        (root / name).mkdir()
        left, number = mib * MIB, 0
        while left > 0:
            path = "%s/file %d" % (name, number)
            contents[path] = rng.randbytes(min(left, rng.randrange(1, 2 * files_of)))
            (root / path).write_bytes(contents[path])
            left -= len(contents[path])
            number += 1
        pool.add(name, root)
    pool.run("set", "exclude", "filler*:lost+found")
    pool.run("set", "block-size", MIB)
    return pool, contents


def claims_are_true(pool, contents):
    """Whatever is not shown as exposed is read with its drive away."""
    exposed = {}
    for name in pool.drives:
        for entry in pool.json("ls", name)["entries"]:
            exposed["%s/%s" % (name, entry["name"])] = entry["exposed_size"]
    whole = sorted(p for p in contents if not exposed[p])
    for name in pool.drives:
        mine = [p for p in whole if p.startswith(name + "/")]
        subprocess.run(["umount", pool.drives[name]], check=True)
        try:
            for path in mine[::4]:
                assert pool.cat(path, code=(0, 3)) == contents[path]
        finally:
            subprocess.run(["mount", "-o", "loop", str(pool.drives[name]) + ".img", pool.drives[name]], check=True)
    return whole


@pytest.fixture
def make(tmp_path):
    need_loops()
    with loops(tmp_path) as made:
        yield made


def test_more_data_than_parity_has_room_for(tmp_path, make):
    """What fits is protected, the rest is shown as exposed; a further drive is all it takes."""
    pool, contents = build(tmp_path, make, seed_of("too much"), [36, 36, 36], [19, 19, 19], files_of=600_000)
    before = pool.record()
    done = pool.run("sync", code=3).says("exposed")
    status = pool.status()
    assert 0 < status["exposed_size"] < status["file_size"] * 2 // 3, done.text
    for said in (done, pool.run("status", code=3)):
        said.says("exposed", "no room for more parity", "mrmr add-drive")
    pool.deep()
    whole = claims_are_true(pool, contents)
    assert len(whole) > len(contents) // 4
    pool.unchanged(before)
    pool.add("d4", make("d4", "ext4", 64).root)
    pool.well()
    pool.unchanged(before)


def test_a_drive_fills_up_in_the_middle(tmp_path, make):
    """Somebody else takes all the room while sync writes parity: what could be protected is, and the rest when there is room again."""
    pool, contents = build(tmp_path, make, seed_of("filling up"), [40, 40, 40, 40], [14, 14, 14, 14])
    before = pool.record()
    process = pool.start("sync", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while process.poll() is None:
        if any(True for root in pool.drives.values() for _ in root.glob(".mrmr/parity/*/*-g*")):
            break
        time.sleep(0.001)
    for name in ("d1", "d2", "d3"):
        fill_up(pool.drives[name])
    text = process.communicate(timeout=120)[0].decode(errors="replace")
    assert process.returncode == 3, text
    status = pool.status()
    assert 0 < status["exposed_size"] < status["file_size"], text
    # The thing, the cause, the next step.
    assert re.search("not protected in this run: drive d[123]: .*No space left on device", text), text
    assert "still exposed: there is no room for more parity" in text and "mrmr add-drive" in text, text
    print("exposed when it was full: %d of %d bytes" % (status["exposed_size"], status["file_size"]))
    pool.run("sync", code=(0, 3))
    pool.deep()
    claims_are_true(pool, contents)
    for name in ("d1", "d2", "d3"):
        make_room(pool.drives[name])
    pool.well()
    pool.unchanged(before)


@pytest.mark.parametrize("seed", [None, 2489863809])  # once the catalog's copy came out of the reserve
def test_a_reserve_is_kept(tmp_path, make, seed):
    rng = random.Random(seed) if seed else seed_of("reserve")
    pool, contents = build(tmp_path, make, rng, [64, 64, 64], [12, 12, 12])
    reserve = free(pool.drives["d3"]) - 5 * MIB  # slack, and a little: a third of the parity would be more
    pool.run("set", "drive.d3.reserve", reserve)
    pool.run("sync", code=(0, 3))
    assert reserve <= free(pool.drives["d3"]) < reserve + 3 * MIB
    pool.deep()
    pool.run("set", "drive.d3.reserve", "0")
    pool.well()


@pytest.mark.parametrize("redundancy", [1, 2])
def test_all_full_and_a_file_is_deleted(tmp_path, make, redundancy):
    """No drive has a byte left (and what the deleted file took is taken again at once): the slack that every drive keeps is enough to
    encode what is left anew."""
    pool, contents = build(tmp_path, make, seed_of("all full"), [28, 28, 28, 28], [5, 5, 5, 5], files_of=400_000)
    pool.run("set-redundancy", redundancy)
    pool.well()
    for round in range(rounds(2, 3)):
        for name in pool.drives:
            fill_up(pool.drives[name], "filler of round %d" % round)
        gone = sorted(p for p in contents if p.startswith("d%d/" % (round + 1)))[round]
        (pool.drives[gone[:2]] / gone).unlink()
        del contents[gone]
        fill_up(pool.drives[gone[:2]], "filler again %d" % round)
        before = pool.record()
        done = pool.run("sync")
        status = pool.status()
        assert status["exposed_size"] == 0 and not any(status["margin"][:redundancy]), done.text
        pool.run("status")
        pool.deep()
        pool.unchanged(before)
    claims_are_true(pool, contents)


def test_all_full_and_a_file_is_edited(tmp_path, make):
    """An edit in place exposes its new bytes; what is around them keeps its protection, and with room all is protected again."""
    pool, contents = build(tmp_path, make, seed_of("all full, edit"), [28, 28, 28, 28], [5, 5, 5, 5], files_of=400_000)
    pool.well()
    for name in pool.drives:
        fill_up(pool.drives[name])
    path = max((p for p in contents if p.startswith("d2/")), key=lambda p: len(contents[p]))
    data = bytearray(contents[path])
    data[100:200] = b"edited".ljust(100)
    with open(pool.drives["d2"] / path, "r+b") as f:
        f.seek(100)
        f.write(data[100:200])
    contents[path] = bytes(data)
    pool.run("sync", code=(0, 3))
    pool.deep()
    claims_are_true(pool, contents)
    for name in pool.drives:
        make_room(pool.drives[name])
    pool.well()
    claims_are_true(pool, contents)


def test_repair_and_rebuild_without_room(tmp_path, make):
    """No room for a copy: said so, nothing lost, and done when there is room."""
    pool, contents = build(tmp_path, make, seed_of("repair without room"), [28, 28, 28, 28], [6, 6, 6, 6],
                           files_of=200_000)  # of ten files or fewer none are too many
    pool.well()
    before = pool.record()
    names = sorted(p for p in contents if p.startswith("d1/"))
    gone = names[:len(names) // 2]
    for path in gone:
        (pool.drives["d1"] / path).unlink()
    fill_up(pool.drives["d1"])
    pool.run("sync", code=3).says("held")
    done = pool.run("rebuild", "d1", code=(1, 3))
    assert "space" in done.text or "room" in done.text, str(done)
    for path in gone:
        assert pool.cat(path, code=(0, 3)) == contents[path]
    make_room(pool.drives["d1"])
    pool.run("rebuild", "d1")
    for path in names:
        assert (pool.drives["d1"] / path).read_bytes() == contents[path]
    pool.well()
    pool.unchanged({n: r for n, r in before.items() if n != "d1"})
