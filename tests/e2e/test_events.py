# SPDX-License-Identifier: GPL-3.0-or-later
"""Events as they come: mrmr events --follow."""
import json
import queue
import signal
import subprocess
import threading
import time

import pytest


class Follower:
    """mrmr events --follow, and what it prints, line by line."""

    def __init__(self, mrmr, *args):
        self.process = mrmr.start("events", "--follow", *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode().rstrip("\n"))
        self.lines.put(None)

    def next(self):
        line = self.lines.get(timeout=60)
        assert line is not None, self.process.stderr.read()
        return line

    def end(self, number=signal.SIGTERM):
        """The exit code, what was printed and not taken, and what was said."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self.reader.join(timeout=60)
        rest = []
        while (line := self.lines.get(timeout=60)) is not None:
            rest.append(line)
        return code, rest, self.process.stderr.read().decode()


def test_events_are_printed_as_they_come(mrmr):
    mrmr.build(["red", "blue", "green"])
    follower = Follower(mrmr)
    known = mrmr.run("events", "--last", "10").stdout.splitlines()
    assert len(known) > 2 and [follower.next() for _ in known] == known
    mrmr.run("set", "redundancy", "2")
    assert "redundancy is 2, it was 1" in follower.next()
    mrmr.drive("red").rename(mrmr.folder / "elsewhere")
    mrmr.run("sync", code=3)
    lost = follower.next()
    assert " ! drive-lost " in lost and "drive red" in lost
    code, rest, said = follower.end()
    assert code == 128 + signal.SIGTERM and said == ""
    everything = mrmr.run("events", "--last", "0").stdout.splitlines()
    assert rest == everything[everything.index(lost) + 1:]


def test_as_json_each_is_a_line(mrmr):
    mrmr.build(["red", "blue", "green"])
    before = mrmr.json("events", "--last", "2")["events"]
    follower = Follower(mrmr, "--json", "--last", "2")
    assert [json.loads(follower.next()) for _ in range(2)] == before
    mrmr.run("scrub")
    done = json.loads(follower.next())
    assert done["kind"] == "scrub-done" and done["drive"] is None and done["warning"] is False
    assert done["id"] > before[-1]["id"] and done == mrmr.json("events", "--last", "1")["events"][0]
    assert follower.end()[:2] == (128 + signal.SIGTERM, [])


def test_all_that_are_kept_come_first(mrmr):
    mrmr.build(["red", "blue"])
    for _ in range(12):
        mrmr.run("scrub")
    known = mrmr.run("events", "--last", "0").stdout.splitlines()
    follower = Follower(mrmr, "--last", "0")
    assert len(known) > 12 and [follower.next() for _ in known] == known
    follower.end()
    follower = Follower(mrmr)
    assert [follower.next() for _ in range(10)] == known[-10:]
    assert follower.end()[1] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(mrmr, number):
    mrmr.build(["red", "blue"])
    follower = Follower(mrmr)
    follower.next()
    code, _, said = follower.end(number)
    assert code == 128 + number and said == ""


def test_it_ends_when_nobody_reads_it_any_more(mrmr):
    """Without another event."""
    mrmr.build(["red", "blue"])
    process = mrmr.start("events", "-f", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in mrmr.run("events", "--last", "10").stdout.splitlines():
        assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) in (-signal.SIGPIPE, 128 + signal.SIGPIPE)
    assert process.stderr.read() == b""


def test_a_catalog_that_goes_ends_it(mrmr):
    mrmr.build(["red", "blue"])
    follower = Follower(mrmr)
    follower.next()
    mrmr.dir.rename(mrmr.folder / "elsewhere")
    (mrmr.folder / "elsewhere/catalog.sqlite").rename(mrmr.folder / "catalog")
    assert follower.process.wait(timeout=60) == 1
    assert "replaced, or removed" in follower.process.stderr.read().decode()


# --- on-event ---


def script(mrmr, body):
    program = mrmr.folder / "hook"
    program.write_text("#!/bin/sh\n" + body)
    program.chmod(0o755)
    return program


def test_on_event_is_tried(mrmr):
    mrmr.run("init")
    assert "mrmr set on-event" in mrmr.run("events", "--try-hook", code=1).stderr
    program = script(mrmr, "echo \"$1 $MRMR_EVENT $MRMR_EVENT_ID $MRMR_POOL\" >'%s'\n" % (mrmr.folder / "out"))
    mrmr.run("set", "on-event", "%s word" % program)
    done = mrmr.run("events", "--try-hook")
    assert "ended well" in done.stdout and done.stderr == ""
    assert (mrmr.folder / "out").read_text() == "word test 0 %s\n" % mrmr.dir
    assert mrmr.json("events", "--try-hook") == {"on_event": "%s word" % program}
    script(mrmr, "echo 'no such address'; exit 7\n")
    done = mrmr.run("events", "--try-hook", code=1)
    assert done.stdout == "" and "code 7" in done.stderr and "no such address" in done.stderr
    assert "mrmr set on-event" in done.stderr
    program.unlink()
    done = mrmr.run("events", "--try-hook", code=1)
    assert str(program) in done.stderr and "No such file" in done.stderr
    mrmr.run("set", "on-event", "")
    mrmr.run("events", "--try-hook", code=1)
    assert mrmr.run("events", "--try-hook", "--follow", code=2).stderr.startswith("mrmr: events: --try-hook")


def test_on_event_that_is_no_program_is_refused(mrmr):
    mrmr.run("init")
    (mrmr.folder / "file").write_text("x")
    for bad in ("notify-send", str(mrmr.folder / "nothing"), str(mrmr.folder / "file"), str(mrmr.folder)):
        done = mrmr.run("set", "on-event", bad, code=1)
        assert "'%s'" % bad in done.stderr and "on-event" in done.stderr
    assert mrmr.json("get", "on-event")["value"] == ""


def test_a_try_of_on_event_can_be_interrupted(mrmr):
    mrmr.run("init")
    mrmr.run("set", "on-event", script(mrmr, "echo $$ >'%s'; exec sleep 1000\n" % (mrmr.folder / "pid")))
    process = mrmr.start("events", "--try-hook", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (mrmr.folder / "pid").exists() or not (mrmr.folder / "pid").read_text():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=25) == 128 + signal.SIGINT
    assert process.stdout.read() == process.stderr.read() == b""
