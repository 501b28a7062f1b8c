# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mount finds wrong while it reads is told by the command, until somebody has looked after it."""
import os

import pytest

from mounts import mounts, need_fuse


@pytest.fixture(name="mount")
def make_mount(mrmr, tmp_path):
    need_fuse()
    with mounts(mrmr, tmp_path) as mount:
        yield mount


def rot(row):
    with open(row, "r+b") as file:
        data = bytearray(file.read())
        for at in range(100, 300_000, 1000):
            data[at] ^= 1
        file.seek(0)
        file.write(data)


def test_rotten_rows(mrmr, mount):
    """A drive is away, and of the rows that make its files again one of each stripe is rotten: the reader sees nothing of it, and
    each is told of once, in spite of many reads and of a second mount. sync takes that in, and scrub puts it right."""
    made = mrmr.build(["red", "blue", "green", "grey"], redundancy=2, files=2)
    rows = [row for name in ("blue", "green", "grey") for row in mrmr.drive(name).glob(".mrmr/parity/*/*.0")]
    assert rows
    for row in rows:
        rot(row)
    os.rename(mrmr.drive("red"), mrmr.folder / "away")
    bad = set()
    for turn in range(2):
        at = mount("m%d" % turn)
        for _ in range(2):
            for path, data in made.items():
                assert (at.point / path).read_bytes() == data
        at.stop()
        told = [e for e in mrmr.json("events")["events"] if e["kind"] == "damage-found"]
        found = {(e["drive"], e["text"].split()[5]) for e in told}
        assert told and len(found) == len(told) <= len(rows), told
        assert all(e["warning"] and e["id"] == 0 and "parity row 0" in e["text"] for e in told)
        assert turn == 0 or found == bad
        bad = found
        assert "mrmr events" in mrmr.run("status", code=3).stdout
        assert mrmr.json("status", code=3)["noted"] == len(told)
    assert "parity row 0" in mrmr.run("sync", code=3).stderr
    told = [e for e in mrmr.json("events", "--last", "0")["events"] if e["kind"] == "damage-found"]
    assert len(told) == len(bad) and all(e["id"] > 0 for e in told)
    os.rename(mrmr.folder / "away", mrmr.drive("red"))
    status = mrmr.json("status", code=3)
    assert (status["noted"], status["suspect_stripes"]) == (0, len({stripe for _, stripe in bad}))
    assert any("scrub" in look for look in status["needs_look"])
    mrmr.run("scrub", "--repair", code=(0, 3))
    status = mrmr.json("status")
    assert (status["noted"], status["suspect_stripes"]) == (0, 0)
    mrmr.run("check", "--deep")
