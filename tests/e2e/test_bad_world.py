# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of bad input share: pools on folders or loop mounts, the command and what it must say; and its first tests."""
import contextlib
import functools
import json
import os
import pathlib
import random
import shutil
import stat
import subprocess
import tempfile

import pytest

from seeded import Seeded
from trees import differences, digest_of_file, record

NOBODY = 65534


class Done:
    def __init__(self, args, completed):
        self.args, self.code, self.out = args, completed.returncode, completed.stdout
        self.err = completed.stderr.decode(errors="backslashreplace")

    @functools.cached_property
    def text(self):
        """Made when it is asked for: megabytes of a file's bytes are dear to make into text, and nobody wants them as such."""
        return self.out.decode(errors="backslashreplace") + self.err

    def __str__(self):
        return "%r gave %d:\n%s" % (self.args, self.code, self.text)

    def says(self, *words):
        """The thing, the cause, the next step: each must be somewhere in what the command said."""
        for word in words:
            assert str(word) in self.text, "%r is not said: %s" % (str(word), self)
        return self


class Pool:
    """A pool's folder, the drives' roots by name, and the command run on them."""

    def __init__(self, folder, name="pool", user=None):
        self.folder, self.dir, self.user = pathlib.Path(folder), pathlib.Path(folder) / name, user
        self.bin = os.environ["MRMR_BIN"]
        self.drives = {}

    def command(self, *args):
        out = [self.bin, "--pool", os.fspath(self.dir)] + [a if isinstance(a, bytes) else str(a) for a in args]
        if self.user is not None:
            user = str(self.user)
            out = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] + out
        return out

    def environment(self):
        return {k: v for k, v in os.environ.items() if k not in ("MRMR_POOL", "XDG_DATA_HOME")}

    def run(self, *args, code=0, timeout=300):
        """code: the exit code there must be, a tuple of several, or None for any."""
        done = Done(args, subprocess.run(self.command(*args), env=self.environment(), stdin=subprocess.DEVNULL,
                                         capture_output=True, timeout=timeout))
        codes = code if isinstance(code, tuple) else (code,)
        assert code is None or done.code in codes, "not %r: %s" % (code, done)
        assert done.code is not None and done.code >= 0, "it crashed: %s" % done
        for word in ("AddressSanitizer", "ThreadSanitizer", "runtime error:"):
            assert word not in done.err, str(done)
        return done

    def start(self, *args, **kwargs):
        return subprocess.Popen(self.command(*args), env=self.environment(), stdin=subprocess.DEVNULL, **kwargs)

    def json(self, *args, code=(0, 3)):
        return json.loads(self.run(*args, "--json", code=code).out)

    def cat(self, path, code=0):
        return self.run("cat", path, code=code).out

    def add(self, name, root=None, code=0):
        root = pathlib.Path(root or self.folder / name)
        root.mkdir(exist_ok=True)
        if self.user is not None:
            os.chown(root, self.user, self.user)
        done = self.run("add-drive", root, "--name", name, code=code)
        self.drives[name] = root
        return done

    def status(self):
        return self.json("status")

    def presence(self):
        return {d["name"]: d["presence"] for d in self.json("drives")["drives"]}

    def well(self):
        """Everything is protected, in order, and true."""
        done = self.run("sync")
        self.run("status")
        assert self.status()["exposed_size"] == 0
        self.deep()
        return done

    def deep(self):
        self.run("check", "--deep")

    def record(self):
        return {name: record(root) for name, root in self.drives.items() if root.exists()}

    def unchanged(self, before, *names):
        """The originals on these drives (all that are in `before`) are what they were."""
        for name in names or before:
            found = differences(before[name], record(self.drives[name]))
            assert not found, "originals on %s are not what they were: %s" % (name, found)

    @contextlib.contextmanager
    def without(self, *names):
        """The drives' roots moved away."""
        for name in names:
            os.rename(self.drives[name], str(self.drives[name]) + ".away")
        try:
            yield
        finally:
            for name in names:
                os.rename(str(self.drives[name]) + ".away", self.drives[name])

    def readable_without(self, contents, *names, every=1):
        """contents: path → bytes. Each file that lies on one of these drives is read while they are all away."""
        wanted = [(p, data) for p, data in sorted(contents.items()) if p.split("/")[0] in names]
        assert wanted
        with self.without(*names):
            for path, data in wanted[::every]:
                assert self.cat(path, code=(0, 3)) == data, path


