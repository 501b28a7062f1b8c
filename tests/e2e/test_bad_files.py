# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are hard to protect: unreadable, oddly named, very deep, very sparse, very large, or no files at all."""
import os
import pathlib
import shutil
import stat

import pytest

from some import some
from test_bad_world import NOBODY, fill, make_pool, open_folder, ordinary_user_pool, seed_of
from trees import ODD_NAMES, make_tree, record

NAMES = ODD_NAMES + [
    b"escape \x1b[31mred\x1b]0;title\x07", b"\r\roverwritten", b"\x01\x7f\x80", b"\n", b"\xc3", "\u202etxt.exe".encode(),
    b"mrmr", b".hidden", b"..twice", b"~", b"-", b"--", b"%00%2f", b"\xf0\x9f\x92\xa9" * 63,
]


def test_unreadable_files(tmp_path):
    """chmod 000 as an ordinary user: said by name, exposed, and the rest protected; a folder that cannot be listed has not vanished."""
    with open_folder() as folder:
        pool, contents = ordinary_user_pool(folder, drives=4, files=6)
        root = pool.drives["d1"]
        new = fill(root, "d1/new", seed_of("unreadable"), files=5)
        os.system("chown -R %d '%s'" % (NOBODY, root / "d1"))
        paths = sorted(new)
        (root / paths[0]).chmod(0)
        protected = sorted(p for p in contents if p.startswith("d1/dir 0/"))
        (root / "d1/dir 0").chmod(0)
        done = pool.run("sync", code=3)
        done.says(os.path.basename(paths[0]), "dir 0")
        assert "denied" in done.text, "no cause: %s" % done
        status = pool.status()
        assert status["exposed_size"] == len(new[paths[0]]) and status["exposed_files"] == 1
        pool.readable_without({p: new[p] for p in paths[1:]}, "d1")
        pool.readable_without({p: contents[p] for p in protected}, "d1")
        events = pool.json("events")
        assert any(os.path.basename(paths[0]) in e["text"] for e in events["events"])
        (root / "d1/dir 0").chmod(0o755)
        (root / paths[0]).chmod(0o644)
        pool.well()
        pool.readable_without(new, "d1")


def test_unreadable_file_that_was_protected(tmp_path):
    """A protected file that may not be read any more keeps its protection and can still be read, by reconstruction."""
    with open_folder() as folder:
        pool, contents = ordinary_user_pool(folder, drives=4, files=6)
        path = max((p for p in contents if p.startswith("d3/")), key=lambda p: len(contents[p]))
        (pool.drives["d3"] / path).chmod(0)
        pool.run("sync", code=(0, 3))
        assert pool.cat(path, code=(0, 3)) == contents[path]
        done = pool.run("scrub", "--repair", code=(0, 3))
        assert (pool.drives["d3"] / path).stat().st_mode & 0o777 == 0, str(done)
        (pool.drives["d3"] / path).chmod(0o644)
        assert (pool.drives["d3"] / path).read_bytes() == contents[path]
        pool.run("sync", code=(0, 3))
        pool.well()


def test_odd_names_and_all_kinds_of_entries(tmp_path):
    """Everything a folder can hold, with every name it can have, comes back when its drive is lost; nothing odd reaches the terminal."""
    pool, _ = make_pool(tmp_path, drives=4, files=2)
    root = pool.drives["d2"]
    make_tree(root, 99, 6)
    odd = os.path.join(os.fsencode(root), b"names")
    os.mkdir(odd)
    contents = {}
    for i, name in enumerate(NAMES):
        data = b"%d" % i * (i * 1000 + 1)
        with open(os.path.join(odd, name), "wb") as f:
            f.write(data)
        os.mkdir(os.path.join(odd, b"f" + name[:254]))
        with open(os.path.join(odd, b"f" + name[:254], name), "wb") as f:
            f.write(data[::-1])
        contents[b"names/" + name] = data
    pool.well()
    before = pool.record()["d2"]
    for listing in (["ls", "-l", "names"], ["ls", "names", "--json"], ["where", "names/" + os.fsdecode(NAMES[12])], ["events"]):
        out = pool.run(*listing, code=(0, 3)).out
        assert not any(c < 32 and c not in b"\n" or c == 127 for c in out), "%r: control characters: %r" % (listing, out)
        assert out.decode("utf-8")
    entries = pool.json("ls", "names")["entries"]
    assert len([e for e in entries if e["type"] == "file"]) == len(NAMES)
    with pool.without("d2"):
        for path, data in contents.items():
            assert pool.cat(path, code=(0, 3)) == data, path
    shutil.rmtree(root)
    pool.add("fresh")
    pool.run("rebuild", "d2", "--onto", "fresh")
    from trees import differences
    assert not differences(before, record(pool.drives["fresh"]))
    pool.drives["d2"] = pool.drives.pop("fresh")
    pool.run("sync", code=(0, 3))
    pool.well()


def make_deep(root, depth, name, data):
    """A file `depth` folders of 200 bytes down; its path."""
    parts = [b"%03d" % i + b"x" * 197 for i in range(depth)]
    fd = os.open(root, os.O_RDONLY)
    for part in parts:
        os.mkdir(part, dir_fd=fd)
        below = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd), "wb") as f:
        f.write(data)
    os.close(fd)
    return b"/".join(parts + [name])


def read_deep(root, path):
    fd = os.open(root, os.O_RDONLY)
    *parts, name = path.split(b"/")
    for part in parts:
        below = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as f:
        os.close(fd)
        return f.read()


