# SPDX-License-Identifier: GPL-3.0-or-later
"""What the daemon does by itself."""
import contextlib
import datetime
import os
import select
import signal
import sqlite3
import struct
import subprocess
import time

import pytest

from daemons import DRIVES, Daemon, asked_to_end, make_daemon, none_is_left, put, safe, stand_still # noqa: F401: fixtures
from mounts import mounts, need_fuse, until


def retained(mrmr):
    """Files and leaves that are kept, on all drives."""
    found = []
    for name in DRIVES:
        for folder, _, files in os.walk(mrmr.drive(name) / ".mrmr/retained"):
            found += [os.path.join(folder, file) for file in files]
    return found


# --- room ---


def test_old_bytes_are_let_go_of_while_it_rests(mrmr, daemon):
    """Paused, or in the quiet hours: what is deleted through a mount is released, and nothing new is protected; status does not say that this rests."""
    need_fuse()
    mrmr.run("set", "settle", "1")
    with mounts(mrmr, mrmr.folder) as mount:
        point = mount("m").point
        for key, value, file in (("worker", "paused", "file 0.bin"), ("quiet-hours", "00:00-23:59", "file 1.bin")):
            mrmr.run("set", "worker", "running")
            mrmr.run("set", key, value)
            (point / "new").write_bytes(os.urandom(100_000))
            os.unlink(point / "of-red" / file)
            assert retained(mrmr)
            until(lambda: not retained(mrmr))
            assert not safe(mrmr, "new")
            said = mrmr.json("status", code=None)["daemon"]
            assert said["does"] in ("", "release") and said["rests"]
            mrmr.run("set", "worker", "running")


def released(mrmr):
    """How many releases have begun."""
    with contextlib.suppress(FileNotFoundError):
        return struct.unpack_from("=Q", (mrmr.dir / "released").read_bytes())[0]
    return 0


def change(mrmr, daemon, point, size):
    """By which nothing is kept; the daemon has been told, and done what it does about it."""
    told = (mrmr.dir / "changed").stat().st_mtime_ns
    (point / "new").write_bytes(os.urandom(size))
    until(lambda: (mrmr.dir / "changed").stat().st_mtime_ns > told)
    mrmr.run("status", code=None) # the daemon has had its turn
    until(lambda: not daemon.children())


def test_nothing_to_let_go_of(mrmr, daemon):
    """A release has let go of all: what is made, or written to while nothing counts on it, asks for no other one, and what is deleted does."""
    need_fuse()
    mrmr.run("set", "settle", "0")
    with mounts(mrmr, mrmr.folder) as mount:
        point = mount("m").point
        mrmr.run("set", "worker", "paused")
        os.unlink(point / "of-red" / "file 0.bin")
        until(lambda: not retained(mrmr) and not daemon.children())
        change(mrmr, daemon, point, 100_000) # the daemon may have been told of the last one while it was at it
        before = released(mrmr)
        assert before
        change(mrmr, daemon, point, 200_000)
        change(mrmr, daemon, point, 300_000)
        assert released(mrmr) == before
        with open(point / "of-red" / "file 1.bin", "r+b") as file:
            file.write(b"other")
        until(lambda: released(mrmr) == before + 1 and not retained(mrmr))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_a_mount_leaves_behind(mrmr, daemon, end):
    """What was deleted a moment before it ended is let go of while the daemon rests, though nothing was kept before that."""
    need_fuse()
    mrmr.run("set", "settle", "0")
    mrmr.run("set", "worker", "paused")
    with mounts(mrmr, mrmr.folder) as mount:
        one = mount("m")
        os.unlink(one.point / "of-red" / "file 0.bin")
        until(lambda: released(mrmr) and not retained(mrmr) and not daemon.children())
        os.unlink(one.point / "of-red" / "file 1.bin")
        getattr(one, end)()
        if end == "kill": # else it says so itself
            subprocess.run(["umount", "-l", one.point], capture_output=True)
        until(lambda: not retained(mrmr))
    with mounts(mrmr, mrmr.folder) as mount: # and what the next one finds, of whom nobody was told
        os.unlink(mount("m").point / "of-red" / "file 2.bin")
        until(lambda: not retained(mrmr))


