# SPDX-License-Identifier: GPL-3.0-or-later
"""The mount against bare file systems, call by call: tests/posix runs in both, as root and as a user, and whatever comes of a
call is the same, but for what the tables below say with a reason. What a table says and does not happen fails, too."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from loops import loops, need_loops
from mounts import need_fuse
from namespaces import LET_GO, env_of
from places import places
from some import some

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
XFS_AS_ROOT = {
    "acl/setting: attributes of f": ("system.posix_acl_access trusted.SGI_ACL_FILE", "root sees how it keeps an ACL, too"),
    "acl/default ACLs: attributes of d": ("system.posix_acl_default trusted.SGI_ACL_DEFAULT", "root sees how it keeps an ACL, too"),
}
BARE = {"ext4": {"root": {}, "a user": {}}, "xfs": {"root": {**XFS, **XFS_AS_ROOT}, "a user": XFS},
        "btrfs": {"root": BTRFS, "a user": BTRFS}}


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
    """What the calls give in a folder of that user's below this one, and what they leave in it."""
    place = os.path.join(folder, "of %d" % (user or 0))
    os.mkdir(place)
    os.chown(place, user or 0, user or 0)
    command = [os.environ["MRMR_POSIX_CALLS"]] + (["--user", "%d:%d" % (user, user)] if user else []) + [place]
    done = subprocess.run(command, capture_output=True, timeout=300, stdin=subprocess.DEVNULL, check=False)
    text = done.stdout.decode(errors="backslashreplace")
    assert done.returncode == 0, (done.returncode, done.stderr, text[-500:])
    lines = lines_of(text)
    assert len(lines) > 1900
    lines["what is left"] = repr(os.listdir(place))
    with contextlib.suppress(OSError):
        os.rmdir(place)
    return lines


def judge(wanted, got, table, may=()):
    """What is wrong, as lines: results that differ and are not in the table, and entries of the table that did not come true.
    may: patterns of calls with results that may be either way."""
    wrong = []
    for call, result in got.items():
        expected = table[call][0] if call in table else wanted.get(call)
        if result == expected or any(re.fullmatch(p, "%s = %s" % (call, result)) for p, _ in may):
            continue
        if expected is None:
            wrong.append("%s = %s, which is no line elsewhere" % (call, result))
        else:
            wrong.append("%s = %s, where it is %s%s" % (call, result, expected, " by the table" if call in table else ""))
    wrong += ["%s is missing" % call for call in wanted if call not in got]
    for call, (result, _) in table.items():
        if wanted.get(call) in (None, result):
            wrong.append("%s = %s is in the table and is no deviation" % (call, result))
    return wrong


def assert_same(wanted, got, table, may=()):
    wrong = judge(wanted, got, table, may)
    if wrong:
        pytest.fail("%d lines are wrong:\n%s" % (len(wrong), "\n".join(wrong[:80])), pytrace=False)


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


@pytest.mark.parametrize("fs", some(BARE, 1))
def test_bare_file_systems(ext4, tmp_path, fs):
    """The transcript of another ext4 is the same, those of XFS and btrfs differ as their tables say."""
    with loops(tmp_path) as make:
        root = make("other", fs, 320).root
        for who, user in WHO.items():
            assert_same(ext4[who], transcript(root, user), BARE[fs][who])


