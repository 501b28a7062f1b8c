# SPDX-License-Identifier: GPL-3.0-or-later
"""Parity files that are truncated, flipped, swapped, forged or not files at all: found, never believed, never followed, made again."""
import functools
import gzip
import os
import pathlib
import random
import shutil
import subprocess
import sys
import zlib

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), os.pardir, "golden"))
from parity_file import digest, footer, pieces  # noqa: E402

from some import some  # noqa: E402
from test_bad_world import Pool, make_pool, tree  # noqa: E402

FOOTER = 128


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """One pool for all tests, each of which leaves it whole; and a copy of it for the one after a test that did not."""
    folder = tmp_path_factory.mktemp("pool")
    pool, contents = make_pool(folder, drives=5, redundancy=2, files=10, rng=random.Random(20))
    pool.well()
    copy = folder.parent / "copy"
    subprocess.run(["cp", "-a", folder, copy], check=True)
    yield folder, pool, contents, copy


@pytest.fixture
def world(template):
    folder, pool, contents, copy = template
    if not getattr(pool, "whole", True):
        shutil.rmtree(folder)
        subprocess.run(["cp", "-a", copy, folder], check=True)
        pool.drives = {"d%d" % i: folder / ("d%d" % i) for i in range(1, 6)}
    pool.whole = False
    yield pool, contents
    if set(pool.drives.values()) != {folder / ("d%d" % i) for i in range(1, 6)}:
        pool.whole = False


def rows(root):
    return sorted(p for p in pathlib.Path(root).glob(".mrmr/parity/??/*-g*"))


class Row:
    """A parity file taken apart."""

    def __init__(self, path):
        self.path, data = path, path.read_bytes()
        payload, manifest = (int.from_bytes(data[-FOOTER + i:-FOOTER + i + 8], "little") for i in (0, 8))
        self.payload, self.manifest = data[:payload], data[payload:payload + manifest]
        head = zlib.decompressobj(31)
        self.head = head.decompress(self.manifest).decode().splitlines()
        self.shared = gzip.decompress(head.unused_data).decode().splitlines()

    def pack(self):
        member = lambda lines: gzip.compress("".join(line + "\n" for line in lines).encode())
        return member(self.head) + member(self.shared)

    def write(self, **change):
        manifest = self.pack()
        self.path.write_bytes(self.payload + manifest + footer(self.payload, manifest, **change))


