# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount against bare file systems, call by call: tests/posix runs in both, as root and as a user, and whatever comes of a
call is the same, but for what the tables below say with a reason. What a table says and does not happen fails, too."""
import difflib
import os
import re
import subprocess

import pytest

from loops import loops, need_loops
from places import places

USER = 61001
WHO = {"root": None, "a user": USER}

# What the bare file systems do in their own ways: the call, what it gives there instead of what it gives on ext4, why.
# A name that ends in #2 is of the second such line.
XFS = {
    "rename/folders: rename(\"one\", \"full\")":
        ("EEXIST", "a folder that is not empty is refused by either name"),
    "rename/RENAME_EXCHANGE: changes of b":
        ("nothing", "what is swapped keeps its ctime"),
}
BTRFS = {
    "space/COLLAPSE and INSERT: fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 65536, 65536)":
        ("EOPNOTSUPP", "it moves no bytes within a file"),
    "space/COLLAPSE and INSERT: fallocate(fd, FALLOC_FL_INSERT_RANGE, 65536, 65536)":
        ("EOPNOTSUPP", "it moves no bytes within a file"),
    "folders/link counts of folders: with two below": ("1", "it does not count the folders in a folder"),
    "folders/link counts of folders: with one below": ("1", "it does not count the folders in a folder"),
}
BARE = {"ext4": {}, "xfs": XFS, "btrfs": BTRFS}


def lines_of(text):
    """The call → what came of it, in order; the same call again within a case is counted."""
    out, seen = {}, {}
    for line in text.splitlines():
        call, equals, result = line.rpartition(" = ")
        assert equals, "no line of a transcript: %r" % line
        seen[call] = seen.get(call, 0) + 1
        out[call if seen[call] == 1 else "%s #%d" % (call, seen[call])] = result
    return out


def transcript(folder, user=None):
    """What the calls give in a folder of that user's below this one; it is as empty afterwards as it was."""
    place = os.path.join(folder, "posix")
    os.mkdir(place)
    os.chown(place, user or 0, user or 0)
    command = [os.environ["MRMR_POSIX_CALLS"]] + (["--user", "%d:%d" % (user, user)] if user else []) + [place]
    done = subprocess.run(command, capture_output=True, timeout=300, stdin=subprocess.DEVNULL, check=False)
    text = done.stdout.decode(errors="backslashreplace")
    assert done.returncode == 0, (done.returncode, done.stderr, text[-500:])
    os.rmdir(place)
    lines = lines_of(text)
    assert len(lines) > 1900
    return lines


def judge(wanted, got, table, may=()):
    """What is wrong, as lines: results that differ and are not in the table, and entries of the table that did not come true.
    may: patterns of calls with results that may be either way."""
    wrong = []
    if list(wanted) != list(got):
        wrong += [line for line in difflib.unified_diff(list(wanted), list(got), "wanted", "got", lineterm="", n=0)]
    for call in wanted:
        if call not in got:
            continue
        expected = table[call][0] if call in table else wanted[call]
        if got[call] != expected and not any(re.fullmatch(p, "%s = %s" % (call, got[call])) for p, _ in may):
            wrong.append("%s = %s, where it is %s%s" % (call, got[call], expected, " by the table" if call in table else ""))
    for call, (result, _) in table.items():
        if wanted.get(call) in (None, result):
            wrong.append("%s = %s is in the table and is no deviation" % (call, result))
    return wrong


def assert_same(wanted, got, table, may=()):
    wrong = judge(wanted, got, table, may)
    assert wrong == [], "%d lines:\n%s" % (len(wrong), "\n".join(wrong[:60]))


def test_what_the_comparison_finds():
    wanted = lines_of("a/b: one() = 0\na/b: two() = EIO\na/b: two() = 5\n")
    assert list(wanted) == ["a/b: one()", "a/b: two()", "a/b: two() #2"]
    assert judge(wanted, dict(wanted), {}) == []
    other = dict(wanted, **{"a/b: two() #2": "6"})
    assert len(judge(wanted, other, {})) == 1
    assert judge(wanted, other, {"a/b: two() #2": ("6", "why")}) == []
    assert judge(wanted, other, {}, [(r"a/b: two\(\).* = 6", "why")]) == []
    assert len(judge(wanted, other, {"a/b: two() #2": ("7", "why")})) == 1
    assert len(judge(wanted, dict(wanted), {"a/b: two() #2": ("6", "why")})) == 1
    assert len(judge(wanted, other, {"a/b: two() #2": ("6", "why"), "a/b: three()": ("0", "why")})) == 1
    del other["a/b: one()"]
    assert judge(wanted, other, {"a/b: two() #2": ("6", "why")})


@pytest.fixture(name="ext4", scope="module")
def make_ext4(tmp_path_factory):
    """What each user sees on a bare ext4."""
    need_loops()
    with loops(tmp_path_factory.mktemp("bare")) as make:
        root = make("bare", "ext4", 192).root
        yield {who: transcript(root, user) for who, user in WHO.items()}


@pytest.mark.parametrize("fs", BARE)
def test_bare_file_systems(ext4, tmp_path, fs):
    """The transcript of another ext4 is the same, those of XFS and btrfs differ as their tables say."""
    with loops(tmp_path) as make:
        root = make("other", fs, 320).root
        for who, user in WHO.items():
            assert_same(ext4[who], transcript(root, user), BARE[fs])


# What a mount does in its own way on purpose, whatever lies under it.
MOUNT = {
    **{"space/COLLAPSE and INSERT: fallocate(fd, FALLOC_FL_%s_RANGE, 65536, 65536)" % what:
       ("EOPNOTSUPP", "what a stripe counts on stays where it is in its file") for what in ("COLLAPSE", "INSERT")},
}


@pytest.mark.parametrize("fs", BARE)
def test_the_mount(ext4, mrmr, tmp_path, fs):
    """Two drives of one kind; all that is written goes to one of them, since the other has more on it."""
    with places(mrmr, tmp_path) as place:
        for name in ("red", "green"):
            root = place.add(name, fs)
        with open(os.path.join(root, "ballast"), "wb") as file:
            file.write(os.urandom(60 << 20))
        place.start()
        for who, user in WHO.items():
            assert_same(ext4[who], transcript(place.point, user), dict(BARE[fs], **MOUNT))


# Where files lie depends on what is on the drives at the moment.
BY_PLACE = [
    (r"rename/RENAME_EXCHANGE: .*", "two that lie on two drives cannot swap: EXDEV, and what follows from that"),
]


def test_one_drive_and_three(ext4, mrmr, tmp_path):
    """A pool of three drives shows what a pool of one shows."""
    seen = {}
    for count in (1, 3):
        folder = tmp_path / str(count)
        folder.mkdir()
        one = type(mrmr)(folder)
        with places(one, folder) as place:
            for i in range(count):
                place.add("drive%d" % i, "ext4")
            place.start()
            seen[count] = {who: transcript(place.point, user) for who, user in WHO.items()}
    for who in WHO:
        assert_same(ext4[who], seen[1][who], MOUNT)
        assert_same(seen[1][who], seen[3][who], {}, BY_PLACE)
