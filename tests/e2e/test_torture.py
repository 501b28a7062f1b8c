# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything at once, against a plain model (torture_model.py): a mount with its daemon, on four or five drives, is used by two changers, and two large files are
written to all the time (torture_hot.py); meanwhile processes are killed, drives fill, are edited, rot, are detached, die and come back, are rebuilt, and redundancy
goes up and down. Again and again the pool is asked what it claims as protected, as many drives are taken away as it may lose, and every byte that it claimed is
compared. Of what there is most each run draws (torture_ways.py).

What is held against it:
- a file that was said to survive N losses, with nothing exposed, is read to the byte with any N drives away, and so is each whose drive is there;
- what is not claimed and whose drive is away gives its bytes or an error, never others;
- with all drives there, every name and every byte is what the model says, after whatever happened;
- of a file that is written to all the time what is quiet stays protected, and what shares parity with it is as safe as it was said to be;
- once a sync is through while nobody writes, status, check and scrub find nothing; what rotted is found by scrub, and is right again after scrub --repair.
MRMR_TORTURE_SECONDS, MRMR_SEED, MRMR_TORTURE_WAY. What failed is told of with all that is known of the files in question (torture_facts.py). A seed gives the same plan and the same calls; when they meet is up to the machine."""
import contextlib
import os
import time

import pytest

from places import places
from torture_world import Torture

LONG = float(os.environ.get("MRMR_HOURS") or 0.5) * 3600
SECONDS = float(os.environ.get("MRMR_TORTURE_SECONDS") or (LONG if os.environ.get("MRMR_TORTURE_LONG") else 300))


@pytest.fixture(name="torture")
def make_torture(mrmr, tmp_path):
    seed = int(os.environ.get("MRMR_SEED") or time.time_ns() % 10**9)
    with places(mrmr, tmp_path) as place:
        torture = Torture(place, seed)
        yield torture
        for hot in torture.hot:
            hot.finish()
        for changer in torture.changers:
            changer.storing.end()


def some_calls(t, calls, beside):
    """The changers make so many each, and what else happens does so between them."""
    began = sum(changer.calls + changer.failed for changer in t.changers)
    deadline = time.monotonic() + 60
    for changer in t.changers:
        changer.start(calls, deadline)
    for i, what in enumerate(beside):
        while sum(changer.calls + changer.failed for changer in t.changers) - began < calls * len(t.changers) * (i + 1) // (len(beside) + 1) and any(
                changer.thread.is_alive() for changer in t.changers):
            time.sleep(0.002)
        t.note(what.__name__)
        what()
    for changer in t.changers:
        changer.end()
    for hot in t.hot:
        hot.check()


def protect(t, plan):
    """What is claimed then, and how many drives may go: those that were edited since a sync looked are losses, too."""
    if plan.edits:
        name = t.rng.choice(sorted(t.drives))
        t.note("%d edits on %s" % (plan.edits, name))
        t.edit(name, plan.edits)
    if plan.edits or plan.protect == "sync":
        t.sync((0, 3) if plan.hot == "goes on" else 0)
        t.synced()
        t.rest_of_hot_is_protected()
    elif plan.protect == "daemon":
        t.by_itself()
    t.note("protected by: %s" % ("sync" if plan.edits else plan.protect))
    claims = t.claims()
    if plan.edits or plan.protect != "nothing":
        t.hold_to(claims)
    return claims


def loss(t, plan, claims):
    names = t.rng.sample(sorted(t.drives), plan.lost)
    t.note("%s: %s" % (plan.how.__name__, names))
    if plan.how in (t.die, t.die_hard): # what is no file system of its own cannot die alone
        names = [name for name in names if t.drives[name].fs != "folder"]
    if plan.hot == "wakes":
        t.wake()
    t.lose(plan.how, names)
    t.compare_without(claims, plan.edits or plan.protect == "sync")
    if plan.degraded_calls:
        some_calls(t, plan.degraded_calls, plan.degraded_beside)
        further_loss(t, plan)
    t.note("back: %s" % sorted(t.away))
    plan.back()
    t.compare_all()


def further_loss(t, plan):
    """Without those that are away, what is claimed then survives so many more losses."""
    if len(t.away) >= t.redundancy:
        return
    if plan.degraded_sync:
        t.sync((0, 3))
    claims = t.claims()
    names = t.rng.sample(sorted(set(t.drives) - set(t.away)), t.redundancy - len(t.away))
    t.note("further: %s" % names)
    t.lose(t.unplug, names)
    t.compare_without(claims)
    if plan.further_calls:
        some_calls(t, plan.further_calls, [t.kill_mount])


def rot(t):
    """What rotted counts as one of the losses, until scrub has found it and made it right."""
    name = t.rng.choice(sorted(name for name, drive in t.drives.items() if drive.fs == "ext4"))
    t.all_is_well()
    claims, before = t.claims(), t.damages()
    path = t.rot(name)
    t.note("rot: %s" % path)
    if not path:
        return
    if t.redundancy > 1: # as it is, a rotten file is read as it is
        t.lose(t.unplug, t.rng.sample(sorted(set(t.drives) - {name}), t.redundancy - 1))
        t.compare_without([claim for claim in claims if not path.endswith("/" + claim.path)])
        t.give_back()
    t.command("scrub", code=(0, 3))
    there = os.path.exists(path) # else a sync has made another row, perhaps just before the scrub
    assert not there or t.damages() > before, "nobody found that %s is rotten" % path
    t.command("scrub", "--repair", code=(0, 3))
    t.all_is_well()
    t.compare_all()


def rebuild(t):
    name = t.rng.choice(sorted(t.drives))
    onto = t.rng.random() < 0.7
    t.note("rebuild %s%s" % (name, " onto another" if onto else ""))
    t.all_is_well()
    t.rebuild(name, onto)
    t.compare_all()
    t.on_the_drives()


def other_redundancy(t):
    """Up or down."""
    set_redundancy(t, t.rng.choice([n for n in (1, 2, 3) if n != t.redundancy]))


def set_redundancy(t, redundancy):
    t.redundancy = redundancy
    t.note("redundancy %d" % t.redundancy)
    t.command("set-redundancy", str(t.redundancy), code=(0, 3)) # what is written to meanwhile is left


THEN = {"rot": rot, "rebuild": rebuild, "other_redundancy": other_redundancy}


def batch(t):
    plan = t.way.plan(t)
    if plan.redundancy != t.redundancy:
        set_redundancy(t, plan.redundancy)
    some_calls(t, plan.calls, plan.beside)
    t.empty()
    t.compare_all()
    with t.resting() if plan.hot != "goes on" else contextlib.nullcontext():
        with t.worker_paused() if plan.paused and plan.protect != "daemon" else contextlib.nullcontext():
            loss(t, plan, protect(t, plan))
    with t.resting() if plan.then or plan.well else contextlib.nullcontext():
        if plan.then:
            THEN[plan.then](t)
        if plan.well:
            t.all_is_well()
            t.on_the_drives()


def test_torture(torture):
    end, batches = time.monotonic() + SECONDS, 0
    try:
        while time.monotonic() < end:
            torture.note("batch %d" % batches)
            batch(torture)
            batches += 1
    except Exception as error: # pylint: disable=broad-except; it is raised again
        torture.facts.tell(str(error))
        raise
    finally:
        counts, calls = torture.counts, sum(changer.calls for changer in torture.changers)
        print("torture: seed %d, %s, %d batches, %d operations and %d that failed while something was the matter, kills: %s, %d drive losses, %d rebuilt, "
              "%d times rot, %d edits, %d times a full drive, %d claims, %d bytes compared; of files that are written to all the time %d writes and %d that failed, %d times "
              "what is quiet of one was protected meanwhile, %d times one was compared without its drive" % (
                  torture.seed, torture.way.name, batches, calls, sum(changer.failed for changer in torture.changers), ", ".join("%s %d" % kind for kind in counts.kills.items()),
                  counts.losses, counts.rebuilt, counts.rotted, counts.edits, counts.filled, counts.claimed, counts.compared,
                  sum(hot.calls for hot in torture.hot), sum(hot.failed for hot in torture.hot), counts.beside, counts.rested))
    assert batches
