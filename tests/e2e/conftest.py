# SPDX-License-Identifier: GPL-3.0-or-later
"""What end-to-end tests of the command share: a pool on folders, and files made from seeds."""
import fnmatch
import json
import os
import pathlib
import subprocess

import pytest

from seeded import Seeded


def pytest_collection_modifyitems(config, items):
    """MRMR_TEST: of the tests those whose names match it, as in the programs (tests/CMakeLists.txt)."""
    pattern = os.environ.get("MRMR_TEST")
    if pattern:
        left_out = [item for item in items if not fnmatch.fnmatch(item.name, pattern)]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


class Command:
    """The command with one pool, named by the environment; drives are folders beside it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.dir = self.folder / "pool"
        self.bin = os.environ["MRMR_BIN"]
        self.env = {k: v for k, v in os.environ.items() if k not in ("XDG_DATA_HOME", "LS_COLORS")}
        self.env.update(MRMR_POOL=os.fspath(self.dir), HOME=os.fspath(self.folder / "home"), TZ="UTC", TERM="xterm")

    def drive(self, name):
        return self.folder / "drives" / name

    def run(self, *args, code=0, **env):
        """What it did: returncode, stdout and stderr as text; code: one, several, or None for any that is not a crash."""
        done = subprocess.run([self.bin, *args], env=dict(self.env, **env), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=300)
        done.stdout = done.stdout.decode(errors="surrogateescape")
        done.stderr = done.stderr.decode(errors="surrogateescape")
        told = "%r gave %d:\n%s\n%s" % (args, done.returncode, done.stdout, done.stderr)
        assert done.returncode >= 0, told
        assert code is None or done.returncode in (code if isinstance(code, tuple) else (code,)), told
        return done

    def json(self, *args, code=0):
        done = self.run(*args, "--json", code=code)
        return json.loads(done.stdout.encode(errors="surrogateescape").decode("utf-8"))

    def start(self, *args, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([self.bin, *args], env=self.env, **kwargs)

    def fill(self, name, files=4, size=300_000, seed=1):
        """A folder with files that only this drive has; path in the pool → bytes."""
        rng = Seeded("%s/%d" % (name, seed))
        made = {}
        for i in range(files):
            path = "of-%s/file %d.bin" % (name, i)
            data = rng.randbytes(size + i)
            (self.drive(name) / path).parent.mkdir(parents=True, exist_ok=True)
            (self.drive(name) / path).write_bytes(data)
            made[path] = data
        return made

    def build(self, names, redundancy=1, **fill):
        """A synced pool of drives with files on them; path → bytes."""
        made = {}
        for name in names:
            made.update(self.fill(name, **fill))
            self.run("add-drive", self.drive(name))
        if redundancy != 1:
            self.run("set-redundancy", str(redundancy))
        self.run("sync")
        return made


@pytest.fixture(name="mrmr")
def make_mrmr(tmp_path):
    command = Command(tmp_path)
    (tmp_path / "drives").mkdir()
    return command
