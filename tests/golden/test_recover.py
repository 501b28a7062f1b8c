# SPDX-License-Identifier: GPL-3.0-or-later
"""The script in docs/FORMAT.md, run on drives that parity_file.py made from the same document."""
import os
import pathlib
import random
import re
import subprocess
import sys

import pytest

from parity_file import MIB, Manifest, encode, parity_file

SOURCE = pathlib.Path(__file__).resolve().parents[2]
STRIPE = "3f9c0d2e-5b1a-4c7e-9f00-1234567890e1"
POOL = "b0a7f3c2-0d4e-4f6a-8b1c-2d3e4f5a6b7c"
MTIME = 1600000000123456789


@pytest.fixture(scope="session")
def script(tmp_path_factory):
    text = (SOURCE / "docs/FORMAT.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(#!.*?)^```$", text, re.M | re.S)
    assert len(found) == 1
    path = tmp_path_factory.mktemp("script") / "recover.py"
    path.write_text(found[0], encoding="utf-8")
    return path


def run(script, *arguments):
    # -S -E: nothing but the standard library
    return subprocess.run(
        [sys.executable, "-S", "-E", str(script), *map(str, arguments)], capture_output=True, timeout=100, check=False
    )


class Pool:
    """Drives a, b, c with blocks (slots 2, 9, 100) and r0, r1, r2 with rows."""

    def __init__(self, root, generation=5, seed=3):
        rng = random.Random(seed)
        self.root, self.uuid = root, {}
        self.slot = {"a": 2, "b": 9, "c": 100}
        for i, name in enumerate(["a", "b", "c", "r0", "r1", "r2"]):
            self.uuid[name] = "d0000000-0000-4000-8000-%012d" % i
            dot = root / name / ".mrmr"
            dot.mkdir(parents=True)
            dot.joinpath("drive").write_text(
                "format=1\npool=%s\nuuid=%s\nname=%s\nslot=%d\nsession=1\ntoken=%032d\n"
                % (POOL, self.uuid[name], name, self.slot.get(name, 200 + i), 0)
            )
        # Per drive: path, content, first leaf of the extent, place in the block.
        self.big = rng.randbytes(MIB + 777)
        self.files = {
            "a": [(b"deep/er/big file.bin", self.big, 0), (b"small\n\xff", rng.randbytes(100), MIB + 1000)],
            "b": [(b"b1", rng.randbytes(300000), 17), (b"b2", rng.randbytes(MIB), 300017)],
            "c": [(b"c1", rng.randbytes(2000), 0)],
        }
        for drive, files in self.files.items():
            for path, data, _ in files:
                self.write(drive, path, data)
        self.encode(generation)

    def path(self, drive, path):
        return os.path.join(os.fsencode(self.root / drive), path)

    def write(self, drive, path, data):
        full = self.path(drive, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)

    def encode(self, generation, rows=(0, 1, 2)):
        blocks = {}
        for drive, files in self.files.items():
            block = bytearray(max(place + len(data) for _, data, place in files))
            for _, data, place in files:
                block[place : place + len(data)] = data
            blocks[self.slot[drive]] = bytes(block)
        for row in rows:
            payload = encode(row, blocks)
            m = Manifest(STRIPE, generation, row, 3, payload)
            m.share(POOL, [(STRIPE, generation - 1)])
            for drive, files in self.files.items():
                m.block(self.slot[drive], self.uuid[drive], len(blocks[self.slot[drive]]), drive.encode())
                for i, (path, data, place) in enumerate(files):
                    m.file(path, len(data), id=10 * self.slot[drive] + i, sequence=generation, version=generation, mtime=MTIME, mode=0o640)
                    m.extent(place, 0, data, version=generation)
            folder = self.root / ("r%d" % row) / ".mrmr/parity/3f"
            folder.mkdir(parents=True, exist_ok=True)
            self.row_name = STRIPE.replace("-", "") + "-g%d.%d"
            (folder / (self.row_name % (generation, row))).write_bytes(parity_file(payload, m))

    def row(self, row, generation=5):
        return self.root / ("r%d" % row) / ".mrmr/parity/3f" / (self.row_name % (generation, row))

    def left(self, *lost):
        return [self.root / name for name in self.uuid if name not in lost]


