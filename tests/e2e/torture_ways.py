# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of test_torture.py does most of. Each run draws one way: who does everything alike meets too seldom what comes of many of the same, such as
a name that goes, a kill, and a drive that goes before a sync has seen it. MRMR_TORTURE_WAY names one.

A way has drives, what its changers do, how often, and the plan of a batch, which is drawn before it begins."""
import os

from torture_model import Taste

MIXED = (("red", "ext4"), ("green", "xfs"), ("blue", "ext4"), ("white", "ext4"), ("grey", "folder"))
FOLDERS = (("red", "folder"), ("green", "folder"), ("blue", "folder"), ("grey", "folder"))
NAMES = Taste(most_files=60, sizes=((10, 300), (19, 20_000), (20, 200_000)), kinds={
    "write": 2, "append": 1, "create": 4, "save": 4, "rename": 4, "remove": 2, "set_mode": 3, "set_tag": 3, "cut": 1, "grow": 1, "store": 1, "replace": 3, "link": 4,
    "make_folder": 3, "remove_folder": 2, "rename_folder": 3, "flush": 1, "list_one": 1})

HOT = ("goes on", "goes on", "rests", "wakes") # what writes to the same files all the time: the last is overwriting what has just been claimed as drives go


class Plan:
    """Everything."""
    further_calls, well = 0, True

    def __init__(self, t):
        rng = t.rng
        self.redundancy, self.hot, self.paused = t.redundancy, rng.choice(HOT), rng.random() < 0.5
        self.calls = rng.randrange(20, 600)
        self.beside = rng.sample([t.kill_mount, t.kill_daemon, t.kill_job, t.kill_job, t.kill_sync, t.kill_scrub, t.sync_beside, t.scrub_beside, t.fill_one], rng.randrange(4))
        self.edits = rng.choice((0, 0, 1, 3))
        self.protect = rng.choice(("sync", "sync", "sync", "daemon", "nothing", "nothing"))
        self.lost = rng.randrange(1, t.redundancy + 1)
        self.how = rng.choice((t.unplug, t.unplug_killed, t.die, t.die_hard, t.detach))
        self.degraded_calls = rng.choice((0, 50, 200))
        self.degraded_beside = rng.sample([t.kill_mount, t.kill_daemon, t.kill_job, t.sync_beside, t.kill_sync], rng.randrange(3))
        self.degraded_sync = rng.random() < 0.6
        self.back = t.give_back
        self.then = rng.choice((None, None, None, "rot", "rot", "rebuild", "rebuild", "other_redundancy", "other_redundancy"))


class Quick:
    """Drives go before a sync has seen much, again and again; once in a while all is looked at."""
    edits, further_calls, then = 0, 0, None

    def __init__(self, t):
        rng = t.rng
        self.redundancy, self.hot, self.paused = t.redundancy, rng.choice(HOT), rng.random() < 0.5
        self.calls = rng.randrange(5, 120)
        self.beside = rng.sample([t.kill_mount, t.kill_daemon, t.kill_job, t.kill_sync, t.sync_beside], rng.choice((0, 0, 0, 1, 2)))
        self.protect = rng.choice(("sync", "nothing", "nothing", "nothing", "nothing"))
        self.lost = rng.randrange(1, t.redundancy + 1)
        self.how = rng.choice((t.unplug, t.unplug, t.unplug_killed, t.unplug_killed, t.detach))
        self.degraded_calls = rng.choice((0, 0, 30, 60))
        self.degraded_beside = []
        self.degraded_sync = rng.random() < 0.6
        self.back = rng.choice((t.give_back, t.give_back, t.back_one_by_one))
        self.well = rng.randrange(8) == 0


class OneByOne:
    """Much is done without the drives, which come back one by one, with the mount killed in between."""
    edits, protect, then, well = 0, "sync", None, True

    def __init__(self, t):
        rng = t.rng
        self.redundancy, self.hot, self.paused = rng.choice((1, 2, 2)), rng.choice(HOT), rng.random() < 0.5
        self.calls = rng.randrange(20, 150)
        self.beside = rng.sample([t.kill_mount, t.kill_mount, t.kill_daemon, t.fill_one], rng.randrange(3))
        self.lost = rng.randrange(1, self.redundancy + 1)
        self.how = rng.choice((t.unplug, t.unplug_killed, t.die, t.die_hard, t.detach))
        self.degraded_calls = rng.choice((30, 100, 200))
        self.degraded_beside = [t.kill_mount] * rng.randrange(1, 4) + [t.sync_beside] * rng.randrange(2)
        self.degraded_sync = rng.random() < 0.6
        self.further_calls = rng.choice((0, 60))
        self.back = t.back_one_by_one


class Way:
    def __init__(self, name, drives, plan, taste=Taste()):
        self.name, self.drives, self.plan, self.taste = name, drives, plan, taste


WAYS = (Way("everything", MIXED, Plan), Way("folders", FOLDERS, Quick), Way("one-by-one", MIXED, OneByOne), Way("names", MIXED, OneByOne, NAMES), Way("names-on-folders", FOLDERS, Quick, NAMES))
OFTEN = ("everything", "everything", "folders", "one-by-one", "names", "names-on-folders")


def a_way(rng):
    name = rng.choice(OFTEN)
    name = os.environ.get("MRMR_TORTURE_WAY") or name
    return next(way for way in WAYS if way.name == name)