def seed_of(name):
    """A seed for this run, printed; MRMR_SEED repeats one."""
    seed = int(os.environ.get("MRMR_SEED") or random.SystemRandom().randrange(1 << 32))
    print("%s: seed %d" % (name, seed))
    return Seeded(seed)


def fill(root, name, rng, files=12, most=1_500_000):
    """Files of many sizes below root/name; path → bytes."""
    out = {}
    for i in range(files):
        path = "%s/dir %d/file %d.bin" % (name, i % 3, i)
        data = rng.randbytes(rng.choice([1, 4096, rng.randrange(1, 200_000), rng.randrange(1, most)]))
        where = pathlib.Path(root) / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(data)
        out[path] = data
    return out


def make_pool(folder, drives=4, redundancy=1, rng=None, files=12, most=1_500_000, user=None):
    """A pool on folders, with files on every drive, all protected. Returns it and what the files hold."""
    rng = rng or Seeded(4711)
    pool, contents = Pool(folder, user=user), {}
    for i in range(1, drives + 1):
        root = pathlib.Path(folder) / ("d%d" % i)
        root.mkdir()
        contents.update(fill(root, "d%d" % i, rng, files, most))
        pool.add("d%d" % i, root)
    if user is not None:
        subprocess.run(["chown", "-R", "%d:%d" % (user, user), folder], check=True)
    pool.run("set", "block-size", 1 << 20)  # many small stripes
    if redundancy > 1:
        pool.run("set-redundancy", redundancy)
    pool.run("sync")
    return pool, contents


def tree(root):
    """Everything below root, ours included: path → what it is and holds. For 'nothing at all was written here'."""
    out = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in folders + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            content = digest_of_file(path, st.st_size) if stat.S_ISREG(st.st_mode) else None
            out[os.path.relpath(path, os.fsencode(root))] = (st.st_mode, st.st_size, st.st_mtime_ns, content)
    return out


@contextlib.contextmanager
def open_folder():
    """A folder that an ordinary user can reach, which the tests' own temporary folder may not be."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mrmr-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", folder])
        shutil.rmtree(folder)


def ordinary_user_pool(folder, **kwargs):
    """make_pool as an ordinary user: as nobody if we are root (with a copy of the command that nobody can reach), else as ourselves."""
    if os.geteuid() != 0:
        return make_pool(folder, **kwargs)
    if not shutil.which("setpriv"):
        pytest.skip("not installed: setpriv (util-linux)")
    os.chown(folder, NOBODY, NOBODY)
    binary = pathlib.Path(folder) / "mrmr-command"
    shutil.copy(os.environ["MRMR_BIN"], binary)
    binary.chmod(0o755)
    old = os.environ["MRMR_BIN"]
    os.environ["MRMR_BIN"] = str(binary)
    try:
        return make_pool(folder, user=NOBODY, **kwargs)
    finally:
        os.environ["MRMR_BIN"] = old


def test_redundancy_that_the_drives_cannot_give(tmp_path):
    pool, contents = make_pool(tmp_path, drives=3)
    before = pool.record()
    pool.run("set-redundancy", 3, code=1).says("redundancy 3", "at least 4 drives", "the pool has 3", "mrmr add-drive")
    pool.run("set-redundancy", 9, code=(1, 2)).says("redundancy", "1 to 8")
    pool.run("set-redundancy", 0, code=(1, 2)).says("redundancy", "1 to 8")
    assert pool.status()["redundancy"] == 1
    pool.well()
    pool.unchanged(before)
    pool.add("d4")
    pool.run("set-redundancy", 3)
    assert pool.status()["redundancy"] == 3
    pool.well()
    pool.readable_without(contents, "d1", "d2", "d3")