def test_what_a_release_could_not_look_at(mrmr, daemon):
    """On a drive that is away: it is let go of when that is back, though nobody says that anything is kept."""
    need_fuse()
    mrmr.run("set", "settle", "86400")
    mrmr.run("set", "worker", "paused")
    with mounts(mrmr, mrmr.folder) as mount:
        os.unlink(mount("m").point / "of-red" / "file 0.bin")
    red, away = mrmr.drive("red"), mrmr.folder / "away"
    os.rename(red, away)
    before = released(mrmr)
    mrmr.run("set", "settle", "0")
    until(lambda: released(mrmr) > before and not daemon.children())
    until(daemon.hearing)
    os.rename(away, red)
    assert retained(mrmr)
    until(lambda: not retained(mrmr))


def test_what_no_release_can_look_at(mrmr, daemon):
    """On a drive that is away for good: not after each change it is tried again, but after twice as long each time."""
    need_fuse()
    mrmr.run("set", "worker", "paused")
    os.rename(mrmr.drive("red"), mrmr.folder / "away")
    mrmr.run("set", "settle", "0")
    with mounts(mrmr, mrmr.folder) as mount:
        point = mount("m").point
        (point / "new").write_bytes(b"first")
        until(lambda: released(mrmr) and (mrmr.dir / "changed").exists())
        began = time.monotonic()
        change(mrmr, daemon, point, 100_000) # the daemon may have been told of the mount's begin while it was at it
        before = released(mrmr)
        for size in (200_000, 300_000, 400_000):
            change(mrmr, daemon, point, size)
        assert 10 * (2 ** (released(mrmr) - before) - 1) <= time.monotonic() - began


def short(mrmr):
    """As the mount says that somebody waits for room."""
    (mrmr.dir / "short").touch()


def test_who_is_short_of_room_does_not_wait_for_what_it_is_at(mrmr, daemon):
    """A sync of its own stops for a release, and goes on after it."""
    mrmr.run("set", "settle", "0")
    daemon.stop()
    put(mrmr, "blue", "new", 40_000_000)
    daemon = Daemon(mrmr)
    pid = daemon.runs("sync")
    stand_still(pid)
    short(mrmr)
    until(lambda: asked_to_end(pid))
    os.kill(pid, signal.SIGCONT)
    until(lambda: safe(mrmr, "new"))


def test_what_is_new_does_not_wait_for_a_scrub(mrmr, daemon):
    """A scrub, which takes hours, goes on the next time; a sync comes before it once something was changed and has been quiet."""
    need_fuse()
    mrmr.run("set", "settle", "0")
    with mounts(mrmr, mrmr.folder) as mount:
        point = mount("m").point
        pid = daemon.runs("scrub")
        stand_still(pid)
        (point / "new").write_bytes(os.urandom(100_000))
        until(lambda: asked_to_end(pid))
        os.kill(pid, signal.SIGCONT)
        until(lambda: safe(mrmr, "new"))


def test_a_scrub_that_gives_way_goes_on(mrmr):
    """With what is left of its part, and not with a part more."""
    for name in DRIVES:
        mrmr.fill(name, files=3, size=3_000_000)
        mrmr.run("add-drive", mrmr.drive(name))
    for key, value in (("block-size", "1M"), ("settle", "0"), ("scrub-interval", "2d"), ("worker-rate", "4M")):
        mrmr.run("set", key, value)
    mrmr.run("sync")
    all_stripes = mrmr.json("status")["stripes"]
    part = -(-all_stripes * 51 // 100)
    assert part >= 5, all_stripes

    def scrubbed():
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % (mrmr.dir / "catalog.sqlite"), uri=True)) as catalog:
            return catalog.execute("SELECT count(*) FROM stripe WHERE scrubbed > 0").fetchone()[0]
    daemon = Daemon(mrmr)
    pid = daemon.runs("scrub")
    until(scrubbed)
    mrmr.run("set", "worker-rate", "0") # whoever asks for something stops it
    assert pid not in daemon.children()
    again = until(lambda: [words for words in daemon.children().values() if "scrub" in words])[0]
    assert 1 <= int(again[again.index("--done") + 1]) < part, again
    done = until(lambda: [event for event in mrmr.json("events")["events"] if event["kind"] == "scrub-done"])
    assert scrubbed() == part
    assert "piece" in str(done[0]) # its figures are of that
    assert not [line for line in daemon.log.read_text().splitlines() if "stripes" in line]


