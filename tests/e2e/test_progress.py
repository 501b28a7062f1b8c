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

from some import some

BIG = {"files": 5, "size": 20_000_000}  # takes long enough to be seen, and met, in the middle
SMALL = {"files": 2, "size": 1_000_000}


def on_terminal(mrmr, columns, *args):
    """Everything the command wrote to a terminal of that width on standard error, and how it ended."""
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
    os.close(leader)
    return seen.decode(), process.wait(timeout=60)


def big_pool(mrmr, **fill):
    made = {}
    for name in ("red", "blue", "green"):
        made.update(mrmr.fill(name, **dict(BIG, **fill)))
        mrmr.run("add-drive", mrmr.drive(name))
    return made


def drawn(seen):
    """What stood on the line of a terminal, one string each time it was drawn."""
    return [part.split("\x1b[K")[0] for part in seen.split("\r") if part.split("\x1b[K")[0].strip()]


def test_a_terminal_gets_a_bar_with_rate_and_eta(mrmr):
    big_pool(mrmr, files=10)
    seen, code = on_terminal(mrmr, 80, "sync")
    lines = [line for line in drawn(seen) if line.startswith("protect")]
    assert code == 0 and len(lines) >= 3, seen
    assert all(len(line) < 80 for line in lines)
    assert any(re.search(r"\d+% \[[#-]+\] .* of .*/s  ETA \d", line) for line in lines), lines
    assert seen.endswith("\r\x1b[K") and "\n" not in seen  # the bar goes when the work is done


def test_a_narrow_terminal_is_never_wrapped(mrmr):
    big_pool(mrmr)
    seen, code = on_terminal(mrmr, 30, "sync")
    assert code == 0
    lines = [line for line in drawn(seen) if line.startswith("protect")]
    assert lines and all(len(line) < 30 for line in lines), lines


def test_a_terminal_and_quiet(mrmr):
    big_pool(mrmr, **SMALL)
    assert on_terminal(mrmr, 80, "sync", "--quiet") == ("", 0)


def test_a_dumb_terminal_gets_plain_lines(mrmr):
    big_pool(mrmr, **SMALL)
    mrmr.env["TERM"] = "dumb"
    seen, code = on_terminal(mrmr, 80, "sync")
    assert code == 0 and "\x1b" not in seen and seen.startswith("mrmr: scan: ")


def test_elsewhere_there_are_few_plain_lines(mrmr):
    big_pool(mrmr, **SMALL)
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
def test_interrupted_sync_goes_on_from_there(mrmr, number, code):
    made = big_pool(mrmr)
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
    assert rest["completed"] and report["protected_size"] + rest["protected_size"] == sum(map(len, made.values()))
    assert rest["protected_size"] > 0
    mrmr.run("status")
    mrmr.run("check", "--deep")


def test_an_ignored_signal_stays_ignored(mrmr):
    big_pool(mrmr)
    process = mrmr.start("sync", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_until(process, lambda: has_written_rows(mrmr))
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_work_goes_on_when_nobody_reads_its_notices(mrmr):
    big_pool(mrmr, **SMALL)
    process = mrmr.start("sync", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    mrmr.run("status")


def test_two_commands_at_once(mrmr):
    """One process owns the pool; others may look, and whoever wants to change it learns who has it."""
    big_pool(mrmr)
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
