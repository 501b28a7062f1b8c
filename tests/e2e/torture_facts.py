# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of some files of a tortured pool, for whoever has to find out why one is not as it must be: by which names they went, what the catalog, the
records beside it and the drives say of them, when the pool last said what it claims and now, whether what failed passes by itself, and the logs' ends.

Nothing here fails a test: what cannot be told is told as that."""
import contextlib
import hashlib
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import time

from test_mount_dying import mount_anew

PATH = re.compile(r"\b(?:c\d+(?:/\d+)+|kept/\w+ \d|hot/\w+)(?![\w/])")
RENAMED = re.compile(r"^[\d.]+ (rename folder|rename|link) (\S+) to (\S+)$")
STATES = {"extent": ("live", "missing", "stale", "gone", "suspect"), "row": ("intact", "damaged", "lost")}
KINDS = {1: "rename", 2: "exchange", 3: "undone", 4: "removed", 5: "replaced"}
MOVED, GONE, GONE_LATER = 0x016465766f6d726d, 0x31656e6f67726d01, 0x32656e6f67726d01 # pool/records/moved_format.h, pool/records/gone_format.h
RECORDS = ("touched", "touched.cut", "touched.old", "moved", "gone", "noted", "noted.cut")
PAIRS = re.compile(r"(?:rename|bring|brought|over)-[0-9a-f]{16}$|direct$")
LOG_LINES, NAMES_MOST = 200, 40


# --- names ---

def paths_in(text):
    """Those of files that the message is about, without its calls."""
    return list(dict.fromkeys(PATH.findall(re.split(r"(?:its|the) calls: ", text)[0])))


def earlier_names(path, log):
    """By the calls, the latest first; a call that failed may have been made."""
    names, seen = [path], {path}
    for name in names:
        for line in reversed(log):
            call = RENAMED.match(line)
            if not call:
                continue
            kind, was, to = call.groups()
            if kind == "rename folder" and name.startswith(to + "/"):
                other = was + name[len(to):]
            elif kind != "rename folder" and name in (was, to):
                other = was if name == to else to
            else:
                continue
            if other not in seen and len(names) < NAMES_MOST:
                seen.add(other)
                names.append(other)
    return names


# --- the pool's folder ---

def touched(data, drives):
    for drive, ino in struct.iter_unpack("=qQ", data[:len(data) // 16 * 16]):
        kinds = "".join(name for bit, name in ((1 << 62, " name"), (1 << 61, " attributes")) if drive & bit) or " bytes"
        number, second = drive & 0xffffff, drive >> 24 & 0xfffffffff # pool/records/touched.h
        yield "%s inode %s%s, at %d" % (drives.get(number, number), "all" if ino == 2**64 - 1 else ino, kinds, second % 1000)


def moved(data, drives):
    at = data.find(struct.pack("=Q", MOVED))
    while at >= 0 and at + 48 <= len(data):
        _, _, drive, size, kind, from_size, to_size = struct.unpack_from("=Q16sqIIII", data, at)
        start = at + 48
        was, to = (os.fsdecode(data[begin:begin + length]) for begin, length in ((start, from_size), (start + from_size + 1, to_size)))
        inodes = struct.unpack_from("=QQ", data, at + size - 16) if 48 + from_size + to_size + 18 <= size <= len(data) - at else ()
        yield "%s %s %s -> %s inodes %s" % (drives.get(drive, drive), KINDS.get(kind, kind), was, to, inodes)
        at = data.find(struct.pack("=Q", MOVED), at + 8)


def gone(data, drives):
    at = 0
    while at + 104 <= len(data):
        magic, length, path_size, record, drive, size, ino, _, _, _, over = struct.unpack_from("=Q32xIIQqQQqqII", data, at)
        if magic not in (GONE, GONE_LATER) or not 104 <= length <= len(data) - at:
            at += 8
            continue
        kind, start = (struct.unpack_from("=I", data, at + 104)[0], at + 112) if magic == GONE_LATER else ("removal", at + 104)
        extra = data[start + path_size:at + length].rstrip(b"\0")
        yield "%x %s kind %s %s inode %d size %d over %d %r" % (record, drives.get(drive, drive), kind, os.fsdecode(data[start:start + path_size]), ino, size, over, extra[:200])
        at += length


def records(folder, drives):
    for name in sorted(os.listdir(folder)):
        with contextlib.suppress(OSError, struct.error):
            if name not in RECORDS and not PAIRS.match(name):
                continue
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
            how = {"moved": moved, "gone": gone}.get(name, touched if name.startswith("touched") else None)
            lines = list(how(data, drives)) if how else [repr(data[-4000:])]
            yield "%s, %d bytes:" % (name, len(data))
            yield from ("  " + line for line in lines[-300:])


# --- the catalog ---

class Catalog:
    """A copy, read by names and by what they lead to."""

    def __init__(self, path):
        self.db = sqlite3.connect(path)
        self.db.text_factory = lambda data: data.decode(errors="surrogateescape")
        self.drives = dict(self.db.execute("SELECT id, name FROM drive"))
        self.paths = {}
        names = {}
        for parent, name, node in self.db.execute("SELECT parent, name, node FROM name"):
            names.setdefault(parent, []).append((os.fsdecode(name), node))
        for (root,) in self.db.execute("SELECT root FROM drive WHERE root <> 0"):
            left = [(root, "")]
            for above, path_above in left:
                for name, node in names.get(above, ()):
                    path_below = path_above + name
                    self.paths.setdefault(node, []).append(path_below)
                    left.append((node, path_below + "/"))

    def drive(self, number):
        return self.drives.get(number, number)

    def of_drives(self):
        for row in self.db.execute("SELECT id, name, slot, role, state, present, session, intended, scanned, hold FROM drive"):
            yield "drive %d %s: slot %d, role %d, state %d, present %d, session %d, intended %d, scanned %.3f, hold %r" % (*row[:8], row[8] / 1e9 % 1000, row[9])

    def nodes_of(self, names, inodes):
        """inodes: of drives' names."""
        for node, drive, ino in self.db.execute("SELECT id, drive, ino FROM node WHERE type = 0"):
            if set(self.paths.get(node, ())) & names or (self.drive(drive), ino % 2**64) in inodes:
                yield node

    def nodes_at(self, path):
        """Wherever it is."""
        return {node for node, paths in self.paths.items() if path in paths}

    def exposed_leaves(self, nodes):
        runs = [run for node in nodes for run in self.db.execute("SELECT first, leaves FROM exposed WHERE node = ?", (node,))]
        return {first + i for first, leaves in runs for i in range(leaves)}

    def of_node(self, node, stripes):
        row = self.db.execute("SELECT drive, ino, nlink, size, mtime, ctime, btime, version, sequence, recheck FROM node WHERE id = ?", (node,)).fetchone()
        yield "node %d on %s: %s; inode %d, %d names, %d bytes, mtime %.9f, ctime %.9f, btime %.9f, version %d, sequence %d, recheck %d" % (
            node, self.drive(row[0]), self.paths.get(node), row[1] % 2**64, row[2], row[3], *(ns / 1e9 for ns in row[4:7]), *row[7:])
        for first, leaves, size, since in self.db.execute("SELECT first, leaves, bytes, since FROM exposed WHERE node = ?", (node,)):
            yield "  exposed: leaves %d + %d, %d bytes, since %.3f" % (first, leaves, size, since / 1e9 % 1000)
        for kind, parent, name in self.db.execute("SELECT kind, parent, name FROM change WHERE node = ?", (node,)):
            yield "  change: kind %d, parent %d, name %r" % (kind, parent, name)
        for number, stripe, place, first, leaves, size, version, state in self.db.execute(
                "SELECT id, stripe, place, first, leaves, bytes, version, state FROM extent WHERE node = ? ORDER BY first, id", (node,)):
            stripes.add(stripe)
            yield "  extent %d: stripe %d at %d, leaves %d + %d, %d bytes, version %d, %s" % (number, stripe, place, first, leaves, size, version, STATES["extent"][state])

    def of_stripe(self, stripe):
        row = self.db.execute("SELECT lower(hex(uuid)), generation, length, made FROM stripe WHERE id = ?", (stripe,)).fetchone()
        margin = self.db.execute("SELECT margin, rows_intact, blocks_erased FROM stripe_margin WHERE stripe = ?", (stripe,)).fetchone()
        yield "stripe %d %s-g%d: %d bytes, made %.3f; margin %d as last seen: %d rows intact, %d blocks erased" % (stripe, *row[:3], row[3] / 1e9 % 1000, *margin)
        for index, drive, state in self.db.execute("SELECT idx, drive, state FROM row WHERE stripe = ?", (stripe,)):
            yield "  row %d on %s: %s" % (index, self.drive(drive), STATES["row"][state])
        for drive, slot, length in self.db.execute("SELECT drive, slot, length FROM block WHERE stripe = ?", (stripe,)):
            yield "  block on %s, slot %d, %d bytes" % (self.drive(drive), slot, length)
            for number, place, node, first, leaves, size, version, state in self.db.execute(
                    "SELECT id, place, node, first, leaves, bytes, version, state FROM extent WHERE stripe = ? AND drive = ? ORDER BY place", (stripe, drive)):
                yield "    extent %d at %d: node %s %s, leaves %d + %d, %d bytes, version %d, %s" % (
                    number, place, node, self.paths.get(node), first, leaves, size, version, STATES["extent"][state])

    def told(self, names, inodes):
        stripes = set()
        yield from self.of_drives()
        for node in self.nodes_of(names, inodes):
            yield from self.of_node(node, stripes)
        for stripe in sorted(stripes):
            yield from self.of_stripe(stripe)