def test_who_is_short_of_room_again_and_again(mrmr, daemon):
    """A sync that was stopped for that once has a minute the next time."""
    mrmr.run("set", "settle", "0")
    daemon.stop()
    put(mrmr, "blue", "new", 40_000_000)
    daemon = Daemon(mrmr)
    first = daemon.runs("sync")
    stand_still(first)
    short(mrmr)
    until(lambda: asked_to_end(first))
    os.kill(first, signal.SIGCONT)
    second = until(lambda: [pid for pid, words in daemon.children().items() if pid != first and "sync" in words and "--release" not in words])[0]
    stand_still(second)
    short(mrmr)
    mrmr.run("status", code=None) # the daemon has answered, and has had its turn
    assert not asked_to_end(second)
    os.kill(second, signal.SIGCONT)
    until(lambda: safe(mrmr, "new"))


def test_who_is_short_of_room_while_it_rests(mrmr, daemon):
    """What is kept is let go of at once: no settle passes."""
    need_fuse()
    mrmr.run("set", "settle", "86400")
    mrmr.run("set", "worker", "paused")
    with mounts(mrmr, mrmr.folder) as mount:
        point = mount("m").point
        for name in ("file 0.bin", "file 1.bin"): # each time anew
            os.unlink(point / "of-red" / name)
            until(lambda: not daemon.children())
            assert retained(mrmr)
            short(mrmr)
            until(lambda: not retained(mrmr))


def told_of_exposed(mrmr, clock):
    """By daemons of a day later, one after another: how often."""
    def told():
        return [event for event in mrmr.json("events")["events"] if event["kind"] == "exposed-long" and event["warning"]]
    clock(25 * 3600)
    for _ in range(2):
        daemon = Daemon(mrmr, **clock.env)
        until(told)
        daemon.stop()
    return len(told())


def test_exposed_for_too_long(mrmr, daemon, clock):
    """An event, once, and also while it is paused; status tells how much, and since when."""
    mrmr.run("set", "worker", "paused")
    put(mrmr, "red", "new")
    mrmr.run("sync", "--settle", "1h", code=None)
    daemon.stop()
    assert told_of_exposed(mrmr, clock) == 1
    status = mrmr.json("status", code=3)
    assert status["exposed_files"] == 1 and status["exposed_size"] == 300_000 and status["exposed_since"]
    assert status["changed_files"] == 0 and status["changed_since"] is None


def test_exposed_for_too_long_and_no_scan_has_seen_it(mrmr, daemon, clock):
    """What was written through the mount, and nobody has looked at since: the same; what was removed is no such thing."""
    need_fuse()
    mrmr.run("set", "worker", "paused")
    begun = int(time.time())
    with mounts(mrmr, mrmr.folder) as mount:
        point = mount("m").point
        os.unlink(point / "of-red/file 0.bin")
        status = mrmr.json("status", code=None)
        assert status["changed_files"] == 0 and status["changed_since"] is None
        (point / "new").write_bytes(b"new" * 100_000)
        status = mrmr.json("status", code=3)
        assert status["changed_files"] == 1 and status["exposed_files"] == 0 and status["exposed_since"] is None
        since = datetime.datetime.fromisoformat(status["changed_since"].replace("Z", "+00:00")).timestamp()
        assert begun <= since <= time.time()
        said = next(line for line in status["needs_look"] if line.startswith("1 file was changed, made or removed"))
        assert ", the first " in said and said.endswith("; the daemon rests; next: mrmr sync")
    daemon.stop()
    assert told_of_exposed(mrmr, clock) == 1
    mrmr.run("sync")
    assert mrmr.json("status")["changed_since"] is None


