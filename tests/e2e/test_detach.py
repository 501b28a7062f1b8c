# SPDX-License-Identifier: GPL-3.0-or-later
"""detach and attach: file systems that are unmounted right after the command, under a mount that is in use."""
import mmap
import os
import signal
import subprocess
import time

import pytest

from loops import loops, need_loops
from mounts import mounts, need_fuse, until
from seeded import Seeded


class World:
    def __init__(self, mrmr, mount, make, rng):
        self.mrmr, self.make_mount, self.rng = mrmr, mount, rng
        self.drives, self.content, self.mount = {}, {}, None
        for name in ("red", "green", "blue"):
            self.drives[name] = make(name, "ext4", 64)
            for i in range(6):
                self.put(os.path.join(self.drives[name].root, name, str(i)), "%s/%d" % (name, i))
            mrmr.run("add-drive", self.drives[name].root)
        mrmr.run("sync")
        self.mount = mount()

    def put(self, at, path):
        self.content[path] = self.rng.randbytes(self.rng.randrange(600_000))
        os.makedirs(os.path.dirname(at), exist_ok=True)
        with open(at, "wb") as file:
            file.write(self.content[path])

    def at(self, path=""):
        return os.path.join(self.mount.point, path)

    def all_there(self):
        wrong = []
        for path, data in self.content.items():
            with open(self.at(path), "rb") as file:
                if file.read() != data:
                    wrong.append(path)
        assert wrong == []
        for name in self.drives:
            assert sorted(os.listdir(self.at(name))) == sorted(path.split("/")[1] for path in self.content if path.startswith(name + "/"))

    def presence(self, name="blue"):
        return next(drive for drive in self.mrmr.json("drives")["drives"] if drive["name"] == name)["presence"]

    def on_drive(self, path, name="blue"):
        return os.path.exists(os.path.join(self.drives[name].root, path))

    def in_service(self, times):
        until(lambda: self.mount.log.read_text().count("drive blue: it is in service\n") == times)


@pytest.fixture(name="world")
def make_world(mrmr, tmp_path):
    need_fuse()
    need_loops()
    seed = int(os.environ.get("MRMR_SEED", time.time_ns() % 2**32))
    print("seed of detach: %d" % seed)
    with loops(tmp_path) as make, mounts(mrmr, tmp_path) as mount:
        yield World(mrmr, mount, make, Seeded(seed))


def is_detached_under_readers(world):
    """What they have begun to read they read to its end."""
    blue = world.drives["blue"]
    with open(world.at("blue/0"), "rb", buffering=0) as reader, open(world.at("blue/1"), "rb") as mapped:
        assert reader.read(1000) == world.content["blue/0"][:1000]
        assert mapped.read() == world.content["blue/1"]
        done = world.mrmr.run("detach", "blue")
        blue.umount() # at once
        assert "can be unmounted" in done.stdout and blue.root in done.stdout and "mrmr attach blue" in done.stdout
        assert done.stderr == ""
        rest = b""
        while part := reader.read(100_000):
            rest += part
        assert rest == world.content["blue/0"][1000:]
    world.all_there()


def is_no_alarm(world):
    status = world.mrmr.json("status")
    assert status["state"] == "detached" and status["needs_look"] == [] and status["drives_detached"] == 1
    assert status["detached_size"] == status["degraded_size"] > 0 and status["survives"] == 0
    assert world.presence() == "detached"
    assert "DETACHED" in world.mrmr.run("status").stdout
    assert "detached" in world.mrmr.run("drives").stdout
    again = world.mrmr.run("detach", "blue", code=1)
    assert "drive blue: it is detached already, and is not there; to use it again: mrmr attach blue" in again.stderr


def change_what_is_detached(world):
    os.unlink(world.at("blue/2"))
    del world.content["blue/2"]
    os.rename(world.at("blue/3"), world.at("blue/renamed"))
    world.content["blue/renamed"] = world.content.pop("blue/3")
    with open(world.at("blue/4"), "ab") as file:
        file.write(b"more")
    world.content["blue/4"] += b"more"
    world.put(world.at("blue/new"), "blue/new")
    world.all_there()
    assert world.mrmr.json("sync")["drives_away"] == 0
    assert world.mrmr.json("scrub")["unreadable"] == 0
    assert "while a drive is detached" in world.mrmr.run("sync").stdout
    world.all_there()


