# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool that test_torture.py tortures: its drives and how they go and come back, its processes and how they are killed, and what it claims."""
import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import time

from loops import Loop
from mounts import until
from seeded import Seeded
from test_mount_drives import FIBMAP, shut_down
from test_mount_dying import WRITTEN_OUT, mount_anew
from torture_calls import AWAY, FULL, KILLED, Trouble, Wrong
from torture_facts import Catalog, Facts
from torture_hot import QUIET_LEAVES, Hot
from torture_model import Changer, File, how_it_differs, read, tag_of
from torture_ways import a_way

MEGABYTES = {"ext4": 160, "xfs": 320}
BALLAST = ".Trash-0/ballast" # not in the tree, as all that is below such a name
CHANGERS, HOT = 2, 2


class Folder:
    """A drive that is a plain folder."""

    def __init__(self, folder, name):
        self.name, self.fs, self.root, self.mounted = name, "folder", os.path.join(folder, "folder-" + name), True
        os.mkdir(self.root)

    def umount(self):
        if self.mounted:
            os.rename(self.root, self.root + ".away")
        self.mounted = False

    def mount(self):
        os.rename(self.root + ".away", self.root)
        self.mounted = True


class Counts:
    def __init__(self):
        self.kills = dict.fromkeys(("mounts", "daemons", "jobs", "commands"), 0)
        self.losses = self.compared = self.claimed = self.errors = self.rebuilt = self.rotted = self.edits = self.filled = self.syncs = self.beside = self.rested = 0


class Claim:
    """What the pool said of a file: its bytes, the drive it lies on, and how many losses it survives as it is; -1: it is exposed."""

    def __init__(self, path, file, drives, survives, away):
        self.path, self.file, self.data, self.drives, self.survives, self.away = path, file, file.data, drives, survives, set(away)

    def holds_without(self, away):
        """What it survives is said of further losses."""
        return self.survives >= len(set(away) - self.away) or not self.drives & set(away)