def test_status_says_who_protects(mrmr, daemon):
    """What is exposed, and what survives too little: the daemon, unless it rests, or there is none."""
    def said():
        lines = [line for line in mrmr.json("status", code=3)["needs_look"] if "1 file is exposed" in line or "fewer than 2 further losses" in line]
        assert len(lines) == 2 and len({line.split("; ", 1)[1] for line in lines}) == 1, lines
        return lines[0]
    mrmr.run("set", "settle", "1d")
    put(mrmr, "red", "new")
    mrmr.run("sync", "--settle", "1h", code=None)
    mrmr.run("set", "redundancy", "2")
    until(lambda: said().endswith("; the daemon sees to that once it has been quiet (mrmr get settle); at once: mrmr sync"))
    mrmr.run("set", "worker", "paused")
    until(lambda: said().endswith("; the daemon rests; next: mrmr sync"))
    daemon.stop()
    assert said().endswith("; next: mrmr sync") and "daemon" not in said()


# --- how it works ---


@pytest.fixture(name="clock")
def make_clock(tmp_path):
    """Of a daemon, and all that it runs by itself: sets how many seconds it is ahead."""
    library = os.environ["MRMR_OTHER_CLOCK"]
    if not os.path.exists(library):
        pytest.skip("not on this system: under a sanitizer, whose own library has to be loaded before all else")
    def setter(file):
        def ahead(seconds):
            fresh = file.with_suffix(".new")
            fresh.write_text("%d" % seconds)
            fresh.rename(file)
        ahead(0)
        return ahead
    ahead = setter(tmp_path / "ahead")
    ahead.slept = setter(tmp_path / "slept") # the one that goes on while the computer sleeps
    ahead.env = {"LD_PRELOAD": library, "CLOCK_AHEAD": os.fspath(tmp_path / "ahead"), "CLOCK_SLEPT": os.fspath(tmp_path / "slept")}
    return ahead


def to_hour(hour):
    """So many seconds from now on it is half past that, UTC."""
    now = time.gmtime()
    return (hour - now.tm_hour) * 3600 + (30 - now.tm_min) * 60


def test_the_quiet_hours_begin(mrmr, daemon, clock):
    """What it is at ends, and is not begun again; when they end it goes on."""
    mrmr.run("set", "settle", "0")
    mrmr.run("set", "quiet-hours", "03:00-04:00")
    daemon.stop()
    put(mrmr, "blue", "new", 40_000_000)
    clock(to_hour(12))
    daemon = Daemon(mrmr, **clock.env)
    pid = daemon.runs("sync")
    stand_still(pid)
    clock(to_hour(3))
    until(lambda: mrmr.json("status", code=None) and asked_to_end(pid))
    os.kill(pid, signal.SIGCONT)
    until(lambda: pid not in daemon.children())
    until(lambda: "quiet hours" in mrmr.json("status", code=None)["daemon"]["rests"])
    assert not any("sync" in words and "--release" not in words for words in daemon.children().values()) # which does not rest
    clock(to_hour(5))
    until(lambda: mrmr.json("status", code=None) and safe(mrmr, "new"))


def test_a_clock_that_jumps_back(mrmr, daemon, clock):
    """While it runs, and forth again; and files of a time to come, or long ago. All of it is protected, after settle."""
    mrmr.run("set", "settle", "1")
    daemon.stop()
    daemon = Daemon(mrmr, **clock.env)
    until(lambda: not mrmr.json("status", code=None)["daemon"]["does"])
    clock(-400 * 86400)
    for name, ahead in (("now", 0), ("to come", 800), ("long ago", -8000)):
        put(mrmr, "red", name)
        when = time.time() + ahead * 86400
        os.utime(mrmr.drive("red") / name, (when, when))
    (mrmr.dir / "changed").touch() # as a mount tells
    until(lambda: all(safe(mrmr, name) for name in ("now", "to come", "long ago")))
    clock(0)
    put(mrmr, "red", "after")
    (mrmr.dir / "changed").touch()
    until(lambda: safe(mrmr, "after"))


def test_the_computer_sleeps(mrmr, daemon, clock):
    """For a day: the next scrub is due, though little of that passed by the clock that stands still meanwhile."""
    def scrubs():
        return sum(event["kind"] == "scrub-done" for event in mrmr.json("events", "--last", "0")["events"])
    until(scrubs)
    daemon.stop()
    before = scrubs()
    daemon = Daemon(mrmr, **clock.env)
    until(lambda: not mrmr.json("status", code=None)["daemon"]["does"] and not daemon.children())
    assert scrubs() == before
    clock.slept(25 * 3600)
    until(lambda: mrmr.json("status", code=None) and scrubs() > before) # whoever asks wakes it, as it wakes by itself within a minute


