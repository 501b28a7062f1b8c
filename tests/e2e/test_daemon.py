# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon: what it protects by itself, and commands that it runs for others."""
import contextlib
import os
import re
import resource
import select
import shutil
import signal
import stat
import subprocess

import pytest

from conftest import Command
from daemons import DRIVES, Daemon, asked_to_end, held, make_daemon, none_is_left, put, safe, stand_still # noqa: F401: fixtures
from mounts import mounts, need_fuse, until

# --- by itself ---


def test_what_is_new_is_protected(mrmr, daemon):
    """Through a mount: once it has been quiet for so long, and not before."""
    need_fuse()
    mrmr.run("set", "settle", "2")
    with mounts(mrmr, mrmr.folder) as mount:
        point = mount("m").point
        (point / "new").write_bytes(b"new" * 100_000)
        until(lambda: safe(mrmr, "new"))
        (point / "new").write_bytes(b"other" * 100_000)
        os.unlink(point / "of-red/file 0.bin")
        assert not safe(mrmr, "new")
        until(lambda: safe(mrmr, "new"))
        until(lambda: not any((mrmr.drive(name) / ".mrmr/retained/files").exists() and os.listdir(mrmr.drive(name) / ".mrmr/retained/files")
                              for name in DRIVES))


def test_what_is_new_on_a_drive_is_protected(mrmr, daemon):
    """At the start of a daemon, and where nobody tells of it as often as is asked for."""
    daemon.stop()
    mrmr.run("set", "settle", "0")
    put(mrmr, "red", "new")
    daemon = Daemon(mrmr)
    try:
        until(lambda: safe(mrmr, "new"))
    finally:
        daemon.stop()


def test_paused(mrmr, daemon):
    """Nothing is protected, and status says why; then it is."""
    mrmr.run("set", "settle", "0")
    mrmr.run("set", "worker", "paused")
    daemon.stop()
    put(mrmr, "green", "new")
    daemon = Daemon(mrmr)
    try:
        until(lambda: "paused" in mrmr.run("status", code=None).stdout)
        assert not any("sync" in words for words in daemon.children().values())
        assert not safe(mrmr, "new")
        mrmr.run("set", "worker", "running")
        until(lambda: safe(mrmr, "new"))
    finally:
        daemon.stop()


def test_what_it_is_at_gives_way(mrmr, daemon):
    """To whoever asks for something; and then it goes on."""
    mrmr.run("set", "settle", "0")
    daemon.stop()
    put(mrmr, "blue", "new", 40_000_000)
    daemon = Daemon(mrmr)
    try:
        pid = daemon.runs("sync")
        stand_still(pid)
        client = mrmr.start("set", "memory", "200M")
        until(lambda: asked_to_end(pid))
        os.kill(pid, signal.SIGCONT)
        assert client.wait(60) == 0
        until(lambda: safe(mrmr, "new"))
    finally:
        daemon.stop()


@pytest.mark.parametrize("key,value,says", [
    ("worker", "off", "paused"), ("quiet-hours", "25:00-26:00", "18:00"), ("quiet-hours", "18:00", "18:00"), ("scan-interval", "1s", "1h"),
    ("scrub-interval", "1h", "30d"), ("settle", "never", "settle")])
def test_settings_that_make_no_sense(mrmr, key, value, says):
    mrmr.run("init")
    told = mrmr.run("set", key, value, code=1).stderr
    assert key in told and value in told and says in told
    mrmr.run("set", "quiet-hours", "22:00-06:30")
    mrmr.run("set", "quiet-hours", "")


def test_events_are_told(mrmr, daemon, tmp_path):
    """The program of on-event runs for each event from now on, whoever caused it, in their order."""
    said, program = tmp_path / "said", tmp_path / "program"
    program.write_text("#!/bin/sh\necho \"$MRMR_EVENT $MRMR_POOL\" >>%s\n" % said)
    program.chmod(0o755)
    mrmr.run("set", "on-event", program)
    until(lambda: mrmr.run("get", "on-event").stdout.strip() == os.fspath(program))
    mrmr.run("scrub")
    until(lambda: said.exists() and "scrub-done %s" % mrmr.dir in said.read_text().splitlines())
    shutil.rmtree(mrmr.drive("blue"))
    mrmr.run("sync", code=None)
    until(lambda: any(line.startswith("drive-lost") for line in said.read_text().splitlines()))
    assert not any(line.startswith("drive-added") for line in said.read_text().splitlines()) # before it was there


# --- for others ---