@pytest.mark.parametrize("depth", some([19, 20, 21, 60], 2))
def test_paths_over_4096_bytes(tmp_path, depth):
    rng = seed_of("deep")
    pool, contents = make_pool(tmp_path, drives=4, files=3, rng=rng)
    root = pool.drives["d1"]
    data = rng.randbytes(300_000)
    deep = make_deep(root, depth, b"at the bottom", data)
    pool.well()
    with pool.without("d1"):
        assert pool.cat(deep, code=(0, 3)) == data
    os.system("rm -rf '%s'" % root)
    pool.add("fresh")
    pool.run("rebuild", "d1", "--onto", "fresh")
    assert read_deep(pool.drives["fresh"], deep) == data
    pool.drives["d1"] = pool.drives.pop("fresh")
    for path in (p for p in contents if p.startswith("d1/")):
        assert (pool.drives["d1"] / path).read_bytes() == contents[path]
    pool.well()


def write_sparse(path, size, pieces):
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as f:
        f.truncate(size)
        for offset, data in pieces:
            f.seek(offset)
            f.write(data)


def test_empty_sparse_and_large_files(tmp_path):
    """1 TiB apparent with a few MiB of data, and data on both sides of 4 GiB: coded by what they hold, back with their holes."""
    rng = seed_of("sparse")
    pool, _ = make_pool(tmp_path, drives=4, files=3, rng=rng)
    root = pool.drives["d4"]
    folder = root / "big"
    gib = 1 << 30
    write_sparse(folder / "empty", 0, [])
    write_sparse(folder / "hole only", 1 << 40, [])
    write_sparse(folder / "tebibyte", 1 << 40, [(0, b"head"), (gib * 500 + 12345, rng.randbytes(2_000_000)),
                                              ((1 << 40) - 5, b"tail!")])
    write_sparse(folder / "over 4 GiB", 4 * gib + 777, [(4 * gib - 3000, rng.randbytes(6000 - 2300)), (3 * gib, b"3")])
    write_sparse(folder / "over 4 GiB in one piece", 5 * gib, [(4 * gib - 1_500_000, rng.randbytes(3_000_000))])
    pool.well()
    status = pool.status()
    rows = sum(d["parity_size"] for d in pool.json("drives")["drives"])
    assert rows < 200 << 20, "parity of what holds a few MiB takes %d bytes (%r)" % (rows, status)
    before = pool.record()["d4"]
    holes = {p: os.stat(folder / p).st_blocks for p in os.listdir(folder)}
    pool.run("sync")
    pool.run("scrub")
    shutil.rmtree(root)
    pool.add("fresh")
    pool.run("rebuild", "d4", "--onto", "fresh")
    from trees import differences
    assert not differences(before, record(pool.drives["fresh"]))
    for path, blocks in holes.items():
        now = os.stat(pool.drives["fresh"] / "big" / path).st_blocks
        assert now <= blocks + 2 * 4096, "%s took %d blocks and takes %d" % (path, blocks, now)
    pool.drives["d4"] = pool.drives.pop("fresh")
    pool.well()


def test_hole_filled_and_punched(tmp_path):
    """Data written into a hole is exposed and then protected; a piece punched out takes nothing of its neighbours with it."""
    rng = seed_of("punch")
    pool, contents = make_pool(tmp_path, drives=4, files=3, rng=rng)
    path = pool.drives["d1"] / "d1" / "sparse"
    first = rng.randbytes(3 << 20)
    write_sparse(path, 24 << 20, [(10 << 20, first)])
    pool.well()
    second = rng.randbytes(1_234_567)
    with open(path, "r+b") as f:
        f.seek(16 << 20)
        f.write(second)
    pool.well()
    expected = path.read_bytes()
    pool.readable_without({"d1/sparse": expected}, "d1")
    assert os.system("fallocate -p -o %d -l %d '%s'" % (11 << 20, 1 << 20, path)) == 0
    expected = path.read_bytes()
    pool.well()
    pool.readable_without(dict(contents, **{"d1/sparse": expected}), "d1")


def test_specials_are_kept_and_never_opened(tmp_path):
    """A FIFO that nobody writes to would block whoever opens it; sockets and devices are recorded, not read."""
    pool, _ = make_pool(tmp_path, drives=3, files=3)
    root = pool.drives["d1"]
    os.mkfifo(root / "fifo", 0o640)
    os.symlink("/etc/passwd", root / "link out")
    os.symlink("fifo", root / "link to it")
    if os.geteuid() == 0:
        os.mknod(root / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        os.mknod(root / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 250))
    import socket
    here = os.getcwd()
    os.chdir(root)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    os.chdir(here)
    pool.run("sync", timeout=60)
    pool.well()
    for name in ("fifo", "link out", "socket"):
        pool.run("cat", name, code=1, timeout=20).says(name)
    before = pool.record()["d1"]
    # What was a file becomes a FIFO between two scans, and the other way round.
    path = sorted(p for p in pool.drives["d2"].glob("d2/*/*") if p.is_file())[0]
    path.unlink()
    os.mkfifo(path)
    os.unlink(root / "fifo")
    (root / "fifo").write_bytes(b"a file now")
    pool.run("sync", code=(0, 3), timeout=60)
    pool.well()
    assert pathlib.Path(root / "fifo").read_bytes() == b"a file now"
    assert set(pool.record()["d1"]) == set(before)
