# SPDX-License-Identifier: GPL-3.0-or-later
"""Files are changed through the mount in the very moment in which a drive dies, hangs, or the mount's process is killed, and what was acknowledged is
there when all is well again: through the mount, on the drives, and without any one drive. What is allowed of each call is in changers.py.

What is done to them:
- a drive dies by the shutdown ioctl with its default flag: the file system is written out, and from that moment on each call is EIO. What
  a call acknowledged before is on the medium, so nothing of it may be lost. It comes back by being mounted again.
- a drive hangs by fsfreeze: what was given up may land when it is thawed.
- the mount's process is killed and started again; also while a drive is dead. Not while one is frozen: what was asked of it
  before its deadline is in no record yet, and may land when it is thawed.
- sync runs at times, also without the drive.
MRMR_ROUNDS, MRMR_SEED. A seed gives the same calls and the same faults; when they meet is up to the machine."""
import os
import threading
import time

import pytest

from changers import Changer, Trouble, Wrong, is_file, read
from faults import frozen
from mounts import until
from places import places
from seeded import Seeded
from test_mount_drives import shut_down

ROUNDS = int(os.environ.get("MRMR_ROUNDS", "1"))
WRITTEN_OUT = 0 # EXT4_GOING_FLAGS_DEFAULT, XFS_FSOP_GOING_FLAGS_DEFAULT
DRIVES = (("red", "ext4"), ("green", "xfs"), ("blue", "ext4"))
CHANGERS = 3


class Reader:
    """Reads protected files that nobody changes; each read must succeed while the mount's process is there."""

    def __init__(self, place, kept, seed):
        self.place, self.kept, self.rng = place, kept, Seeded(seed)
        self.stop, self.wrong, self.reads, self.killed = threading.Event(), [], 0, 0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.wait(0.05) and not self.wrong:
            path, killed = self.rng.choice(sorted(self.kept)), self.killed
            try:
                if read(self.place.at(path)) != self.kept[path]:
                    self.wrong.append(path)
                self.reads += 1
            except OSError as error:
                if killed % 2 == 0 and killed == self.killed:
                    self.wrong.append("%s: %s" % (path, error))

    def end(self):
        self.stop.set()
        self.thread.join(120)
        assert self.wrong == []


def mount_anew(drive):
    drive.mount_anew()


