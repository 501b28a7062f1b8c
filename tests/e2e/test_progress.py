# SPDX-License-Identifier: GPL-3.0-or-later
"""Long work: its progress on a terminal and elsewhere, interruption, and two commands at once."""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import pytest

from conftest import Command
from some import some

DRIVES = ("red", "blue", "green")

BIG = {"files": 5, "size": 6_000_000}  # takes long enough to be met in the middle, in blocks of a megabyte
SMALL = {"files": 1, "size": 500_000}


@pytest.fixture(scope="module", name="store")
def make_store(tmp_path_factory):
    """The large files, made once: each test moves them onto its drives, and back. No command may change them."""
    command = Command(tmp_path_factory.mktemp("store"))
    return command, {name: command.fill(name, **BIG) for name in DRIVES}


@pytest.fixture
def big(mrmr, store):
    """A pool of three drives, not synced, with the large files on them; path → bytes."""
    kept, made = store
    for name in DRIVES:
        mrmr.drive(name).mkdir(parents=True)
        (kept.drive(name) / ("of-" + name)).rename(mrmr.drive(name) / ("of-" + name))
        mrmr.run("add-drive", mrmr.drive(name))
    mrmr.run("set", "block-size", "1M")
    yield {path: data for files in made.values() for path, data in files.items()}
    for name, files in made.items():
        for path, data in files.items():
            assert (mrmr.drive(name) / path).read_bytes() == data
        (mrmr.drive(name) / ("of-" + name)).rename(kept.drive(name) / ("of-" + name))


def on_terminal(mrmr, columns, *args, drawn_apart=False):
    """Everything the command wrote to a terminal of that width on standard error, and how it ended. drawn_apart: it is stopped for
    a while whenever it has drawn how far protecting is, so that time passes for it and it draws again, however fast it is."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = mrmr.start(*args, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    seen = b""
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:  # the last writer has gone
            break
        if not data:
            break
        seen += data
        if drawn_apart and b"protect" in data:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.11)  # a bar is drawn ten times a second
            process.send_signal(signal.SIGCONT)
    os.close(leader)
    return seen.decode(), process.wait(timeout=60)


def small_pool(mrmr):
    for name in DRIVES:
        mrmr.fill(name, **SMALL)
        mrmr.run("add-drive", mrmr.drive(name))


def drawn(seen):
    """What stood on the line of a terminal, one string each time it was drawn."""
    return [part.split("\x1b[K")[0] for part in seen.split("\r") if part.split("\x1b[K")[0].strip()]


def test_a_terminal_gets_a_bar_with_rate_and_eta(mrmr, big):
    seen, code = on_terminal(mrmr, 80, "sync", drawn_apart=True)
    lines = [line for line in drawn(seen) if line.startswith("protect")]
    assert code == 0 and len(lines) >= 3, seen
    assert all(len(line) < 80 for line in lines)
    assert any(re.search(r"\d+% \[[#-]+\] .* of .*/s  ETA \d", line) for line in lines), lines
    assert seen.endswith("\r\x1b[K") and "\n" not in seen  # the bar goes when the work is done


def test_a_narrow_terminal_is_never_wrapped(mrmr, big):
    seen, code = on_terminal(mrmr, 30, "sync", drawn_apart=True)
    assert code == 0
    lines = [line for line in drawn(seen) if line.startswith("protect")]
    assert lines and all(len(line) < 30 for line in lines), lines


def test_a_terminal_and_quiet(mrmr):
    small_pool(mrmr)
    assert on_terminal(mrmr, 80, "sync", "--quiet") == ("", 0)


def test_a_dumb_terminal_gets_plain_lines(mrmr):
    small_pool(mrmr)
    mrmr.env["TERM"] = "dumb"
    seen, code = on_terminal(mrmr, 80, "sync")
    assert code == 0 and "\x1b" not in seen and seen.startswith("mrmr: scan: ")


def test_elsewhere_there_are_few_plain_lines(mrmr):
    small_pool(mrmr)
    start = time.monotonic()
    done = mrmr.run("sync")
    seconds = time.monotonic() - start
    lines = done.stderr.split("\n")[:-1]
    assert 1 <= len(lines) <= 1 + seconds / 10, done.stderr
    assert all(re.match(r"mrmr: (scan|compare|protect|mend): ", line) for line in lines)
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    assert mrmr.run("scrub", "--quiet").stderr == ""


def wait_until(process, ready):
    """Until ready() is true; the command must not have ended by then."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, "it ended too early: %r" % process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def has_written_rows(mrmr):
    """Whether a sync is in the middle of making parity."""
    for root, _, files in os.walk(mrmr.folder / "drives"):
        if "/.mrmr/parity" in root and files:
            return True
    return False


@pytest.mark.parametrize("number, code", some([(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], 1))
def test_interrupted_sync_goes_on_from_there(mrmr, big, number, code):
    process = mrmr.start("sync", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    wait_until(process, lambda: has_written_rows(mrmr))
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert b"interrupted" in err and b"mrmr sync" in err
    report = json.loads(out)
    assert report["completed"] is False
    rest = mrmr.json("sync")
    assert rest["completed"] and report["protected_size"] + rest["protected_size"] == sum(map(len, big.values()))
    assert rest["protected_size"] > 0
    mrmr.run("status")
    mrmr.run("check", "--deep")


def test_an_ignored_signal_stays_ignored(mrmr, big):
    process = mrmr.start("sync", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_until(process, lambda: has_written_rows(mrmr))
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_work_goes_on_when_nobody_reads_its_notices(mrmr):
    small_pool(mrmr)
    process = mrmr.start("sync", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    mrmr.run("status")


def test_two_commands_at_once(mrmr, big):
    """One process owns the pool; others may look, and whoever wants to change it learns who has it."""
    process = mrmr.start("sync", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(process, lambda: has_written_rows(mrmr))
        process.send_signal(signal.SIGSTOP)
        for args in (["sync"], ["scrub"], ["set-redundancy", "2"], ["set", "hold-percent", "20"]):
            done = mrmr.run(*args, code=1)
            assert "'mrmr sync'" in done.stderr and str(process.pid) in done.stderr
        assert mrmr.run("drives", "--names").stdout.split() == ["red", "blue", "green"]
        assert mrmr.json("status", code=3)["files"] == 3 * BIG["files"]
        mrmr.run("ls", "of-red")
    finally:
        process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    mrmr.run("status")