class Torture:
    def __init__(self, place, seed):
        self.place, self.mrmr, self.seed, self.rng = place, place.mrmr, seed, Seeded(seed)
        self.way = a_way(self.rng)
        print("MRMR_SEED=%d, the way is: %s" % (seed, self.way.name), flush=True)
        self.trouble, self.counts, self.redundancy, self.number = Trouble(), Counts(), 1, 0
        self.kept, self.away, self.spares, self.changers, self.hot, self.facts = {}, {}, 0, [], [], Facts(self)
        changers = [Changer(place.folder / "m", "c%d" % i, "%d/%d" % (seed, i), self.trouble, self.way.taste) for i in range(CHANGERS)]
        self.build(changers)
        place.start("-v", "-o", "daemon")
        self.changers = changers
        for hot in self.hot:
            hot.start()

    @property
    def drives(self):
        return self.place.drives

    @property
    def mount(self):
        return self.place.mount

    def at(self, path):
        return self.place.at(path)

    def note(self, what):
        print("[%.1f] %s" % (time.monotonic() % 100000, what), flush=True) # no figure for the end of tools/test
        for changer in self.changers:
            changer.note("--- " + what)

    # --- making it ---

    def build(self, changers):
        for name, fs in self.way.drives:
            self.add(name, fs)
            for i in range(5):
                path = "kept/%s %d" % (name, i)
                self.kept[path] = self.some_bytes()
                write(os.path.join(self.drives[name].root, path), self.kept[path])
            for changer in changers:
                for _ in range(4):
                    self.make_on(name, changer, changer.folder)
        for name in self.rng.sample(sorted(self.drives), HOT):
            self.hot.append(Hot(self.place.folder / "m", "hot/" + name, "%d/%s" % (self.seed, name), self.trouble))
            write(os.path.join(self.drives[name].root, "hot", name), self.hot[-1].data)
        for key, value in (("settle", "1"), ("hold-percent", "100"), ("hold-files", "1000000"), ("memory", "32M")):
            self.command("set", key, value)
        self.command("sync")
        self.rest_of_hot_is_protected()

    def some_bytes(self):
        return self.rng.randbytes(self.rng.randrange(1, self.rng.choice((5_000, 300_000, 3_000_000))))

    def make_on(self, name, changer, folder):
        """A file of the changer, directly on a drive."""
        changer.number += 1
        path = "%s/%d" % (folder, changer.number)
        file = File(self.some_bytes())
        write(os.path.join(self.drives[name].root, path), file.data)
        changer.give(path, file)

    def add(self, name, fs):
        if fs == "folder":
            self.drives[name] = Folder(self.place.folder, name)
        else:
            self.drives[name] = self.place.make(name, fs, MEGABYTES[fs])
        os.makedirs(os.path.join(self.drives[name].root, "marks"))
        os.makedirs(os.path.join(self.drives[name].root, os.path.dirname(BALLAST)))
        self.command("add-drive", self.drives[name].root, "--name", name)

    # --- the files that are written to all the time ---

    @contextlib.contextmanager
    def resting(self):
        """They rest meanwhile, though not at once: their last call may be on its way."""
        rested = [hot for hot in self.hot if not hot.rests]
        for hot in rested:
            with hot.lock:
                hot.rests = True
        try:
            yield
        finally:
            for hot in rested:
                hot.rests, hot.claim = False, None

    def wake(self):
        """They write again, and have already: to what is claimed of them, which others count on."""
        calls = [hot.calls for hot in self.hot]
        for hot in self.hot:
            hot.rests, hot.claim = False, None
        until(lambda: all(hot.wrong or hot.calls > before + 5 for hot, before in zip(self.hot, calls)), 100)

    @contextlib.contextmanager
    def still(self):
        """Nothing of them is open: the mount may be unmounted."""
        with contextlib.ExitStack() as stack:
            for hot in self.hot:
                stack.enter_context(hot.still())
            yield

    def rest_of_hot_is_protected(self):
        """A sync is through, whatever is written into them, or is cut off: they are, but for moments in which the daemon has seen that they changed, and has not
        compared them; or after another sync, since the daemon leaves what it finds exposed of them for longer."""
        for hot in self.hot:
            end = time.monotonic() + 60
            while not self.is_protected(hot):
                if time.monotonic() > end:
                    raise Wrong("a sync was through, and leaves of %s are exposed that are never written to; its calls: %s" % (hot.name, hot.told()))
                self.sync((0, 3))
            self.counts.beside += not hot.rests and hot.thread is not None

    def is_protected(self, hot):
        self.facts.claim()
        catalog = Catalog(os.path.join(self.facts.claimed[1], "catalog.sqlite"))
        return not catalog.exposed_leaves(catalog.nodes_at(hot.name)) & QUIET_LEAVES

    # --- processes ---

    def processes(self):
        """Below the mount's: pid → words of its command line. Not its watchdog: nobody else ends the calls of one that is killed right after it."""
        parents, found = {}, {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open("/proc/%s/stat" % entry, encoding="utf-8", errors="replace") as file:
                    name, told = file.read().rsplit(")", 1)
                if not name.endswith("(mrmr-watchdog"):
                    parents[int(entry)] = int(told.split()[1])
        for pid in parents:
            above = pid
            while above in parents and above != self.mount.process.pid:
                above = parents[above]
            if above == self.mount.process.pid and pid != above:
                with contextlib.suppress(OSError):
                    with open("/proc/%d/cmdline" % pid, "rb") as file:
                        found[pid] = file.read().decode(errors="replace").split("\0")
        return found

    def kill_one(self, kind, of_this_kind):
        pids = sorted(pid for pid, words in self.processes().items() if of_this_kind(words))
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(pids), signal.SIGKILL)
                self.counts.kills[kind] += 1
        return len(pids)

    def kill_daemon(self):
        return self.kill_one("daemons", lambda words: "--with-input" in words)

    def kill_job(self):
        """Whatever the daemon has running."""
        return self.kill_one("jobs", lambda words: "--with-input" not in words)

    def kill_mount(self):
        self.trouble.begin("killed", KILLED)
        self.trouble.again.clear()
        self.mount.kill()
        self.counts.kills["mounts"] += 1
        self.mount.start("-v", "-o", "daemon")
        self.trouble.again.set()
        self.trouble.end("killed")

    def kill_command(self, *args):
        """One that is given, and killed after a moment with what runs it."""
        client = self.mrmr.start(*args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.rng.random() * 0.4)
        self.kill_one("commands", lambda words: args[0] in words and "--background" not in words)
        client.kill()
        client.wait(60)
        self.counts.kills["commands"] += 1

    def kill_sync(self):
        self.kill_command("sync")

    def kill_scrub(self):
        self.kill_command("scrub")

    @contextlib.contextmanager
    def worker_paused(self):
        """The daemon mends nothing meanwhile: what is said to be safe is so without that."""
        self.command("set", "worker", "paused")
        yield
        self.command("set", "worker", "running")

    def sync_beside(self):
        """While files change it may leave some for later."""
        self.sync((0, 3))

    def scrub_beside(self):
        self.command("scrub", code=(0, 3))

    def command(self, *args, code=0):
        """What a daemon that was killed had running has the pool until it ends."""
        done = until(lambda: in_its_turn(self.mrmr.run(*args, code=None)), 100)
        code = code if isinstance(code, tuple) else (code,)
        assert done.returncode in code, "%r gave %d:\n%s\n%s" % (args, done.returncode, done.stdout, done.stderr)
        return done

    def sync(self, code=(0,)):
        self.counts.syncs += 1
        return self.command("sync", code=code)

    def synced(self):
        """With all drives there, and nothing has changed since."""
        for changer in self.changers:
            changer.synced(self.roots(self.drives))

    def roots(self, names):
        return {name: self.drives[name].root for name in names}

    # --- what it claims ---

    def of_file(self, path, what):
        return os.getxattr(self.at(path), "user.mrmr." + what).decode()

    def claim_of(self, path, file):
        try:
            told, drives = self.of_file(path, "protection"), set(self.of_file(path, "drive").split())
        except OSError:
            if not self.away: # else nobody knows it but a drive that is away
                raise
            return Claim(path, file, set(self.away), -1, self.away)
        survives = int(told.split("survives ")[1].split(",")[0]) if "survives" in told and "exposed" not in told else -1
        if survives >= 0 and self.of_file(path, "exposed") != "0":
            raise Wrong("%s is said to be %s, and something of it is exposed" % (path, told))
        return Claim(path, file, drives, survives, self.away)

    def claims(self):
        """Of all files, but for those of calls that failed; nobody changes any now."""
        claims = [self.claim_of(path, file) for changer in self.changers for path, file in changer.files.items() if changer.is_certain(path)]
        for path, data in self.kept.items():
            claims.append(self.claim_of(path, File(data)))
        for hot in self.hot:
            hot.claim = self.claim_of(hot.name, File(b"")) if hot.rests else None
        for claim in self.rng.sample(claims, 3): # what the command says is held against it, too
            told = json.loads(self.command("where", claim.path, "--json", code=(0, 1)).stdout or "{}").get("copies")
            if told and told[0]["exposed_size"] == 0:
                claim.survives = max(claim.survives, told[0]["survives"])
        self.counts.claimed += sum(claim.survives >= 0 for claim in claims)
        self.facts.claim()
        return claims

    def hold_to(self, claims):
        """All of it was protected, and nothing has changed since: what the daemon is at takes none of that away, whatever is said meanwhile."""
        for claim in [*claims, *(hot.claim for hot in self.hot if hot.claim)]:
            if claim.survives < self.redundancy:
                self.note("%s is said to survive %d while the daemon is at work" % (claim.path, claim.survives))
                claim.survives = self.redundancy

    def by_itself(self):
        """The daemon protects all."""
        end = time.monotonic() + 200
        while True:
            time.sleep(0.3) # it is asked of each file, and what is asked for has to come about meanwhile
            files = [(path, file) for changer in self.changers for path, file in changer.files.items()]
            files += [(hot.name, File()) for hot in self.hot if hot.rests]
            left = [path for path, file in files if self.claim_of(path, file).survives < self.redundancy]
            if not left:
                return
            if time.monotonic() > end:
                raise Wrong("the daemon waits for changes, and these are not protected: %s" % ", ".join(left))

    # --- drives that go and come back ---

    def unplug(self, names):
        """While no mount is there; the daemon, and what it has running, ends behind it."""
        with self.still():
            self.mount.stop()
            for name in names:
                until(lambda name=name: goes(self.drives[name]), 100)
            self.mount.start("-v", "-o", "daemon")

    def unplug_killed(self, names):
        self.trouble.begin("killed", KILLED)
        self.mount.kill()
        self.counts.kills["mounts"] += 1
        for name in names:
            until(lambda name=name: goes(self.drives[name]), 100)
        self.mount.start("-v", "-o", "daemon")
        self.trouble.end("killed")

    def die(self, names):
        for name in names:
            shut_down(self.drives[name].root, WRITTEN_OUT)

    def die_hard(self, names):
        """What the daemon has just written to it, and not synced, goes with it."""
        for name in names:
            shut_down(self.drives[name].root)

    def detach(self, names):
        """Which is refused while something on it is open for writing."""
        for name in names:
            with self.still():
                self.command("detach", name)
            until(lambda name=name: goes(self.drives[name]), 100)

    def lose(self, how, names):
        for hot in self.hot:
            with hot.lock: # what it wrote so far is written out
                hot.rolls, hot.was = hot.rolls or how == self.die_hard, hot.was if hot.rolled else {}
        subprocess.run(["sync"], check=True)
        for changer in self.changers:
            changer.loses(self.roots(names))
        self.trouble.begin("away", AWAY)
        how(names)
        self.away.update(dict.fromkeys(names, how))
        self.counts.losses += len(names)
        for changer in self.changers:
            changer.degraded = True
        self.a_drive_went()

    def a_drive_went(self):
        for changer in self.changers:
            changer.a_drive_went()
        for hot in self.hot:
            hot.drive_went()

    def give_back(self):
        for name in self.away:
            self.is_back(name)
        self.all_are_back()

    def back_one_by_one(self):
        """Before all but the first the mount may be killed, or end, whether or not it has taken in the one before."""
        for i, name in enumerate(self.rng.sample(sorted(self.away), len(self.away))):
            if i and self.rng.random() < 0.5:
                self.note("%s comes next" % name)
                self.rng.choice((self.kill_mount, self.start_anew))()
            self.is_back(name)
            if self.rng.random() < 0.5:
                self.until_back(name)
        self.all_are_back()

    def start_anew(self):
        with self.still():
            self.mount.stop()
            self.mount.start("-v", "-o", "daemon")

    def is_back(self, name):
        drive, how = self.drives[name], self.away[name]
        if how in (self.die, self.die_hard):
            mount_anew(drive)
        else:
            drive.mount()
        if how == self.detach:
            self.command("attach", name, code=(0, 3))

    def all_are_back(self):
        for name in self.away:
            self.until_back(name)
        self.away = {}
        self.trouble.end("away")
        for changer in self.changers:
            changer.degraded = False

    def until_back(self, name):
        """The mount has the drive in service: what is written through it lands there. What is made on a drive shows also by the catalog."""
        until(lambda: self.serves(name), 100)

    def serves(self, name):
        self.number += 1
        mark = "marks/%d" % self.number
        whole = os.path.join(self.drives[name].root, mark)
        with open(whole, "wb"):
            pass
        until(lambda: os.path.exists(self.at(mark)), 100)
        with contextlib.suppress(OSError):
            with open(self.at(mark), "r+b") as file:
                file.write(b"mark")
        got, _ = read_or_not(whole) # none: it was brought to another drive, and is gone here since this one serves
        os.unlink(self.at(mark))
        return got == b"mark"

    # --- comparing ---

    def compare_without(self, claims, names=False):
        """With drives away, what was claimed, to the byte; and what was not gives its bytes or an error. names: their number, too, which a sync has seen."""
        for claim in claims:
            claim.file.sure = claim.holds_without(self.away)
            got, error = read_or_not(self.at(claim.path))
            if got is None and claim.file.sure:
                raise Wrong("%s, cannot be read: %s; %s" % (self.told_of(claim), error, self.calls_about(claim)))
            if got not in (None, claim.data):
                raise Wrong("%s, has other bytes: %s; %s" % (self.told_of(claim), how_it_differs(got, claim.data), self.calls_about(claim)))
            self.counts.errors += got is None
            self.counts.compared += len(got or b"")
            if claim.file.sure:
                told = os.stat(self.at(claim.path))
                if names and not claim.file.has_attributes(self.at(claim.path)):
                    raise Wrong("%s, has the mode %o and the tag %s, not %o and %s; %s" % (
                        self.told_of(claim), told.st_mode, tag_of(self.at(claim.path)), claim.file.mode, claim.file.tag, self.calls_about(claim)))
                if told.st_size != len(claim.data) or names and told.st_nlink != max(1, len(claim.file.names)):
                    raise Wrong("%s, has %d bytes and %d names; %s" % (self.told_of(claim), told.st_size, told.st_nlink, self.calls_about(claim)))

        for hot in self.hot:
            compared, errors = hot.compare_without(self.away, "without %s %s" % (sorted(self.away), self.told_of(hot.claim) if hot.claim else hot.name))
            self.counts.compared += compared
            self.counts.errors += errors
            self.counts.rested += hot.claim is not None and bool(hot.claim.drives & set(self.away)) and hot.claim.holds_without(self.away)

    def told_of(self, claim):
        return "without %s %s on %s, which has %d bytes and %d names and was said to survive %d without %s" % (
            sorted(self.away), claim.path, claim.drives, len(claim.data), len(claim.file.names), claim.survives, sorted(claim.away))

    def calls_about(self, claim):
        return "the calls: %s" % "".join(changer.told() for changer in self.changers if claim.path.startswith(changer.folder + "/"))

    def compare_all(self):
        """All drives are there."""
        for changer in self.changers:
            changer.settle()
            self.counts.compared += changer.compare_all()
        for hot in self.hot:
            hot.check()
            self.counts.compared += hot.settle()
        for path, data in self.kept.items():
            got = read(self.at(path))
            if got != data:
                raise Wrong("%s has other bytes: %s" % (path, how_it_differs(got, data)))
            self.counts.compared += len(got)

    def on_the_drives(self):
        """Each file is whole on one drive, and nowhere else."""
        for changer in self.changers:
            for path, file in changer.files.items():
                on = [name for name, drive in self.drives.items() if os.path.lexists(os.path.join(drive.root, path))]
                if len(on) != 1 or read(os.path.join(self.drives[on[0]].root, path)) != file.data:
                    raise Wrong("%s is on %s, or not whole; its calls: %s" % (path, on, changer.told()))

        for hot in self.hot:
            with hot.lock:
                on = [drive.root for drive in self.drives.values() if os.path.lexists(os.path.join(drive.root, hot.name))]
                if len(on) != 1 or read(os.path.join(on[0], hot.name)) != hot.data:
                    raise Wrong("%s is on %s, or not whole; its calls: %s" % (hot.name, on, hot.told()))

    def all_is_well(self):
        """A sync is through, and nothing needs a look."""
        for args in (("sync",), ("scrub",), ("check",), ("status",)):
            self.command(*args)
        self.synced()

    # --- what is done to drives ---

    def fill_one(self):
        """To the last bytes."""
        name = self.rng.choice(sorted(name for name, drive in self.drives.items() if drive.fs != "folder" and name not in self.away))
        self.note("fill %s" % name)
        self.trouble.begin("full", FULL)
        self.counts.filled += 1
        fd = os.open(os.path.join(self.drives[name].root, BALLAST), os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            piece = 64 << 20
            while piece >= 4096:
                end = os.fstat(fd).st_size
                try:
                    os.posix_fallocate(fd, end, piece)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    piece //= 2
        finally:
            os.close(fd)

    def empty(self):
        for drive in self.drives.values():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(drive.root, BALLAST))
        self.trouble.end("full")

    def edit(self, name, edits):
        """Directly on the drive: what the mount shows then, and the next sync takes. It would hold a drive of which nothing is left that it knew, as it
        is to, so files go only where one stays."""
        stays = any(os.path.exists(os.path.join(self.drives[name].root, path)) for path in self.kept)
        for changer in self.changers:
            mine = [path for path in changer.usable() if os.path.exists(os.path.join(self.drives[name].root, path)) and len(changer.files[path].names) == 1]
            for path in self.rng.sample(mine, min(len(mine), edits)):
                self.counts.edits += 1
                kind = self.rng.randrange(0 if stays else 1, 3)
                changer.note("edit %d of %s on %s" % (kind, path, name))
                whole, data = os.path.join(self.drives[name].root, path), self.some_bytes()
                if kind == 0:
                    os.unlink(whole)
                    changer.take_away(path)
                elif kind == 1:
                    write(whole, data)
                    changer.files[path].data = data
                else:
                    with open(whole, "ab") as file:
                        file.write(data)
                    changer.files[path].data += data
            for _ in range(edits):
                self.counts.edits += 1
                self.make_on(name, changer, self.rng.choice(sorted(changer.folders)))

    def damages(self):
        """How many were found so far, by whomever."""
        events = json.loads(self.command("events", "--last", "0", "--json").stdout)["events"]
        return sum(event["kind"] == "damage-found" for event in events)

    def rot(self, name):
        """Bytes of a file, or of a parity row, change on the medium, and nobody says so; the path, or None. What is changed is not what it was."""
        drive = self.drives[name]
        paths = [os.path.join(drive.root, path) for path in sorted(self.kept)]
        paths += [os.path.join(at, file) for at, _, files in os.walk(os.path.join(drive.root, ".mrmr", "parity")) for file in sorted(files)]
        paths = [path for path in paths if os.path.exists(path) and os.path.getsize(path) > 4096]
        if not paths:
            return None
        path = self.rng.choice(paths)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            at = self.rng.randrange(min(os.path.getsize(path), 1 << 20) - 16)
            size = os.statvfs(path).f_bsize
            block = struct.unpack("i", fcntl.ioctl(file.fileno(), FIBMAP, struct.pack("i", at // size)))[0]
            if block == 0: # a hole
                return None
            place = block * size + min(at % size, size - 16)
            was = os.pread(file.fileno(), 16, at // size * size + min(at % size, size - 16))
            with open(drive.image, "r+b") as image:
                assert os.pread(image.fileno(), 16, place) == was
                os.pwrite(image.fileno(), bytes(byte ^ 0x55 for byte in was), place)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(file.fileno(), 16, at // size * size + min(at % size, size - 16)) != was
        self.counts.rotted += 1
        return path

    def rebuild(self, name, onto):
        """The drive is lost for good."""
        drive = self.drives[name]
        self.a_drive_went()
        self.unplug([name])
        self.counts.losses += 1
        self.counts.rebuilt += 1
        self.spares += 1
        new = "%s%d" % (re.sub(r"\d+$", "", name), self.spares)
        del self.drives[name]
        if onto:
            self.add(new, drive.fs)
            self.command("rebuild", name, "--onto", new)
        else:
            self.command("rebuild", name)
            self.add(new, drive.fs)
        self.until_back(new)
        if isinstance(drive, Loop):
            os.unlink(drive.image)


def write(whole, data):
    """Whatever is there, and the folders above it."""
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    with open(whole, "wb") as file:
        file.write(data)


def read_or_not(path):
    """Its bytes, or the error."""
    try:
        return read(path), None
    except OSError as error:
        return None, error


def in_its_turn(done):
    """None if somebody else had the pool."""
    return None if done.returncode == 1 and "is in use by" in done.stderr else done


def goes(drive):
    """A command that looks may have it open for a moment."""
    with contextlib.suppress(subprocess.CalledProcessError):
        drive.umount()
        return True
    return False
