# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of files with everything a file system can hold, made from a seed, and an exact record of them."""
import hashlib
import os
import socket
import stat
import subprocess

from seeded import Seeded

ODD_NAMES = [
    b"with space", b"new\nline", b"\xff\xfe not utf-8", b"-rf", b"*?[x]", b"'quote\"s", b"percent%41",
    b"\\back\\slash", "smörgåsbord".encode(), b"n" * 255, b" ", b"tab\there",
]


def make_tree(root, seed, megabytes, specials=True):
    """Fill a folder of root, named by the seed, with about that much, in large, middling and small files, and one of every oddity."""
    rng = Seeded(seed)
    root = os.path.join(os.fsencode(root), b"tree-%d" % seed)
    os.makedirs(root)
    budget = megabytes << 20
    folders = [root]
    for i in range(12):
        folder = os.path.join(rng.choice(folders), b"folder-%d" % i)
        os.makedirs(folder)
        folders.append(folder)
    number = 0
    while budget > 0:
        kind = rng.random()
        size = (rng.randrange(8 << 20, 40 << 20) if kind < 0.05 else
                rng.randrange(1 << 20, 6 << 20) if kind < 0.25 else rng.randrange(1, 200 << 10))
        size = min(size, budget)
        path = os.path.join(rng.choice(folders), b"file-%d.dat" % number)
        with open(path, "wb") as f:
            f.write(rng.randbytes(size))
        mtime = rng.randrange(0, 1_700_000_000) * 10**9 + rng.randrange(10**9)
        os.utime(path, ns=(mtime, mtime))
        os.chmod(path, rng.choice([0o644, 0o600, 0o755, 0o444, 0o4755, 0o640]))
        budget -= size
        number += 1
    if specials:
        _make_oddities(root, rng)
    for folder in sorted(folders, key=len, reverse=True):
        if folder != root:
            os.utime(folder, ns=(10**18 + rng.randrange(10**12),) * 2)
            os.chmod(folder, rng.choice([0o755, 0o700, 0o2775, 0o1777]))


def _make_oddities(root, rng):
    odd = os.path.join(root, b"odd")
    os.mkdir(odd)
    for name in ODD_NAMES:
        with open(os.path.join(odd, name), "wb") as f:
            f.write(rng.randbytes(rng.randrange(1, 5000)))
    os.mkdir(os.path.join(odd, b"empty folder"))
    open(os.path.join(odd, b"empty file"), "wb").close()
    os.symlink(b"/nowhere/at/all", os.path.join(odd, b"absolute link"))
    os.symlink(b"../odd/-rf", os.path.join(odd, b"relative link"))
    os.mkfifo(os.path.join(odd, b"fifo"), 0o640)
    with socket.socket(socket.AF_UNIX) as s:
        here = os.getcwd()
        os.chdir(odd)
        s.bind(b"socket")
        os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(os.path.join(odd, b"device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    linked = os.path.join(odd, b"linked")
    with open(linked, "wb") as f:
        f.write(rng.randbytes(3 << 20))
    os.link(linked, os.path.join(root, b"another name"))
    os.link(linked, os.path.join(odd, b"third name"))
    sparse = os.path.join(odd, b"sparse")
    with open(sparse, "wb") as f:
        f.truncate(1 << 40)
        f.seek(5 << 20)
        f.write(rng.randbytes(2 << 20))
        f.seek((1 << 40) - 4096)
        f.write(rng.randbytes(4096))
    sparse = os.path.join(odd, b"sparse with a tail")
    with open(sparse, "wb") as f:
        f.seek((9 << 20) + 4097)
        f.write(rng.randbytes(70_000))
        f.truncate(23 << 20)
    tagged = os.path.join(odd, b"tagged")
    with open(tagged, "wb") as f:
        f.write(b"with attributes")
    os.setxattr(tagged, "user.comment", b"\x00binary\xff")
    os.setxattr(os.path.join(odd, b"empty folder"), "user.folder", b"yes")
    if os.geteuid() == 0:
        os.chown(tagged, 1234, 4321)
        subprocess.run(["setfacl", "-m", "u:2000:rw,g:3000:r", tagged], check=True)
        subprocess.run(["setfacl", "-d", "-m", "u:2000:rwx", os.path.join(odd, b"empty folder")], check=True)


BLOCK = 4096


class _Content:
    """A digest of content wherever its holes are: only blocks that are not all zeros count, with their place."""

    def __init__(self):
        self.hash = hashlib.blake2b()

    def add(self, data, at):
        """at: a multiple of BLOCK."""
        for i in range(0, len(data), BLOCK):
            block = data[i:i + BLOCK]
            if block.count(0) != len(block):
                self.hash.update((at + i).to_bytes(8, "little") + block)

    def end(self, size):
        self.hash.update(str(size).encode())
        return self.hash.hexdigest()


def digest_of_file(path, size):
    """Of its content; what is only reserved is not read, and counts as the zeros that it is."""
    content = _Content()
    with open(path, "rb") as f:
        at = 0
        while at < size:
            try:
                start = os.lseek(f.fileno(), at, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:
                break
            # Whole blocks, also where holes have finer bounds: they are hashed as a stream has them.
            end = min(-(-os.lseek(f.fileno(), max(start, at), os.SEEK_HOLE) // BLOCK) * BLOCK, size)
            for here in range(start, end, 1 << 20):
                content.add(os.pread(f.fileno(), min(1 << 20, end - here), here), here)
            at = end
    return content.end(size)


def digest_of_stream(stream):
    """The digest that record() has of such a file, and its size."""
    content, size = _Content(), 0
    for data in iter(lambda: stream.read(1 << 20), b""):
        content.add(data, size)
        size += len(data)
    return content.end(size), size


def _xattrs(path):
    out = {}
    for name in os.listxattr(path, follow_symlinks=False):
        out[name] = os.getxattr(path, name, follow_symlinks=False)
    return out


def record(root):
    """path → everything about it that has to come back. The folder .mrmr is left out, and so are the root's own attributes and lost+found."""
    root = os.fsencode(root)
    out, links = {}, {}
    for folder, folders, files in os.walk(root):
        if folder == root:
            folders[:] = [f for f in folders if f not in (b".mrmr", b"lost+found")]
        for name in folders + files:
            path = os.path.join(folder, name)
            rel = os.path.relpath(path, root)
            st = os.lstat(path)
            entry = {"mode": st.st_mode, "uid": st.st_uid, "gid": st.st_gid, "mtime": st.st_mtime_ns,
                     "xattrs": _xattrs(path)}
            if stat.S_ISREG(st.st_mode):
                entry["size"] = st.st_size
                entry["digest"] = digest_of_file(path, st.st_size)
                entry["nlink"] = st.st_nlink
                links.setdefault(st.st_ino, []).append(rel)
            elif stat.S_ISLNK(st.st_mode):
                entry["target"] = os.readlink(path)
            elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
                entry["rdev"] = st.st_rdev
            out[rel] = entry
    for names in links.values():
        for name in names:
            out[name]["names"] = sorted(names)
    return out


def differences(before, after):
    """Short words for what differs, for assert messages."""
    out = []
    for path in sorted(set(before) | set(after)):
        if path not in after:
            out.append("gone: %r" % path)
        elif path not in before:
            out.append("new: %r" % path)
        elif before[path] != after[path]:
            keys = [k for k in before[path] if before[path].get(k) != after[path].get(k)]
            out.append("%r: %s" % (path, ", ".join(
                "%s %r → %r" % (k, before[path].get(k), after[path].get(k)) for k in keys)))
    return out[:20]