def is_attached_elsewhere(world):
    """By the user's word, in a place of its own."""
    blue = world.drives["blue"]
    refused = world.mrmr.run("attach", "blue", code=1)
    assert "drive blue" in refused.stderr and "nothing is mounted" in refused.stderr
    assert world.presence() == "detached"
    elsewhere = blue.root + " elsewhere"
    os.mkdir(elsewhere)
    subprocess.run(["mount", "-o", "loop", blue.image, elsewhere], check=True)
    try:
        assert "in service" in world.mrmr.run("attach", "blue", elsewhere).stdout
        blue.root = elsewhere
        world.in_service(1)
        until(lambda: not world.on_drive("blue/2"))
        world.all_there()
        world.mrmr.run("sync")
        world.all_there()
        world.mrmr.run("check", "--deep")
        assert world.mrmr.json("status")["state"] == "protected"
        world.mrmr.run("detach", "blue")
    finally:
        subprocess.run(["umount", elsewhere], check=True)
        blue.mounted = False


def test_unmount_right_after(world):
    """Under open readers; reads go on, and what is changed meanwhile is so when it is attached again."""
    is_detached_under_readers(world)
    is_no_alarm(world)
    change_what_is_detached(world)
    is_attached_elsewhere(world)


def test_in_the_way(world):
    """Whoever has a file open for writing is named, and loses nothing; other drives' writers are in nobody's way."""
    with open(world.at("blue/0"), "ab") as writer, open(world.at("red/0"), "ab", buffering=0) as elsewhere:
        writer.write(b"first ")
        writer.flush()
        refused = world.mrmr.run("detach", "blue", code=1)
        assert "drive blue: it is in use through the pool's mount: 'blue/0' is open for writing" in refused.stderr
        assert "stays in service" in refused.stderr
        assert world.presence() == "present"
        writer.write(b"second")
        writer.flush()
        os.fsync(writer.fileno())
        writer.close()
        world.content["blue/0"] += b"first second"
        assert subprocess.run(["umount", world.drives["blue"].root], capture_output=True).returncode != 0 # the mount has it open
        world.mrmr.run("sync")
        elsewhere.write(b"one ")
        world.mrmr.run("detach", "blue")
        elsewhere.write(b"two")
        world.content["red/0"] += b"one two"
    world.drives["blue"].umount()
    world.all_there()
    world.drives["blue"].mount()
    world.mrmr.run("attach", "blue")
    world.in_service(1)
    world.all_there()
    assert world.on_drive("blue/0")
    world.mrmr.run("sync")
    world.mrmr.run("check", "--deep")


def asking(world):
    """A detach that waits for the mount, which does not run."""
    world.mount.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, world.mount.process.pid, os.WSTOPPED | os.WNOWAIT)
    detach = world.mrmr.start("detach", "blue", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: os.path.exists(world.mrmr.dir / "detach-ask") and os.path.getsize(world.mrmr.dir / "detach-ask") > 0)
    return detach