def change_byte(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(bytes(data))


def truncated(path, to):
    os.truncate(path, to(path.stat().st_size))


def other_row(path):
    shutil.copyfile([p for p in rows(path.parents[3]) if p != path][0], path)


def old_bytes_with_right_digests(path):
    """Another payload that all digests in the file agree with."""
    row = Row(path)
    row.payload = bytes(len(row.payload))
    row.head = [line for line in row.head if not line.startswith("payload ")]
    row.head += ["payload " + digest(piece).hex() for piece in pieces(row.payload)]
    row.write()


def forged_names(path):
    row = Row(path)
    row.shared = [" ".join(line.split(" ")[:-1] + ["../../../../etc/passwd"]) if line.startswith("file ") else line
                  for line in row.shared]
    row.write()


def forged_extents(path):
    row = Row(path)
    extent = next(line for line in row.shared if line.startswith("extent "))
    row.shared = row.shared[:-1] + [extent] * 1_000_000 + ["end"]
    row.write()


@functools.lru_cache(1)
def _bomb():
    return gzip.compress(b"mrmr-parity 1\n" + b"\n" * (1 << 28), compresslevel=1)


def bomb(path):
    """A manifest of a quarter of a gigabyte in one megabyte."""
    row, packed = Row(path), _bomb()
    path.write_bytes(row.payload + packed + footer(row.payload, packed))


HARM = {
    "emptied": lambda p: truncated(p, lambda size: 0),
    "halved": lambda p: truncated(p, lambda size: size // 2),
    "one byte short": lambda p: truncated(p, lambda size: size - 1),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"more"),
    "first byte": lambda p: change_byte(p, 0),
    "last byte of the payload": lambda p: change_byte(p, len(Row(p).payload) - 1),
    "manifest": lambda p: change_byte(p, len(Row(p).payload) + 20),
    "footer": lambda p: change_byte(p, -100),
    "magic": lambda p: change_byte(p, -1),
    "lengths that overflow": lambda p: Row(p).write(payload_length=(1 << 64) - 100, manifest_length=(1 << 63) + 5),
    "a payload length of its own": lambda p: Row(p).write(payload_length=1 << 40),
    "another version": lambda p: Row(p).write(version=2),
    "another row": other_row,
    "old bytes with right digests": old_bytes_with_right_digests,
    "names that climb": forged_names,
    "a million extents": forged_extents,
    "bomb": bomb,
    "unreadable": lambda p: p.write_bytes(os.urandom(5000)),
    "gone": lambda p: p.unlink(),
}


def turned_into_a_folder(path, outside):
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("a folder")


def turned_into_a_fifo(path, outside):
    path.unlink()
    os.mkfifo(path)


def turned_into_a_link(path, outside):
    shutil.copy(path, outside / path.name)
    path.unlink()
    path.symlink_to(outside / path.name)


def turned_into_a_relative_link(path, outside):
    shutil.copy(path, outside / path.name)
    path.unlink()
    path.symlink_to(os.path.relpath(outside / path.name, path.parent))


def folder_turned_into_a_link(path, outside):
    folder = path.parent
    os.rename(folder, outside / folder.name)
    folder.symlink_to(outside / folder.name)


def parity_turned_into_a_link(path, outside):
    folder = path.parent.parent
    os.rename(folder, outside / "parity")
    folder.symlink_to(outside / "parity")


KINDS = {f.__name__.replace("_", " "): f for f in (
    turned_into_a_folder, turned_into_a_fifo, turned_into_a_link, turned_into_a_relative_link, folder_turned_into_a_link,
    parity_turned_into_a_link)}


def survives_reading(pool, contents, bad):
    """With a row wrong and one more drive away, r = 2 gives every file back."""
    other = next(n for n in sorted(pool.drives) if n != bad)
    pool.readable_without(contents, other, every=2)


@pytest.mark.parametrize("what", some(HARM, 3))
def test_harmed_row(world, what):
    pool, contents = world
    before = pool.record()
    path = max(rows(pool.drives["d3"]), key=lambda p: p.stat().st_size)
    HARM[what](path)
    survives_reading(pool, contents, "d3")
    done = pool.run("check", "--deep", code=(1, 3))
    done = pool.run("scrub", code=3).says("parity row", "d3", "mrmr sync")
    done.says("is gone" if what == "gone" else "is damaged")
    assert any("parity row" in e["text"] for e in pool.json("events")["events"])
    pool.run("status", code=3)
    pool.run("scrub", "--repair", code=(0, 3))
    pool.well()
    pool.run("scrub")
    pool.unchanged(before)
    pool.readable_without(contents, "d1", "d2", every=5)
    pool.whole = True


@pytest.mark.parametrize("what", some(["halved", "first byte", "manifest", "another row", "old bytes with right digests",
                                       "names that climb", "gone"], 2))
def test_harmed_rows_of_a_whole_drive_while_another_is_rebuilt(world, what):
    """Each row of one drive is wrong in the same way, a drive is lost, and it is rebuilt without a scrub before."""
    pool, contents = world
    before = pool.record()
    for path in rows(pool.drives["d3"]):
        if not (what == "another row" and len(rows(pool.drives["d3"])) < 2):
            HARM[what](path)
    os.rename(pool.drives["d1"], str(pool.drives["d1"]) + " lost")
    pool.add("fresh")
    pool.run("rebuild", "d1", "--onto", "fresh", code=(0, 3))
    pool.drives["d1"] = pool.drives.pop("fresh")
    pool.unchanged(before)
    pool.run("scrub", "--repair", code=(0, 3))
    pool.well()
    pool.run("scrub")


@pytest.mark.parametrize("what", some(KINDS, 1))
def test_not_a_file(world, tmp_path, what):
    """Symlinks are not followed out of the root, FIFOs not waited for, folders not emptied."""
    pool, contents = world
    before = pool.record()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    path = rows(pool.drives["d3"])[0]
    KINDS[what](path, outside)
    there = tree(outside)
    survives_reading(pool, contents, "d3")
    pool.run("check", "--deep", code=(1, 3), timeout=60)
    pool.run("scrub", code=3, timeout=60).says("d3")
    for command in (["scrub", "--repair"], ["sync"], ["sync"], ["scrub", "--repair"]):
        pool.run(*command, code=(0, 3), timeout=60)
    assert tree(outside) == there, "something outside the root was touched"
    pool.unchanged(before)
    survives_reading(pool, contents, "d3")
    # What is in the way and is nobody's to remove is said, and when the user has removed it all is made again.
    found = [p for p in (path, path.parent, path.parent.parent) if p.is_symlink() or p.is_dir() and p == path]
    if found:
        pool.run("status", code=3)
        assert path.name in pool.run("sync", code=3).text
        shutil.rmtree(found[0]) if not found[0].is_symlink() else found[0].unlink()
        pool.run("scrub", "--repair", code=(0, 3))
    pool.well()
    pool.run("scrub")
    pool.readable_without(contents, "d1", "d2", every=5)
    assert tree(outside) == there


def test_dot_folder_turned_into_a_link(world, tmp_path):
    """.mrmr itself leads elsewhere: the drive counts as not there, and nothing is read or written through the link."""
    pool, contents = world
    before = pool.record()
    outside = tmp_path / "outside"
    os.rename(pool.drives["d3"] / ".mrmr", outside)
    (pool.drives["d3"] / ".mrmr").symlink_to(outside)
    there = tree(outside)
    pool.run("sync", code=3, timeout=60).says("d3")
    pool.run("scrub", "--repair", code=(0, 3), timeout=60)
    assert pool.presence()["d3"] != "present"
    survives_reading(pool, contents, "d3")
    assert tree(outside) == there, "something outside the root was touched"
    pool.unchanged(before)
    fresh = Pool(tmp_path, "another pool")
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / ".mrmr").symlink_to(outside)
    fresh.run("add-drive", tmp_path / "fresh", code=1).says(tmp_path / "fresh")
    assert tree(outside) == there