def copy_of(pool, folder):
    """The pool's catalog and records, as they are at one moment or nearly so. A record that moves on meanwhile is there twice rather than not at all: they come in
    the order in which it does (pool/records/touched.h), and the catalog, whose commit it is that drops them, is last."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in (*RECORDS, *filter(PAIRS.match, os.listdir(pool))):
        with contextlib.suppress(OSError):
            shutil.copy2(os.path.join(pool, name), folder)
    source = sqlite3.connect("file:%s?mode=ro" % os.path.join(pool, "catalog.sqlite"), uri=True)
    with contextlib.closing(source), contextlib.closing(sqlite3.connect(os.path.join(folder, "catalog.sqlite"))) as copy:
        source.backup(copy)
    return folder


# --- the drives ---

def of_drive(root, names, inodes):
    """What has one of the names there, or is one of the inodes, wherever it is; inodes grows by what has the names."""
    found = {}
    for at, folders, files in os.walk(root):
        for name in [*folders, *files]:
            whole = os.path.join(at, name)
            with contextlib.suppress(OSError):
                found[os.path.relpath(whole, root)] = os.lstat(whole)
    wanted = set(inodes) | {stat.st_ino for path, stat in found.items() if path in names}
    for path, stat in sorted(found.items()):
        to = "%s" % os.readlink(os.path.join(root, path)) if path.startswith(".mrmr/retained") and os.path.islink(os.path.join(root, path)) else ""
        if stat.st_ino in wanted or any(to.endswith(name) for name in names):
            yield "%s: inode %d, mode %o, %d names, %d bytes, mtime %.9f, ctime %.9f%s%s" % (
                path, stat.st_ino, stat.st_mode, stat.st_nlink, stat.st_size, stat.st_mtime_ns / 1e9, stat.st_ctime_ns / 1e9, ", to " * bool(to) + to,
                digest_of(os.path.join(root, path)))


def digest_of(path):
    try:
        if os.path.islink(path) or not os.path.isfile(path):
            return ""
        with open(path, "rb") as file:
            return ", %s" % hashlib.blake2b(file.read(), digest_size=8).hexdigest()
    except OSError as error:
        return ", not read: %s" % error


# --- all of it ---

class Facts:
    def __init__(self, torture):
        self.torture, self.folder = torture, os.path.join(torture.place.folder, "facts")
        self.claimed = None

    def claim(self):
        """What the pool knows as it is asked what it claims."""
        try:
            self.claimed = (time.time(), copy_of(self.torture.mrmr.dir, os.path.join(self.folder, "claimed")))
        except (OSError, sqlite3.Error) as error:
            print("what is known when it is claimed cannot be copied: %s" % error)

    def tell(self, message):
        """Last: the pool's processes are killed for it, so that all stays as it is, and the drives are mounted."""
        torture, paths = self.torture, paths_in(message)[:8]
        names = set()
        for path in paths:
            print("--- what is known of %s" % path)
            for changer in torture.changers:
                if path.startswith(changer.folder + "/"):
                    also = earlier_names(path, changer.log)
                    names |= set(also)
                    file = changer.files.get(path)
                    print("names: %s; by the model: %s" % (also, file and "%s, %d bytes, %s, mode %s, tag %s" % (
                        sorted(file.names), len(file.data), hashlib.blake2b(file.data, digest_size=8).hexdigest(), file.mode, file.tag)))
            names.add(path)
        for path in paths:
            self.passes(path)
        self.of_command("status")
        self.freeze()
        inodes = self.of_drives(names)
        if self.claimed:
            self.of_pool("when it was claimed, at %.3f" % (self.claimed[0] % 1000), self.claimed[1], names, inodes)
        with guarded("the catalog"):
            self.of_pool("now", copy_of(torture.mrmr.dir, os.path.join(self.folder, "now")), names, inodes)
        self.of_log(names)

    def passes(self, path):
        """Whether it is so still, and in a moment."""
        for wait in (0, 3):
            time.sleep(wait)
            told = []
            for what in ("drive", "protection", "exposed", "version"):
                with guarded(what, told):
                    told.append("%s %s" % (what, os.getxattr(self.torture.at(path), "user.mrmr." + what).decode()))
            with guarded("stat", told):
                stat = os.stat(self.torture.at(path))
                told.append("number %d, mode %o, %d names, %d bytes, mtime %.9f" % (stat.st_ino, stat.st_mode, stat.st_nlink, stat.st_size, stat.st_mtime_ns / 1e9))
            with guarded("read", told):
                with open(self.torture.at(path), "rb") as file:
                    told.append("read: %s" % hashlib.blake2b(file.read(), digest_size=8).hexdigest())
            print("through the mount, %s: %s" % ("after %d s" % wait if wait else "at once", "; ".join(told)))

    def freeze(self):
        with guarded("killing the pool's processes"):
            for pid in [*self.torture.processes(), self.torture.mount.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.torture.mount.process.wait(60)

    def of_drives(self, names):
        """Inodes by drive that have the names."""
        torture, inodes = self.torture, set()
        for name, drive in torture.drives.items():
            print("--- on %s%s" % (name, ", which was away" if name in torture.away else ""))
            with guarded("the drive"):
                if name in torture.away and drive.mounted:
                    mount_anew(drive)
                elif name in torture.away:
                    drive.mount()
                with guarded("its names"):
                    for path in names:
                        with contextlib.suppress(OSError):
                            inodes.add((name, os.lstat(os.path.join(drive.root, path)).st_ino))
                for line in of_drive(drive.root, names, {ino for on, ino in inodes if on == name}):
                    print("  " + line)
        return inodes

    def of_pool(self, when, folder, names, inodes):
        print("--- the catalog %s" % when)
        with guarded("the catalog"):
            catalog = Catalog(os.path.join(folder, "catalog.sqlite"))
            for line in catalog.told(names, inodes):
                print("  " + line)
            for line in records(folder, catalog.drives):
                print("  " + line)

    def of_log(self, names):
        print("--- the end of the log, and what it says of these names before")
        with guarded("the log"):
            lines = self.torture.mount.log.read_text(errors="replace").splitlines()
            about = [line for line in lines[:-LOG_LINES] if any(name in line for name in names)]
            print("\n".join(["  " + line for line in about[-100:] + lines[-LOG_LINES:]]))
        self.of_command("events", "--last", "30")

    def of_command(self, *args):
        print("--- mrmr %s" % " ".join(args))
        with guarded("it"):
            done = subprocess.run([self.torture.mrmr.bin, *args], env=self.torture.mrmr.env, capture_output=True, text=True, errors="replace", timeout=60, check=False)
            print("%s%s(%d)" % (done.stdout, done.stderr, done.returncode))


@contextlib.contextmanager
def guarded(what, told=None):
    try:
        yield
    except Exception as error: # pylint: disable=broad-except; the test has failed already
        line = "%s: cannot be told: %s" % (what, error)
        if told is None:
            print(line)
        else:
            told.append(line)
