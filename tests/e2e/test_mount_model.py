# SPDX-License-Identifier: GPL-3.0-or-later
"""Random writes, truncates, maps and holes through the mount against the same on a file system that is believed, while sync
runs; and after each batch one of the other drives dies, and what was on it is read from the bytes that were protected.
MRMR_OPS, MRMR_ROUNDS, MRMR_SEED."""
import os
import subprocess
import time

import pytest

from mounts import until
from places import PLAIN, places
from seeded import Seeded
from test_mount_drives import drop_caches, mount_again, shut_down

OPERATIONS = int(os.environ.get("MRMR_OPS", "1200"))
ROUNDS = int(os.environ.get("MRMR_ROUNDS", "2"))
MODELS = 3


@pytest.fixture(name="place")
def make_place(mrmr, tmp_path):
    """Three drives, each with protected files on it."""
    seed = int(os.environ.get("MRMR_SEED", time.time_ns() % 2**32))
    print("seed of the mount's model: %d" % seed)
    with places(mrmr, tmp_path) as place:
        place.rng, place.content = Seeded(seed), {}
        for name, fs in (("red", "ext4"), ("green", "xfs"), ("blue", "ext4")):
            root = place.add(name, fs)
            os.mkdir(os.path.join(root, "shared"))
            if PLAIN:
                break
            for i in range(4):
                path, data = "shared/of %s %d" % (name, i), place.rng.randbytes(place.rng.randrange(3_000_000))
                with open(os.path.join(root, path), "wb") as file:
                    file.write(data)
                place.content[path] = data
        yield place


def model(place, reference, seed):
    done = subprocess.run([os.environ["MRMR_MOUNT_MODEL"], place.at("model"), reference, str(seed), str(OPERATIONS)],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=7200, check=False)
    assert done.returncode == 0, "seed %d: %s%s" % (seed, done.stdout, done.stderr)
    print("seed %d: %s" % (seed, done.stdout.strip()))


def all_there(place, reference):
    for path, data in place.content.items():
        with open(place.at(path), "rb") as file:
            assert file.read() == data, path
    for i in range(MODELS):
        with open(place.at("model", "model %d" % i), "rb") as got, open(reference / ("model %d" % i), "rb") as wanted:
            assert got.read() == wanted.read(), i


def test_the_model(place):
    reference = place.folder / "reference"
    reference.mkdir()
    place.start()
    os.mkdir(place.at("model"))
    for i in range(MODELS): # what is overwritten later is protected
        data = place.rng.randbytes(place.rng.randrange(2_000_000, 5_000_000))
        for path in (place.at("model", "model %d" % i), reference / ("model %d" % i)):
            with open(path, "wb") as file:
                file.write(data)
    place.run("sync")
    subprocess.run(["sync"], check=True) # a dead drive keeps what was written out
    for turn in range(ROUNDS):
        if turn % 2:
            with place.syncing():
                model(place, reference, place.rng.randrange(10**9))
        else: # nothing of what is overwritten is let go of
            model(place, reference, place.rng.randrange(10**9))
        all_there(place, reference)
        if not PLAIN:
            lose_another(place, reference, turn)
    place.check_all()


def lose_another(place, reference, turn):
    """A drive on which nothing was just written dies; what it had is there. It comes back."""
    written = {place.drive_of("model/model %d" % i) for i in range(MODELS)}
    others = sorted(set(place.drives) - written)
    if not others: # the models are spread over all of them
        return
    name = place.rng.choice(others)
    subprocess.run(["sync"], check=True)
    shut_down(place.drives[name].root)
    drop_caches()
    all_there(place, reference)
    mount_again(place.drives[name])
    with open(os.path.join(place.drives[name].root, "shared", "back %d" % turn), "wb"):
        pass
    until(lambda: os.path.exists(place.at("shared", "back %d" % turn)), 150)
    print("round %d: read without %s" % (turn, name))