def recovered(script, pool, tmp_path, path, data, *lost, code=0):
    out = tmp_path / ("out-" + "-".join(lost))
    result = run(script, os.fsdecode(path), out, *pool.left(*lost))
    assert result.returncode == code, result.stderr.decode()
    if code == 0:
        assert out.read_bytes() == data
        assert out.stat().st_mtime_ns == MTIME
        assert out.stat().st_mode & 0o7777 == 0o640
    return result


@pytest.mark.parametrize("lost", [("a",), ("a", "b"), ("a", "r0"), ("a", "b", "c"), ("a", "r0", "r1"), ("a", "c", "r1")])
def test_every_loss(script, tmp_path, lost):
    pool = Pool(tmp_path)
    for drive in set(lost) & set(pool.files):
        for path, data, _ in pool.files[drive]:
            recovered(script, pool, tmp_path, path, data, *lost)
            os.unlink(tmp_path / ("out-" + "-".join(lost)))


def test_too_many_lost(script, tmp_path):
    pool = Pool(tmp_path)
    result = recovered(script, pool, tmp_path, b"b1", None, "a", "b", "r0", "r2", code=1)
    assert b"cannot be recovered" in result.stderr


def test_list(script, tmp_path):
    pool = Pool(tmp_path)
    result = run(script, "--list", *pool.left("a", "c"))
    assert result.returncode == 0
    assert result.stdout == b"a\tdeep/er/big file.bin\na\tsmall\n\xff\nc\tc1\n"


def test_renamed_survivor(script, tmp_path):
    pool = Pool(tmp_path)
    os.rename(pool.path("b", b"b2"), pool.path("b", b"elsewhere"))
    recovered(script, pool, tmp_path, b"deep/er/big file.bin", pool.big, "a", "r1", "r2")


def test_damaged_survivors(script, tmp_path):
    """An edited file, a rotten row, a truncated row: each is one more erasure, where it matters."""
    pool = Pool(tmp_path)
    data = bytearray(pool.files["b"][1][1])
    data[-1] ^= 1
    pool.write("b", b"b2", data)
    row = bytearray(pool.row(1).read_bytes())
    row[5] ^= 1
    pool.row(1).write_bytes(row)
    result = recovered(script, pool, tmp_path, b"deep/er/big file.bin", pool.big, "a")
    assert not result.stderr
    pool.row(1).write_bytes(row[:-1])
    (tmp_path / "out-a").unlink()
    result = recovered(script, pool, tmp_path, b"deep/er/big file.bin", pool.big, "a")
    assert b"skipped" in result.stderr


def test_generations_do_not_mix(script, tmp_path):
    """A generation was cut off after its first row: the older rows do what the newer cannot."""
    pool = Pool(tmp_path)
    pool.files["c"][0] = (b"c1", b"new content of c1", 0)
    pool.write("c", b"c1", b"new content of c1")
    pool.encode(6, rows=[0])
    # a is lost: row 0 of generation 6 is enough.
    recovered(script, pool, tmp_path, b"small\n\xff", pool.files["a"][1][1], "a")
    # a and b are lost: only generation 5 has two rows; c1's place in a's range is not touched by its change beyond 2,000 bytes.
    (tmp_path / "out-a").unlink()
    recovered(script, pool, tmp_path, b"small\n\xff", pool.files["a"][1][1], "a", "b")


def test_newest_version_wins(script, tmp_path):
    pool = Pool(tmp_path)
    pool.files["a"][1] = (b"small\n\xff", b"now shorter", MIB + 1000)
    pool.write("a", b"small\n\xff", b"now shorter")
    pool.encode(6)
    recovered(script, pool, tmp_path, b"small\n\xff", b"now shorter", "a")


def test_nothing_is_overwritten(script, tmp_path):
    pool = Pool(tmp_path)
    (tmp_path / "out-a").write_bytes(b"mine")
    result = run(script, "b1", tmp_path / "out-a", *pool.left("a"))
    assert result.returncode == 1
    assert (tmp_path / "out-a").read_bytes() == b"mine"


def test_unknown_path(script, tmp_path):
    pool = Pool(tmp_path)
    result = run(script, "b17", tmp_path / "out", *pool.left("a"))
    assert result.returncode == 1
    assert b"--list" in result.stderr