def test_the_same_words_and_codes(mrmr, tmp_path):
    """With a daemon and without one, in two pools that are alike."""
    other = Command(tmp_path / "other")
    os.makedirs(other.folder / "drives")
    said = []
    for each in (mrmr, other):
        each.build(DRIVES)
        each.run("set", "worker", "paused")
        each.run("set", "settle", "0")
    daemon = Daemon(mrmr)
    try:
        for each in (mrmr, other):
            each.fill("red", seed=5)
            words = []
            for args in (("sync", "--json"), ("sync",), ("scrub",), ("scrub", "--percent", "200"), ("rebuild", "nothing"), ("set", "nothing", "1"),
                         ("get", "memory"), ("set-redundancy", "9"), ("check",), ("sync", "too much"), ("add-drive", "no/such/place")):
                done = each.run(*args, code=None)
                words.append((args, done.returncode, done.stdout, re.sub(r"mrmr: \w+: .*\d.*\n", "", done.stderr).replace(os.fspath(each.folder), "")))
            said.append(words)
    finally:
        daemon.stop()
    for with_daemon, without in zip(*said):
        assert with_daemon == without


def test_two_at_once(mrmr, daemon):
    """The second waits for the first, and says for what; what only looks does not wait."""
    first, pid = held(daemon, "scrub", "scrub")
    second = mrmr.start("set", "memory", "100M", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert select.select([second.stderr], [], [], 60)[0]
    said = second.stderr.readline().decode()
    assert "scrub" in said and str(pid) in said
    assert "scrub" in mrmr.run("status", code=None).stdout
    assert second.poll() is None
    os.kill(pid, signal.SIGCONT)
    assert first.wait(60) == 0 and second.wait(60) == 0
    assert mrmr.run("get", "memory").stdout.strip() == "104857600"
    for each in (first, second):
        each.communicate()


def test_how_far_it_is(mrmr, daemon):
    """Status tells of what somebody asked for, too, with its rate and the time left, whatever he wants to see of it himself."""
    mrmr.run("set", "worker", "paused")
    mrmr.run("set", "worker-rate", "4M")
    mrmr.run("set", "block-size", "1M") # how far it is is known by stripes
    put(mrmr, "red", "new", 100_000_000)
    client = mrmr.start("sync", "--quiet", "--background", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until(lambda: re.match(r"protect: \d+%, .* of .*, .*/s, ETA \d", mrmr.json("status", code=None)["daemon"]["progress"]))
        state = mrmr.json("status", code=None)["daemon"]
        assert state["does"] == "sync" and state["progress"].startswith("protect: ")
        assert "at work: protect: " in mrmr.run("status", code=None).stdout
    finally:
        client.send_signal(signal.SIGINT)
        said = client.communicate(timeout=60)
    assert client.returncode == 130 and b"protect" not in said[0] + said[1].split(b"interrupted")[0]
    until(lambda: mrmr.json("status", code=None)["daemon"]["progress"] == "")


def test_who_asked_goes_away(mrmr, daemon):
    """What he asked for is done all the same."""
    mrmr.run("set", "worker", "paused")
    put(mrmr, "red", "new")
    client, pid = held(daemon, "sync", "sync")
    client.kill()
    client.wait(60)
    os.kill(pid, signal.SIGCONT)
    client.communicate() # the command has its output still
    until(lambda: safe(mrmr, "new"))
    until(lambda: pid not in daemon.children())


def test_interrupted(mrmr, daemon):
    """As if it were here: it ends, and the code says so, if it was not through."""
    client, pid = held(daemon, "scrub", "scrub")
    client.send_signal(signal.SIGINT)
    os.kill(pid, signal.SIGCONT)
    client.communicate()
    assert client.returncode in (0, 130)


def test_interrupted_while_it_waits(mrmr, daemon):
    first, pid = held(daemon, "scrub", "scrub")
    second = mrmr.start("set", "memory", "100M", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    second.stderr.readline()
    second.send_signal(signal.SIGINT)
    second.communicate()
    assert second.returncode == 130
    os.kill(pid, signal.SIGCONT)
    first.communicate()
    assert mrmr.run("get", "memory").stdout.strip() != "104857600"


def test_killed(mrmr, daemon):
    """What it ran goes on; commands run by themselves, and the next daemon finds its place."""
    client, pid = held(daemon, "scrub", "scrub")
    daemon.process.kill()
    daemon.process.wait(60)
    assert client.wait(60) == 1
    os.kill(pid, signal.SIGCONT)
    assert "goes on" in client.communicate()[1].decode()
    until(lambda: mrmr.run("set", "memory", "100M", code=None).returncode == 0)
    assert (mrmr.dir / "socket").exists()
    anew = Daemon(mrmr)
    mrmr.run("set", "memory", "101M")
    anew.stop()
    assert not (mrmr.dir / "socket").exists()


def scrubs(mrmr):
    return sum(event["kind"] == "scrub-done" for event in mrmr.json("events", "--last", "0")["events"])


def closed(mrmr, *args):
    """The exit code and words of the command without a standard output."""
    return subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", mrmr.bin, *args], env=mrmr.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          timeout=60, check=False)


def test_without_standard_output(mrmr, daemon):
    """It fails, with a daemon and without one, and no file gets what was meant for it."""
    with_one = closed(mrmr, "set", "memory", "100M")
    daemon.stop()
    without = closed(mrmr, "set", "memory", "101M")
    assert with_one.returncode == without.returncode == 1
    said = without.stderr.splitlines()[-1]
    assert with_one.stderr.splitlines()[-1] == said and b"standard output" in said
    assert mrmr.run("get", "memory").stdout.strip() == str(101 << 20)
    mrmr.run("check")


def descriptors(pid):
    found = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(OSError):
            found[int(fd)] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
    return found


def test_what_it_has_open(mrmr, tmp_path):
    """Nothing of what whoever starts it has open; and no more than it is told to, nor do the commands that it runs."""
    mrmr.build(DRIVES)
    with open(tmp_path / "kept open", "w", encoding="utf-8") as kept:
        process = subprocess.Popen([mrmr.bin, "daemon", "-f", "--files", "300"], env=mrmr.env, pass_fds=[kept.fileno()], stdin=subprocess.DEVNULL)
    try:
        until((mrmr.dir / "socket").exists)
        assert kept.name not in descriptors(process.pid).values()
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] == 300
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_a_scrub_a_day(mrmr, daemon):
    """And not one after each start of a daemon."""
    mrmr.run("set", "settle", "0")
    until(lambda: scrubs(mrmr)) # also where it is stopped right after that
    before = scrubs(mrmr)
    for name in ("anew", "once more"):
        daemon.stop()
        put(mrmr, "red", name, 10_000)
        daemon = Daemon(mrmr)
        until(lambda: safe(mrmr, name)) # a sync is first
        until(lambda: not mrmr.json("status", code=None)["daemon"]["does"])
        mrmr.run("status", code=None)
        until(lambda: not daemon.children())
    assert scrubs(mrmr) == before
    daemon.stop()
    (mrmr.dir / "daemon").write_text("scrubbed 99999999999\n") # a time to come
    daemon = Daemon(mrmr)
    until(lambda: scrubs(mrmr) == before + 1)
    daemon.stop()


def test_one_of_them(mrmr, daemon):
    assert "daemon already" in mrmr.run("daemon", "-f", code=1).stderr
    assert stat.S_IMODE(os.stat(mrmr.dir / "socket").st_mode) == 0o600
    mrmr.run("daemon", "--stop")
    assert daemon.process.wait(60) == 0
    assert "no daemon" in mrmr.run("daemon", "--stop", code=1).stderr
    mrmr.run("daemon")
    until(lambda: (mrmr.dir / "socket").exists())
    mrmr.run("sync")
    mrmr.run("daemon", "--stop")


def test_whoever_starts_it_hears_of_no_children(mrmr):
    """A parent that ignores SIGCHLD: the daemon hears of its own all the same."""
    mrmr.build(DRIVES)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        daemon = Daemon(mrmr)
    finally:
        signal.signal(signal.SIGCHLD, before)
    mrmr.run("set", "memory", "100M")
    daemon.stop()


def test_it_ends_behind_a_command(mrmr, daemon):
    """What somebody asked for goes on; whoever comes then runs by himself, and the next daemon begins."""
    client, pid = held(daemon, "scrub", "scrub")
    daemon.process.terminate()
    until(lambda: not (mrmr.dir / "socket").exists())
    anew = Daemon(mrmr)
    os.kill(pid, signal.SIGCONT)
    client.communicate()
    assert client.returncode == 0 and daemon.process.wait(60) == 0
    mrmr.run("set", "memory", "100M")
    anew.stop()


def test_no_pool(mrmr):
    assert "no pool" in mrmr.run("daemon", "-f", code=1).stderr


def test_a_long_path(tmp_path):
    """Longer than an address of a socket may be."""
    mrmr = Command(tmp_path / ("x" * 100) / ("y" * 100))
    (mrmr.folder / "drives").mkdir(parents=True)
    mrmr.build(DRIVES)
    daemon = Daemon(mrmr)
    try:
        client, pid = held(daemon, "scrub", "scrub")
        os.kill(pid, signal.SIGCONT)
        client.communicate()
        assert client.returncode == 0
    finally:
        daemon.stop()


def test_another_user(mrmr, daemon):
    """He does not reach it, and is told what he would be without it."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("acting as another user needs root, and setpriv")
    os.chmod(mrmr.dir, 0o755)
    done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", mrmr.bin, "sync"], env=mrmr.env,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode in (1, 126, 127)
    assert not daemon.children() or daemon.process.poll() is None