def test_mapped_and_killed(world):
    """A mapping that may be stored to is in the way, too. Whoever is killed in the middle leaves the drive in service, or lets go of it."""
    with open(world.at("blue/0"), "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped[0:5] = b"01234"
    assert "'blue/0' is open for writing" in world.mrmr.run("detach", "blue", code=1).stderr
    mapped.flush()
    mapped.close()
    world.content["blue/0"] = b"01234" + world.content["blue/0"][5:]
    world.mrmr.run("sync")
    # The command.
    detach = asking(world)
    detach.kill()
    detach.wait()
    world.mount.process.send_signal(signal.SIGCONT)
    with open(world.at("blue/1"), "ab") as file:
        file.write(b"more")
    world.content["blue/1"] += b"more"
    assert world.presence() == "present" and world.on_drive("blue/1")
    world.all_there()
    world.mrmr.run("sync")
    # The mount: nobody has anything of the drive open then.
    detach = asking(world)
    world.mount.kill()
    out, err = detach.communicate(timeout=60)
    assert detach.returncode == 0, err
    world.drives["blue"].umount()
    assert b"can be unmounted" in out and world.presence() == "detached"
    subprocess.run(["umount", "-l", world.mount.point], check=True)
    world.mount.start()
    world.all_there()
    world.drives["blue"].mount()
    world.in_service(1)
    world.all_there()
    world.mrmr.run("sync")
    world.mrmr.run("check", "--deep")


def test_unplugged_and_back(world):
    """Detached it is left alone until it has gone; then it comes back by itself. What exists on it alone is told of."""
    world.put(os.path.join(world.drives["blue"].root, "blue/exposed"), "blue/exposed")
    world.mrmr.run("sync")
    with open(world.at("blue/5"), "ab") as file:
        file.write(b"not protected yet")
    world.content["blue/5"] += b"not protected yet"
    on = "blue" if world.on_drive("blue/5") else None
    assert on
    world.mrmr.run("detach", "blue")
    # It is there, mounted, and nobody takes it: not a sync, not the mount, however often they look.
    looks = world.mount.log.read_text().count("it is in service")
    for _ in range(3):
        world.mrmr.run("sync", code=None)
        assert world.presence() == "detached"
    world.mount.stop()
    world.mount.start()
    assert world.presence() == "detached"
    assert world.mount.log.read_text().count("it is in service") == looks
    world.drives["blue"].umount()
    until(lambda: any(name.startswith("unplugged-") for name in os.listdir(world.mrmr.dir))) # the mount sees it
    os.unlink(world.at("blue/1"))
    del world.content["blue/1"]
    world.drives["blue"].mount()
    world.in_service(looks + 1)
    assert world.presence() == "present"
    world.all_there()
    assert not world.on_drive("blue/1")
    world.mrmr.run("sync")
    assert not any(name.startswith("unplugged-") for name in os.listdir(world.mrmr.dir))
    assert "has gone and come back" in world.mrmr.run("events").stdout
    world.all_there()
    world.mrmr.run("check", "--deep")
    assert world.mrmr.json("status")["state"] == "protected"


def test_mounted_anew_between_two_looks(world, tmp_path):
    """Nobody saw it gone, but it is on another device: it was unplugged."""
    blue = world.drives["blue"]
    device = subprocess.run(["findmnt", "-n", "-o", "SOURCE", blue.root], check=True, capture_output=True, text=True).stdout.strip()
    was = os.stat(blue.root).st_dev
    world.mrmr.run("detach", "blue")
    world.mount.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, world.mount.process.pid, os.WSTOPPED | os.WNOWAIT)
    blue.umount()
    (tmp_path / "taken").write_bytes(b"0" * 4096)
    subprocess.run(["losetup", device, tmp_path / "taken"], check=True)
    try:
        blue.mount()
        assert os.stat(blue.root).st_dev != was
        assert world.presence() == "detached" # who looks anew cannot know
        world.mount.process.send_signal(signal.SIGCONT)
        world.in_service(1)
        assert world.presence() == "present"
        world.all_there()
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def test_unmounted_at_once_beside_a_daemon(world):
    """Which looks at the pool as soon as the command has ended: nothing that it does opens the drive."""
    daemon = world.mrmr.start("daemon", "-f", stderr=subprocess.DEVNULL)
    try:
        until(lambda: (world.mrmr.dir / "socket").exists())
        for _ in range(8):
            world.mrmr.run("detach", "blue")
            looks = [world.mrmr.start("status", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
            world.drives["blue"].umount()
            for look in looks:
                look.wait(60)
            world.drives["blue"].mount()
            world.mrmr.run("attach", "blue")
    finally:
        daemon.terminate()
        daemon.wait(60)
    world.all_there()


def test_changed_here_and_there_meanwhile(world, tmp_path):
    """What was changed on a detached drive elsewhere is taken in; what was changed through the mount meanwhile is done on it, with what stripes
    count on kept; where both changed a file both are there, and it is said."""
    blue = world.drives["blue"]
    world.mrmr.run("detach", "blue")
    blue.umount()
    until(lambda: any(name.startswith("unplugged-") for name in os.listdir(world.mrmr.dir)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "-o", "loop", blue.image, elsewhere], check=True)
    try: # somebody's own hand
        for path in ("blue/0", "blue/1"):
            (elsewhere / path).write_bytes(b"changed elsewhere " * 1000)
        (elsewhere / "blue/new there").write_bytes(b"new there " * 1000)
        (elsewhere / "blue/2").unlink()
    finally:
        subprocess.run(["umount", elsewhere], check=True)
    with open(world.at("blue/1"), "r+b") as file: # both
        file.write(b"changed here")
    here = b"changed here" + world.content["blue/1"][12:]
    with open(world.at("blue/3"), "r+b") as file:
        file.write(b"changed here")
    world.content["blue/3"] = b"changed here" + world.content["blue/3"][12:]
    os.unlink(world.at("blue/4"))
    os.rename(world.at("blue/5"), world.at("blue/five"))
    world.content["blue/five"] = world.content.pop("blue/5")
    for path in ("blue/1", "blue/2", "blue/4"):
        del world.content[path]
    blue.mount()
    world.in_service(1)
    until(lambda: not world.on_drive("blue/4") and not world.on_drive("blue/5")) # the latter is on another drive now
    world.content["blue/0"] = b"changed elsewhere " * 1000
    world.content["blue/new there"] = b"new there " * 1000

    def as_expected():
        for path, data in world.content.items():
            with open(world.at(path), "rb") as file:
                assert file.read() == data, path
        assert sorted(os.listdir(world.at("blue"))) == ["0", "1", "3", "five", "new there"]
    as_expected()
    # What was removed is kept for those who share parity with it.
    assert os.listdir(os.path.join(blue.root, ".mrmr/retained"))
    # The conflict: both are there, and it is told of.
    copies = [copy["drive"] for copy in world.mrmr.json("where", "blue/1", code=None)["copies"]]
    assert len(copies) == 2 and "blue" in copies, copies
    assert os.path.getsize(os.path.join(blue.root, "blue/1")) == 18_000
    other = next(name for name in copies if name != "blue")
    with open(os.path.join(world.drives[other].root, "blue/1"), "rb") as file:
        assert file.read() == here
    world.mrmr.run("sync", code=None)
    assert [event for event in world.mrmr.json("events")["events"] if event["kind"] == "conflict" and "blue/1" in event["text"]]
    assert world.mrmr.json("status")["conflicts"] == 1
    as_expected()
    world.mrmr.run("check", "--deep")
    assert world.mrmr.json("status")["state"] == "protected"


def test_exposed_is_told_of(world):
    """What a sync has seen on it and nothing protects."""
    world.mrmr.run("set", "drive.red.max-usage", "1")
    world.mrmr.run("set", "drive.green.max-usage", "1")
    world.put(os.path.join(world.drives["blue"].root, "blue/exposed"), "blue/exposed")
    world.content["blue/exposed"] = b"x" * 300_000
    with open(os.path.join(world.drives["blue"].root, "blue/exposed"), "wb") as file:
        file.write(world.content["blue/exposed"])
    assert world.mrmr.json("sync", code=3)["exposed_size"] >= 300_000
    done = world.mrmr.run("detach", "blue")
    assert "warning: " in done.stderr and "293 KiB in 1 file on it exist nowhere else" in done.stderr
    world.drives["blue"].umount()
    with pytest.raises(OSError):
        with open(world.at("blue/exposed"), "rb") as file:
            file.read()
    assert world.mrmr.json("status", code=3)["state"] == "exposed"
    world.drives["blue"].mount()
    world.mrmr.run("attach", "blue")
    world.in_service(1)
    world.all_there()


def test_refusals(world):
    """Names what is wrong and the next step."""
    assert "no drive 'grey'" in world.mrmr.run("detach", "grey", code=1).stderr
    assert "no drive 'grey'" in world.mrmr.run("attach", "grey", code=1).stderr
    world.mrmr.run("detach", code=2)
    world.mrmr.run("attach", "blue", "one", "two", code=2)
    world.mrmr.run("attach", "blue") # it is in service
    world.mrmr.run("detach", "blue")
    assert "mrmr attach blue" in world.mrmr.run("rebuild", "blue", code=1).stderr
    world.mrmr.run("detach", "green")
    assert "last drive" in world.mrmr.run("detach", "red", code=1).stderr
    world.mrmr.run("attach", "blue")
    world.mrmr.run("attach", "green")
    # Away: nothing is done but the mark.
    world.mount.stop()
    world.drives["blue"].umount()
    assert "was away" in world.mrmr.run("detach", "blue").stdout
    assert world.presence() == "detached"
    world.drives["blue"].mount()
    assert world.presence() == "present"
