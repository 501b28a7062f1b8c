# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C, SIGTERM and SIGHUP anywhere, and two commands at once."""
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from some import rounds, some
from test_bad_world import fill, make_pool, seed_of

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def interrupt(pool, rng, longest, *args, over=None):
    """Run a command and signal it at a random moment of its life. True if it was cut short. over: what the command says when the
    run before was cut short after all was done."""
    number = rng.choice(SIGNALS)
    process = pool.start(*args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        process.wait(rng.uniform(0, longest))
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    text = process.communicate(timeout=60)[0].decode(errors="replace")
    if over and process.returncode == 1 and over in text:
        return False
    # Before there is anything to go on with, the signal ends the process as it ends any other.
    assert process.returncode in (0, 3, 128 + number, -number), "%r gave %d:\n%s" % (args, process.returncode, text)
    if process.returncode == 128 + number:
        assert "interrupted" in text and "goes on from there" in text and "with: mrmr " in text, text
    return process.returncode not in (0, 3)


def time_of(pool, *args, code=0):
    start = time.monotonic()
    pool.run(*args, code=code)
    return time.monotonic() - start


def test_first_sync_interrupted_again_and_again(tmp_path):
    """What was done is kept: protection never goes down, and the last run ends it."""
    rng = seed_of("signals in the first sync")
    pool, _ = make_pool(tmp_path, drives=4, files=1, rng=rng)
    contents, times, cut, protected = {}, rounds(6, 10), 0, 0
    for round in range(times):
        for name in ("d1", "d2", "d3"):
            contents.update(fill(pool.drives[name], "%s/round %d" % (name, round), rng, files=4, most=2_000_000))
        cut += interrupt(pool, rng, 0.25 if cut else 0.05, "sync")
        status = pool.status()
        now = status["file_size"] - status["exposed_size"]
        assert now >= protected, "less is protected than before"
        protected = now
        if round % 3 == 2:
            pool.deep()
    print("%d of %d were cut short" % (cut, times))
    assert cut, "nothing was interrupted"
    before = pool.record()
    pool.well()
    pool.unchanged(before)
    pool.readable_without(contents, "d2", every=5)


def test_scrub_interrupted(tmp_path):
    rng = seed_of("signals in scrub")
    pool, contents = make_pool(tmp_path, drives=4, redundancy=2, files=12, most=2_000_000, rng=rng)
    whole, cut, times = time_of(pool, "scrub"), 0, rounds(4, 8)
    for round in range(times):
        row = rng.choice(sorted(p for root in pool.drives.values() for p in root.glob(".mrmr/parity/*/*-g*")))
        with open(row, "r+b") as f:
            f.seek(rng.randrange(100))
            f.write(b"rot")
        cut += interrupt(pool, rng, whole, "scrub", "--repair")
        pool.run("status", code=(0, 3))
    pool.run("scrub", "--repair", code=(0, 3))
    pool.run("scrub")
    pool.well()
    print("%d of %d were cut short" % (cut, times))
    assert cut, "nothing was interrupted"


def test_rebuild_interrupted(tmp_path):
    rng = seed_of("signals in rebuild")
    pool, contents = make_pool(tmp_path, drives=4, redundancy=2, files=14, most=1_500_000, rng=rng)
    before = pool.record()
    for name in ("d1", "d3"):
        shutil.rmtree(pool.drives[name])
    pool.add("fresh")
    cut = 0
    for round in range(12):
        if not interrupt(pool, rng, 0.4 if cut else 0.03, "rebuild", "d1", "--onto", "fresh",
                         over="mrmr rebuild fresh" if cut else None):
            break
        cut += 1
        pool.run("status", code=3)
        for path in rng.sample(sorted(p for p in contents if p[:2] in ("d1", "d3")), 3):
            assert pool.cat(path, code=(0, 3)) == contents[path], path
    else:
        pool.run("rebuild", "d1", "--onto", "fresh", code=(0, 3))
    assert set(pool.presence()) == {"fresh", "d2", "d3", "d4"}
    print("cut short %d times" % cut)
    assert cut, "nothing was interrupted"
    pool.add("fresh2")
    pool.run("rebuild", "d3", "--onto", "fresh2", code=(0, 3))
    pool.drives["d1"], pool.drives["d3"] = pool.drives.pop("fresh"), pool.drives.pop("fresh2")
    pool.unchanged(before)
    pool.well()


def test_redundancy_interrupted(tmp_path):
    rng = seed_of("signals in set-redundancy")
    pool, contents = make_pool(tmp_path, drives=5, files=12, most=2_000_000, rng=rng)
    whole, cut, wanted, times = time_of(pool, "set-redundancy", 2), 0, 2, rounds(4, 8)
    for round in range(times):
        wanted = rng.choice([n for n in (1, 2, 3) if n != wanted])
        cut += interrupt(pool, rng, whole, "set-redundancy", wanted)
        pool.run("status", code=(0, 3))
        pool.readable_without(contents, rng.choice(sorted(pool.drives)), every=9)
    pool.run("set-redundancy", 3)
    assert pool.status()["redundancy"] == 3
    pool.well()
    pool.readable_without(contents, "d1", "d2", "d3", every=6)
    print("%d of %d were cut short" % (cut, times))
    assert cut, "nothing was interrupted"


def frozen(pool, *args):
    """The command, stopped while it owns the pool."""
    lock = pool.dir / "lock"
    for _ in range(20):
        process = pool.start(*args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None:
            if lock.exists() and lock.read_text().startswith("%d " % process.pid):
                process.send_signal(signal.SIGSTOP)
                if "State:\tT" in open("/proc/%d/status" % process.pid).read() or process.poll() is None:
                    # In the middle of opening the catalog it would keep everyone out: that is not meant here.
                    if pool.run("get", code=None).code == 0:
                        return process
                    process.send_signal(signal.SIGCONT)
                    break
        process.communicate()
    raise AssertionError("it was always through before it could be stopped")


@pytest.mark.parametrize("second", some([["sync"], ["scrub"], ["rebuild", "d1"], ["set-redundancy", "1"], ["set", "hold-percent", "40"],
                                         ["check"], ["init"]], 2))
def test_two_commands_at_once(tmp_path, second):
    """The second is told who has the pool, changes nothing, and can be run when the first is through; looking is always possible."""
    pool, contents = make_pool(tmp_path, drives=3, files=4, most=100_000)
    path = sorted(contents)[0]
    contents.update(fill(pool.drives["d1"], "d1/new", random.Random(3), files=8))
    first = frozen(pool, "sync")
    try:
        done = pool.run(*second, code=1, timeout=20)
        done.says(pool.dir, "in use by 'mrmr sync'", "process %d" % first.pid, "wait until it has ended")
        for look in (["status"], ["drives"], ["ls"], ["where", path], ["events"], ["get"]):
            pool.run(*look, code=(0, 3), timeout=20)
        assert pool.cat(path) == contents[path]
        assert pool.run("get", "hold-percent").out.strip() == b"30"
    finally:
        first.send_signal(signal.SIGCONT)
        first.communicate(timeout=60)
    assert first.returncode == 0
    if second != ["init"]:
        pool.run(*second, code=(0, 3))
    pool.well()
    pool.readable_without(contents, "d1")


def test_lock_of_a_killed_command_is_no_lock(tmp_path):
    pool, contents = make_pool(tmp_path, drives=3, files=4)
    first = frozen(pool, "sync")
    first.kill()
    first.communicate()
    pool.well()


def test_interrupted_while_another_waits(tmp_path):
    """A reader of many files while sync after sync changes generations under it: every byte right, or a clear refusal."""
    rng = seed_of("reader beside writers")
    pool, contents = make_pool(tmp_path, drives=4, files=8, rng=rng)
    away = "d3"
    paths = sorted(p for p in contents if p.startswith(away))
    os.rename(pool.drives[away], str(pool.drives[away]) + ".away")
    try:
        for round in range(rounds(3, 6)):
            root = pool.drives["d%d" % rng.choice([1, 2, 4])]
            fill(root, "%s/more %d" % (root.name, round), rng, files=2, most=500_000)
            writer = pool.start("sync", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for path in paths:
                assert pool.cat(path, code=(0, 3)) == contents[path], path
            assert writer.wait(60) in (0, 3)
    finally:
        os.rename(str(pool.drives[away]) + ".away", pool.drives[away])
    pool.well()