def test_strangers_in_our_folder(world):
    """Files that are not ours in .mrmr/parity are left alone, whatever they are called."""
    pool, contents = world
    folder = rows(pool.drives["d2"])[0].parent
    strangers = {
        folder / "notes.txt": b"mine",
        folder / ("0" * 32 + "-g1.0"): os.urandom(3000),
        pool.drives["d2"] / ".mrmr/parity/not a row": b"mine too",
        pool.drives["d2"] / ".mrmr/my folder/file": b"here too",
    }
    for path, data in strangers.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    pool.run("sync", code=(0, 3))
    pool.run("scrub", "--repair", code=(0, 3))
    pool.run("set-redundancy", 1, code=(0, 3))
    pool.run("set-redundancy", 2, code=(0, 3))
    for path, data in strangers.items():
        assert path.read_bytes() == data
        path.unlink()
    pool.well()
    pool.whole = True


IDENTITIES = {
    "empty": b"", "binary": os.urandom(300), "huge": b"a=b\n" * 300_000, "no uuid": b"format=1\nname=d3\n",
    "newer": b"format=99\n",
}


@pytest.mark.parametrize("what", some(IDENTITIES, 2))
def test_hostile_identity(world, what):
    pool, contents = world
    path = pool.drives["d3"] / ".mrmr/drive"
    good = path.read_bytes()
    path.write_bytes(IDENTITIES[what])
    before = tree(pool.drives["d3"])
    done = pool.run("sync", code=3).says("d3")
    assert "malformed" in done.text or "newer version" in done.text or "large" in done.text, str(done)
    survives_reading(pool, contents, "d3")
    assert tree(pool.drives["d3"]) == before
    path.write_bytes(good)
    pool.well()
    pool.whole = True