def priorities(pid):
    """nice, and the class and level of the disk's, as the kernel has them."""
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
        nice = int(file.read().rsplit(")", 1)[1].split()[16])
    said = subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return nice, said.strip()


def test_it_gives_way(mrmr, daemon):
    """What it does by itself has low priority on CPU and disks, what somebody asks for has not."""
    mrmr.run("set", "settle", "0")
    daemon.stop()
    put(mrmr, "blue", "new", 40_000_000)
    daemon = Daemon(mrmr)
    pid = daemon.runs("sync")
    here = os.getpriority(os.PRIO_PROCESS, 0)
    stand_still(pid)
    until(lambda: priorities(pid)[1].startswith("best-effort") or os.kill(pid, signal.SIGCONT))
    nice, disk = priorities(pid)
    assert nice == max(here, 10), nice
    assert disk == "best-effort: prio 7", disk
    os.kill(pid, signal.SIGCONT)


def test_no_faster_than_it_may(mrmr):
    """In the background alone; and whoever comes does not wait for that."""
    mrmr.build(DRIVES)
    mrmr.run("set", "worker-rate", "4M")
    put(mrmr, "red", "one", 12_000_000)
    begun = time.monotonic()
    mrmr.run("sync", "--background")
    assert time.monotonic() - begun > 2.5 # 12 MB are read, to find it, or at least for parity
    put(mrmr, "red", "two", 120_000_000)
    mrmr.run("set", "worker-rate", "1M")
    slow = mrmr.start("sync", "--background", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([slow.stderr], [], [], 30)
    begun = time.monotonic()
    slow.terminate()
    slow.communicate(timeout=60)
    assert slow.returncode == 143 and time.monotonic() - begun < 30 # of two minutes
    mrmr.run("sync")
    assert safe(mrmr, "two")


def peak(pid):
    """The most memory that the process ever had, bytes; 0: it is over."""
    with contextlib.suppress(OSError), open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def test_the_memory_it_takes(mrmr):
    """What the man page states, `memory` and 24 MiB, whatever it protects and scrubs: many small files, and one that is larger than that."""
    if not os.path.exists(os.environ["MRMR_OTHER_CLOCK"]):
        pytest.skip("under a sanitizer, which takes memory of its own")
    memory = 32 << 20
    for name in DRIVES:
        mrmr.fill(name, files=1000, size=3000)
        mrmr.run("add-drive", mrmr.drive(name))
    put(mrmr, "red", "large", 160 << 20) # whose stripes have another shape
    mrmr.run("set", "memory", str(memory))
    mrmr.run("set", "settle", "0")
    daemon, peaks = Daemon(mrmr), {}

    def is_done():
        for pid, words in {daemon.process.pid: ["daemon"], **daemon.children()}.items():
            does = next(word for word in ("scrub", "sync", "daemon", words[0]) if word in words)
            while (most := peak(pid)) > peaks.get(does, 0) or (does != "daemon" and most):
                peaks[does] = max(most, peaks.get(does, 0))
                time.sleep(0.002)
        return safe(mrmr, "large") and [event for event in mrmr.json("events")["events"] if event["kind"] == "scrub-done"]
    until(is_done, 120)
    assert mrmr.json("status")["exposed_size"] == 0
    print("peak, MiB: " + ", ".join("%s %d" % (does, most >> 20) for does, most in sorted(peaks.items())))
    assert {"daemon", "sync", "scrub"} <= set(peaks)
    assert memory / 2 < peaks["sync"] and max(peaks.values()) <= memory + (24 << 20)


def test_a_change_while_it_is_at_work(mrmr, daemon):
    """Behind its scan: it is not forgotten when the sync ends."""
    mrmr.run("set", "settle", "0")
    mrmr.run("set", "worker-rate", "20M")
    daemon.stop()
    put(mrmr, "blue", "new", 20_000_000)
    daemon = Daemon(mrmr)
    until(lambda: mrmr.json("status", code=None)["exposed_files"]) # it is past its scan
    put(mrmr, "red", "late")
    (mrmr.dir / "changed").touch() # as a mount tells
    pid = daemon.runs("sync")
    until(lambda: pid not in daemon.children())
    until(lambda: safe(mrmr, "late"))