def libfuse():
    """Its version, as numbers."""
    said = subprocess.run(["fusermount3", "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said)[-3:])


# Before libfuse 3.17 a request for a file without a name does not reach a file system.
NAMELESS = {"files/O_TMPFILE: " + call: (result, "libfuse has no such request") for call, result in (
    ("open(\".\", O_TMPFILE | O_RDWR, 0640)", "EOPNOTSUPP"),
    ("write(fd, \"nameless\", 8)", "EBADF"),
    ("stat of the open file", "EBADF"),
    ("linkat(AT_FDCWD, path, AT_FDCWD, \"named\", AT_SYMLINK_FOLLOW)", "ENOENT"),
    ("stat of named", "ENOENT"),
    ("bytes of named", "ENOENT"),
    ("open(\".\", O_TMPFILE | O_RDWR | O_EXCL, 0640)", "EOPNOTSUPP"),
)}

# What a mount does in its own way on purpose, whatever lies under it.
MOUNT = {
    **{"folders/link counts of folders: with %s below" % count:
       ("1", "the folders in a folder are not counted: its copies on the drives need not have the same") for count in ("one", "two")},
    **({} if libfuse()[1] >= 17 else NAMELESS),
    **{"space/COLLAPSE and INSERT: fallocate(fd, FALLOC_FL_%s_RANGE, 65536, 65536)" % what:
       ("EOPNOTSUPP", "what a stripe counts on stays where it is in its file") for what in ("COLLAPSE", "INSERT")},
    **{"times/%s" % line: ("5000000000.000000003 9223372036.854775806", "times end in 2262")
       for line in ("far times: times of f #7", "what is no time: times of f", "what is no time: times of f #2", "what is no time: times of f #3")},
    "links/unlinked while open: fsetxattr(fd, \"user.a\", \"value\", 5, 0)": ("ESTALE", "attributes are set by a name, and it has none"),
    "links/unlinked while open: fgetxattr(fd, \"user.a\", value, sizeof value)": ("ENODATA", "it was not set"),
}

# And where users are who are not the file's owner: before libfuse 3.17 the kernel takes these bits away itself.
USERS = {} if libfuse()[1] >= 17 else {"setid/another's, mode 2666: afterwards%s" % line: ("2666", "the kernel clears this bit for a FUSE file system only where the group may execute")
         for line in ("", " #2")}

# A file system that uses an inode's number again at once makes the kernel take what had it before for bad, also where that is held.
HELD = [(r"folders/made while removed ones are held: stat of the open file.* = EIO", "what was removed has no number of its own any more"),
        # A file's closing reaches the mount a moment later, and until the kernel has forgotten the file it can be opened, as by who found it
        # before it was removed.
        (r"handles/files: open_by_handle_at\(folder, &handle\.head, O_RDONLY\).* = fd", "it is not forgotten yet")]


# And what the file systems under it do in their own ways, but a mount does as ext4 does on each of them. That root is shown
# two names for one ACL makes rsync -X from ext4 take the ACL away the second time.
LEVELLED = {"rename/folders: rename(\"one\", \"full\")", *XFS_AS_ROOT}


def beneath(fs, who):
    of_mount = {**MOUNT, **USERS} if who == "root" else MOUNT
    return {**{call: entry for call, entry in BARE[fs][who].items() if call not in LEVELLED}, **of_mount}


@pytest.mark.parametrize("fs", some(BARE, 1))
def test_the_mount(ext4, mrmr, tmp_path, fs):
    """Two drives of one kind; all that is written goes to one of them, since the other has more on it."""
    with places(mrmr, tmp_path) as place:
        for name in ("red", "green"):
            root = place.add(name, fs)
        with open(os.path.join(root, "ballast"), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 60 << 20)
            os.fsync(file.fileno())  # btrfs counts it as used only then
        place.start()
        for who, user in WHO.items():
            assert_same(ext4[who], transcript(place.point, user), beneath(fs, who), HELD)


# Where files lie depends on what is on the drives at the moment.
BY_PLACE = [
    (r"rename/RENAME_EXCHANGE: .*", "two that lie on two drives cannot swap: EXDEV, and what follows from that"),
]


AS_A_USER = """set -e
""" + LET_GO + """mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse
exec setpriv --reuid "$1" --regid "$2" --groups 61003 -- sh -euc '
for drive in one two; do
    mkdir "$drive"
    ./mrmr add-drive "$PWD/$drive"
    ./mrmr set "drive.$drive.domain" "$drive"
done
mkdir m
./mrmr mount "$PWD/m"
trap "./mrmr umount m || umount -l m" EXIT
mkdir m/posix
./posix_calls m/posix >transcript'"""


def test_mounted_by_a_user(tmp_path):
    """One person's pool, without any right of root's: to that person it is like ext4, too."""
    need_fuse()
    need_loops()
    user = pwd.getpwnam("nobody")
    bin = pathlib.Path(os.environ["MRMR_BIN"]).parent
    with loops(tmp_path) as make, tempfile.TemporaryDirectory(prefix="mrmr-user-", dir="/tmp", ignore_cleanup_errors=True) as top:
        os.chmod(top, 0o755)
        root = pathlib.Path(make("bare", "ext4", 256).root)
        folder = pathlib.Path(top) / "home"
        folder.mkdir()
        subprocess.run(["mount", "--bind", root, folder], check=True) # the image lies where only root comes to
        try:
            wanted = transcript(folder, user.pw_uid)
            for program in (bin / "mrmr", bin / "mrmr-mount", os.environ["MRMR_POSIX_CALLS"]):
                shutil.copy(program, folder)
            os.chown(folder, user.pw_uid, user.pw_gid)
            done = subprocess.run(["unshare", "-m", "sh", "-c", AS_A_USER, "sh", str(user.pw_uid), str(user.pw_gid)], cwd=folder,
                                  capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL,
                                  env=env_of(folder, MRMR_POOL=folder / "pool", HOME=folder))
            assert done.returncode == 0, done.stdout + done.stderr
            del wanted["what is left"]
            got = lines_of((folder / "transcript").read_text(errors="backslashreplace"))
        finally:
            for pid in filter(str.isdigit, os.listdir("/proc")): # it lives in a namespace that is not ours
                with contextlib.suppress(OSError):
                    if os.readlink("/proc/%s/exe" % pid) == os.fspath(folder / "mrmr-mount"):
                        os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["umount", "-l", folder], check=True)
    assert_same(wanted, got, MOUNT, BY_PLACE + HELD)


def test_one_drive_and_three(ext4, mrmr, tmp_path):
    """A pool of three drives shows what a pool of one shows, and both what ext4 does."""
    seen = {}
    for count in (1, 3):
        folder = tmp_path / str(count)
        folder.mkdir()
        one = type(mrmr)(folder)
        with places(one, folder) as place:
            for i in range(count):
                place.add("drive%d" % i, "ext4")
            place.start()
            seen[count] = transcript(place.point)
    assert_same(ext4["root"], seen[1], {**MOUNT, **USERS, "attributes/statvfs: there is room": ("0", "one drive protects nothing that could still be stored")}, HELD)
    assert_same(ext4["root"], seen[3], {**MOUNT, **USERS}, BY_PLACE + HELD)