class Dying:
    def __init__(self, place, seed):
        self.place, self.rng, self.trouble, self.kept, self.number = place, Seeded(seed), Trouble(), {}, 0
        self.changers, self.reader = [], None
        for name, fs in DRIVES:
            root = place.add(name, fs)
            os.mkdir(os.path.join(root, "shared"))
            for i in range(3):
                path = "shared/of %s %d" % (name, i)
                self.kept[path] = self.rng.randbytes(self.rng.randrange(1, 1_500_000))
                with open(os.path.join(root, path), "wb") as file:
                    file.write(self.kept[path])
        place.run("set", "drive-timeout", "1")
        place.start()
        for i in range(CHANGERS):
            changer = Changer(place.point, "c%d" % i, self.rng.random(), self.trouble)
            os.mkdir(changer.at(changer.folder))
            self.changers.append(changer)

    # --- what runs at the side ---

    def begin(self):
        for changer in self.changers:
            changer.start()
        self.reader = Reader(self.place, self.kept, self.rng.random())

    def end(self):
        for changer in self.changers:
            changer.stop.set()
        for changer in self.changers:
            changer.end()
        self.reader.end()

    def calls(self, most, seconds=2):
        """Some calls are made, or tried."""
        def made():
            return sum(changer.calls + changer.failed for changer in self.changers)
        wanted, end = made() + self.rng.randrange(most), time.monotonic() + seconds
        while made() < wanted and time.monotonic() < end and not any(changer.wrong for changer in self.changers):
            time.sleep(0.002)

    def through(self):
        """What was asked of a drive before it answered again may still be given up, and then the drive goes once more: until no such call is left."""
        before = {changer: changer.calls + changer.failed for changer in self.changers}
        until(lambda: all(changer.wrong or changer.calls + changer.failed > before[changer] + 1 for changer in self.changers), 60)

    def note(self, what):
        for changer in self.changers:
            changer.note(what)

    # --- what happens ---

    def start_again(self, meanwhile=lambda: None):
        self.place.mount.kill()
        meanwhile()
        self.place.mount.start()
        self.trouble.mounts += 1

    def kill(self):
        self.reader.killed += 1
        self.start_again()
        self.reader.killed += 1

    def sync(self, code=(0, 3)):
        told = self.place.mrmr.run("sync", code=code)
        if told.returncode:
            print("sync gave %d: %s" % (told.returncode, told.stderr[-600:]))

    def back(self, name):
        """The mount has the drive again: what is made on it shows."""
        self.number += 1
        mark = "shared/back %d" % self.number
        with open(os.path.join(self.place.drives[name].root, mark), "wb"):
            pass
        until(lambda: os.path.exists(self.place.at(mark)), 60)

    def a_drive_dies(self):
        name = self.rng.choice(sorted(self.place.drives))
        shut_down(self.place.drives[name].root, WRITTEN_OUT)
        self.calls(60)
        for what in self.rng.choice([(), (self.kill,), (self.sync,), (self.kill, self.sync), (self.sync, self.kill)]):
            self.note("--- %s" % what.__name__)
            what()
            self.calls(40)
        self.note("--- comes back")
        mount_anew(self.place.drives[name])
        self.back(name)
        return name

    def a_drive_hangs(self):
        name = self.rng.choice(sorted(self.place.drives))
        with frozen(self.place.drives[name].root) as thaw:
            self.calls(60, self.rng.choice((0.5, 1.5, 3)))
            thaw()
            self.through()
            self.back(name)
        return name

    def the_mount_is_killed(self):
        self.kill()
        return "the mount"

    def something(self, what):
        self.calls(80)
        self.trouble.begin()
        began = time.monotonic()
        self.note("--- %s begins" % what.__name__)
        name = what()
        self.trouble.end()
        self.note("--- %s ends: %s" % (what.__name__, name))
        print("%s: %s, for %.1f s; %d calls, and %d failed, %d reads" % (what.__name__, name, time.monotonic() - began, sum(changer.calls for changer in self.changers),
            sum(changer.failed for changer in self.changers), self.reader.reads))
        self.calls(40)

    # --- what must be so then ---

    def settle(self):
        for changer in self.changers:
            try:
                changer.settle()
            except Wrong as wrong:
                raise Wrong("%s; its calls: %s" % (wrong, changer.told())) from wrong

    def on_the_drives(self):
        """Each file is whole on one drive, and nowhere else."""
        for changer in self.changers:
            for path, node in changer.names.items():
                on = [name for name, drive in self.place.drives.items() if is_file(os.path.join(drive.root, path))]
                if not node.is_folder:
                    if len(on) != 1:
                        raise Wrong("%s is on %s; its calls: %s" % (path, on, changer.told()))
                    assert read(os.path.join(self.place.drives[on[0]].root, path)) == node.contents[0], path

    def without(self, name):
        """All is protected: what that drive has is there by reconstruction."""
        self.start_again(lambda: self.place.drives[name].umount())
        self.settle()
        assert [path for path in self.kept if read(self.place.at(path)) != self.kept[path]] == []
        self.start_again(lambda: self.place.drives[name].mount())

    def check(self):
        self.settle()
        self.on_the_drives()
        for command in ("sync", "scrub", "status"):
            told = self.place.mrmr.run(command, code=None)
            assert told.returncode == 0, (command, told.returncode, told.stdout, told.stderr, self.place.mount.log.read_text()[-4000:])
        self.settle()
        for changer in self.changers:
            changer.check_names()


@pytest.fixture(name="dying")
def make_dying(mrmr, tmp_path):
    seed = int(os.environ.get("MRMR_SEED") or time.time_ns() % 10**9)
    print("\nMRMR_SEED=%d" % seed)
    with places(mrmr, tmp_path) as place:
        yield Dying(place, seed)


def test_changes_while_drives_die(dying):
    dying.place.run("sync")
    kinds = [dying.a_drive_dies, dying.a_drive_hangs, dying.the_mount_is_killed]
    for turn in range(ROUNDS):
        dying.begin()
        dying.something(dying.rng.choice(kinds[:2] if turn == 0 else kinds))
        if dying.rng.random() < 0.3:
            dying.sync()
        dying.end()
        dying.check()
        if turn % 2:
            dying.without(dying.rng.choice(sorted(dying.place.drives)))
    print("%d files came back that nobody had known of" % sum(changer.came_back for changer in dying.changers))
