# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that must not notice where they write: rsync, tar, cp, git, SQLite, fio, Samba, and many processes at once. After each,
all is protected and whole. MRMR_ROUNDS multiplies the work, MRMR_SEED repeats it."""
import contextlib
import errno
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import traceback

import pytest

from conftest import Command
from mounts import until
from places import PLAIN, places
from some import rounds
from trees import differences, make_tree, record

ROUNDS = int(os.environ.get("MRMR_ROUNDS", "1"))
WORK = rounds(2, 4) * ROUNDS


def need(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.skip("not installed: " + ", ".join(missing))


def run(*command, cwd=None, env=None, timeout=600):
    """Its standard output; it must succeed."""
    done = subprocess.run(command, cwd=cwd, env=dict(os.environ, **(env or {})), capture_output=True, text=True,
                          errors="backslashreplace", stdin=subprocess.DEVNULL, timeout=timeout, check=False)
    assert done.returncode == 0, "%r gave %d:\n%s\n%s" % (command, done.returncode, done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout


DRIVES = {"red": "ext4", "green": "xfs", "blue": "btrfs"}


@pytest.fixture(scope="module", name="shared")
def make_shared(tmp_path_factory):
    """A mounted pool of three drives of three kinds, each with something protected on it; and what that is."""
    folder, rng, kept = tmp_path_factory.mktemp("shared"), random.Random(1), {}
    with places(Command(folder), folder) as place:
        for name, fs in DRIVES.items():
            root = place.add(name, fs)
            kept["of " + name] = rng.randbytes(2_000_000)
            with open(os.path.join(root, "of " + name), "wb") as file:
                file.write(kept["of " + name])
        place.run("sync")
        place.start()
        yield place, kept


@pytest.fixture(name="place")
def make_place(shared, tmp_path):
    """That pool, which the programs have for themselves one after another; each leaves it whole, and nothing of its own in it."""
    place, kept = shared
    seed = int(os.environ.get("MRMR_SEED", time.time_ns() % 2**32))
    print("seed of the programs: %d" % seed)
    place.rng, place.folder = random.Random(seed), tmp_path
    yield place
    place.check_all()
    for name in set(os.listdir(place.at())) - set(kept) - {"lost+found"}:
        shutil.rmtree(place.at(name)) if os.path.isdir(place.at(name)) else os.unlink(place.at(name))
    for name in kept:
        if not PLAIN or os.path.exists(place.at(name)):
            with open(place.at(name), "rb") as file:
                assert file.read() == kept[name], name


@pytest.fixture(name="tree")
def make_a_tree(place):
    """A tree of all kinds of things, on the file system of the test's own folder."""
    make_tree(place.folder, 9, rounds(3, 5) * ROUNDS)
    root = place.folder / "tree-9"
    os.unlink(root / "odd" / "sparse") # a terabyte, which some programs read from end to end
    return root


RSYNC = ["-aHAX", "--numeric-ids", "--modify-window=-1"] # times to the nanosecond


def same_trees(one, other):
    assert differences(record(one), record(other)) == []


def test_rsync(place, tree):
    """In and out with everything that rsync can carry; the second time it has nothing to do."""
    need("rsync")
    inside, out = place.at("copy"), place.folder / "out"
    for source, target in ((tree, inside), (inside, out)):
        command = ["rsync", *RSYNC, "--itemize-changes", "%s/" % source, "%s/" % target]
        assert run(*command)
        assert run(*command) == "", command
        same_trees(source, target)
    # Only what changed of a large file is written, in place.
    large = max((path for path in tree.rglob("*.dat")), key=lambda path: path.stat().st_size)
    there = os.path.join(inside, large.relative_to(tree))
    number = os.stat(there).st_ino
    os.chmod(large, 0o644)
    with open(large, "r+b") as file:
        file.seek(large.stat().st_size // 3)
        file.write(place.rng.randbytes(5000))
        file.seek(0, os.SEEK_END)
        file.write(place.rng.randbytes(5000))
    said = run("rsync", *RSYNC, "--inplace", "--no-whole-file", "--stats", "%s/" % tree, "%s/" % inside)
    literal = int(said.split("Literal data: ")[1].split()[0].replace(",", ""))
    assert 10_000 <= literal < large.stat().st_size // 2, said
    assert "files transferred: 1\n" in said, said
    assert os.stat(there).st_ino == number
    same_trees(tree, inside)
    with place.syncing():
        for i, goes in enumerate(("with space", "-rf", "*?[x]")):
            (tree / ("new %d" % i)).write_bytes(place.rng.randbytes(100_000))
            os.unlink(tree / "odd" / goes)
            run("rsync", *RSYNC, "--delete", "%s/" % tree, "%s/" % inside)
            same_trees(tree, inside)


def test_tar_and_cp(place, tree):
    """Packed out of it, unpacked into it, copied within it, with attributes and links."""
    need("tar", "cp")
    everything = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]
    archive, inside = place.at("archive.tar"), place.at("unpacked")
    os.unlink(tree / "odd" / "socket") # tar leaves it out
    run("tar", *everything, "-cf", archive, "-C", tree, ".")
    os.mkdir(inside)
    run("tar", *everything, "-xpf", archive, "-C", inside)
    same_trees(tree, inside)
    run("tar", *everything, "--compare", "-f", archive, "-C", inside)
    run("tar", *everything, "-cf", place.folder / "again.tar", "-C", inside, ".")
    os.mkdir(place.folder / "again")
    run("tar", *everything, "-xpf", place.folder / "again.tar", "-C", place.folder / "again")
    same_trees(tree, place.folder / "again")
    run("cp", "-a", "--reflink=auto", inside, place.at("copied"))
    same_trees(tree, place.at("copied"))
    shutil.rmtree(inside)
    run("mv", place.at("copied"), inside)
    same_trees(tree, inside)
    run("rm", "-r", inside)
    assert not os.path.lexists(inside)


def test_git(place):
    """Cloned into it, worked on in it, checked, cloned out of it."""
    need("git")
    env = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "HOME": os.fspath(place.folder)}
    for role in ("AUTHOR", "COMMITTER"):
        env.update({"GIT_%s_NAME" % role: "A", "GIT_%s_EMAIL" % role: "a@example.org"})

    def git(where, *args):
        return run("git", *args, cwd=where, env=env)

    def work(where, count):
        """Commits that add, change, move and remove files."""
        for i in range(count):
            for _ in range(4):
                path = os.path.join(where, "d%d" % place.rng.randrange(5), "f%d" % place.rng.randrange(30))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="ascii") as file:
                    file.write("%d\n" % place.rng.randrange(10**9) * place.rng.randrange(200))
            names = git(where, "ls-files").split()
            if names:
                git(where, "rm", "-qf", place.rng.choice(names))
            git(where, "add", "-A")
            git(where, "commit", "-qm", "%d" % i)

    origin, clone = place.folder / "origin", place.at("clone")
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    work(origin, 2 * WORK)
    git(place.folder, "clone", "-q", "--no-local", origin, clone)
    with place.syncing():
        git(clone, "switch", "-qc", "side")
        work(clone, WORK)
        git(clone, "switch", "-q", "main")
        assert git(clone, "status", "--porcelain") == ""
        git(clone, "merge", "-q", "--no-ff", "-m", "merge", "side")
        git(clone, "gc", "-q", "--prune=now")
        work(clone, rounds(1, 2))
    git(clone, "fsck", "--full", "--strict")
    assert git(clone, "status", "--porcelain") == ""
    git(place.folder, "clone", "-q", "--no-local", clone, "back")
    assert git(place.folder / "back", "rev-parse", "HEAD^{tree}") == git(clone, "rev-parse", "HEAD^{tree}")
    git(place.folder / "back", "fsck", "--full", "--strict")


WRITER = """
import random, sqlite3, sys
path, mode, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
db = sqlite3.connect(path, timeout=120, isolation_level=None)
assert db.execute("PRAGMA journal_mode=%s" % mode).fetchone()[0] == mode
for i in range(count):
    db.execute("BEGIN IMMEDIATE")
    for j in range(4):
        db.execute("INSERT INTO t(who, n, data) VALUES (?, ?, ?)", (seed, i * 4 + j, rng.randbytes(rng.randrange(3000))))
    db.execute("UPDATE sums SET n = n + 4")
    if i % 5 == 4:
        db.execute("DELETE FROM t WHERE who = ? AND n < ?", (seed, i * 2))
    db.execute("COMMIT" if i % 7 else "ROLLBACK")
"""


def test_sqlite(place):
    """Two processes write into one database; it is whole, and every transaction is in it or not."""
    for mode in ("delete", "wal"):
        write_database(place, place.at("db %s.sqlite" % mode), mode, 8 * WORK)


def write_database(place, path, mode, count):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute("PRAGMA journal_mode=%s" % mode).fetchone()[0] == mode
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, who INT, n INT, data BLOB)")
        db.execute("CREATE INDEX by_who ON t(who, n)")
        db.execute("CREATE TABLE sums(n INT)")
        db.execute("INSERT INTO sums VALUES (0)")
    with place.syncing():
        writers = [subprocess.Popen(["/usr/bin/python3", "-c", WRITER, path, mode, str(seed), str(count)], stdin=subprocess.DEVNULL)
                   for seed in (1, 2)]
        try:
            assert [writer.wait(600) for writer in writers] == [0, 0]
        finally:
            for writer in writers:
                writer.kill()
                writer.wait()
    committed = 4 * sum(1 for i in range(count) if i % 7)
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT n FROM sums").fetchone()[0] == 2 * committed
        rng = {seed: random.Random(seed) for seed in (1, 2)}
        wanted = {(seed, n): rng[seed].randbytes(rng[seed].randrange(3000)) for seed in (1, 2) for n in range(4 * count)}
        rows = db.execute("SELECT who, n, data FROM t").fetchall()
        assert rows and all(wanted[who, n] == data for who, n, data in rows)


def test_fio(place):
    """What fio wrote at random it reads again; its blocks carry their checksums."""
    need("fio")
    with place.syncing():
        for engine, more in (("psync", []), ("mmap", []), ("libaio", ["--direct=1", "--iodepth=4"])):
            run("fio", "--name=" + engine, "--directory=%s" % place.at(), "--ioengine=%s" % engine, "--rw=randwrite", "--bsrange=4k-64k",
                "--blockalign=4k", "--size=%dm" % WORK, "--numjobs=2", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
                "--fallocate=none", "--end_fsync=1", "--verify_state_save=0", "--randseed=%d" % place.rng.randrange(10**9), "--output-format=terse", *more)


PROCESSES, FOLDERS, CONTESTED = 32, 3, 10


def read_replaced(path):
    """What is there. The kernel looks a name up anew once if it was replaced before it was opened; where that happens twice running,
    as it does with 32 processes, the mount cannot open what is gone."""
    for _ in range(50):
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    raise AssertionError("stale again and again")


def busy(root, who, seed, turns, report):
    """One process makes, links, renames and removes files of its own in folders of all, and fights for the names of nobody.
    What it has in the end it writes down: name → bytes, and the contested names that it got."""
    rng, own, won = random.Random(seed), {}, []

    def fresh(turn):
        return "f%d/%d-%d" % (rng.randrange(FOLDERS), who, turn)
    for turn in range(turns):
        kind = rng.randrange(8)
        name = rng.choice(sorted(own)) if own else None
        if kind < 3 or not name:
            path, data = fresh(turn), b"%d of %d " % (turn, who) * rng.randrange(1, 500)
            with open(os.path.join(root, path), "xb") as file:
                file.write(data)
            own[path] = data
        elif kind == 3:
            path = fresh(turn)
            os.rename(os.path.join(root, name), os.path.join(root, path))
            own[path] = own.pop(name)
        elif kind == 4 and len(own) > 1:
            other = rng.choice(sorted(set(own) - {name}))
            os.rename(os.path.join(root, name), os.path.join(root, other)) # replaces
            own[other] = own.pop(name)
        elif kind == 5:
            os.unlink(os.path.join(root, name))
            del own[name]
        elif kind == 6:
            folder = os.path.join(root, fresh(turn))
            os.mkdir(folder)
            os.rename(os.path.join(root, name), folder + "/in")
            os.rename(folder + "/in", os.path.join(root, name))
            os.rmdir(folder)
        else:
            with open(os.path.join(root, name), "ab") as file:
                file.write(b"more")
            own[name] += b"more"
            assert os.stat(os.path.join(root, name)).st_size == len(own[name])
    for i in range(CONTESTED):
        try:
            os.close(os.open(os.path.join(root, "contested %d" % i), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            won.append(i)
        except FileExistsError:
            pass
        mine = os.path.join(root, "last %d" % who)
        with open(mine, "wb") as file:
            file.write(b"%d\n" % who * 1000)
        os.rename(mine, os.path.join(root, "last"))
        lines = read_replaced(os.path.join(root, "last")).split(b"\n") # one of them, whole
        assert len(lines) == 1001 and len(set(lines[:-1])) == 1
    with open(report, "w", encoding="ascii") as file:
        file.write(repr((own, won)))


def in_processes(count, does):
    """Forks as many, each does(number); all must end well."""
    children = []
    for who in range(count):
        child = os.fork()
        if child == 0:
            try:
                does(who)
                os._exit(0)
            except BaseException as error: # pylint: disable=broad-except
                where = traceback.extract_tb(error.__traceback__)[-1]
                os.write(2, ("process %d: %s: %r\n" % (who, where.line, error)).encode())
            finally:
                os._exit(1)
        children.append(child)
    failed = [child for child in children if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0]
    assert failed == [], "%d of %d processes failed" % (len(failed), count)


def test_many_processes(place):
    """Each of 32 processes finds what it left, nobody's files are lost or doubled, and a contested name has one winner."""
    root = place.at("many")
    for i in range(FOLDERS):
        os.makedirs(os.path.join(root, "f%d" % i))
    seeds = [place.rng.randrange(10**9) for _ in range(PROCESSES)]
    reports = [place.folder / ("report %d" % i) for i in range(PROCESSES)]
    with place.syncing():
        in_processes(PROCESSES, lambda who: busy(root, who, seeds[who], 10 * WORK, reports[who]))
    wanted, winners = {}, []
    for report in reports:
        own, won = eval(report.read_text(encoding="ascii")) # pylint: disable=eval-used; written above
        wanted.update(own)
        winners += won
    assert sorted(winners) == list(range(CONTESTED))
    found = {}
    for i in range(FOLDERS):
        for name in os.listdir(os.path.join(root, "f%d" % i)):
            with open(os.path.join(root, "f%d" % i, name), "rb") as file:
                assert found.setdefault("f%d/%s" % (i, name), file.read()) is not None
    assert sorted(found) == sorted(wanted)
    assert found == wanted
    assert sorted(os.listdir(root)) == sorted(["f%d" % i for i in range(FOLDERS)] + ["contested %d" % i for i in range(CONTESTED)] + ["last"])


CONFIG = """[global]
server role = standalone server
workgroup = TEST
smb ports = {port}
interfaces = 127.0.0.1/8
bind interfaces only = yes
map to guest = bad user
load printers = no
disable spoolss = yes
log file = {state}/log
log level = 1
private dir = {state}
lock directory = {state}
state directory = {state}
cache directory = {state}
pid directory = {state}
ncalrpc dir = {state}/ncalrpc
[pool]
path = {path}
guest ok = yes
read only = no
force user = root
store dos attributes = yes
"""


@contextlib.contextmanager
def samba(path, state):
    """smbd on a free port of the loopback; yields that."""
    state.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (state / "smb.conf").write_text(CONFIG.format(port=port, state=state, path=path), encoding="utf-8")
    with open(state / "out", "wb") as out:
        server = subprocess.Popen(["smbd", "-F", "-s", state / "smb.conf"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        def listens():
            assert server.poll() is None, (state / "out").read_text() + (state / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                return True
            return False
        until(listens)
        yield port
    finally:
        end_session(server)


def end_session(server):
    """smbd makes a session of its own, with its helpers; ended before it did, it has none."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            server.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
            return


def test_samba(place):
    """A client puts, gets, renames and deletes through smbd, which exports the mount."""
    need("smbd", "smbclient")
    exported, here = place.at("exported"), place.folder / "client"
    os.mkdir(exported)
    (here / "sent" / "deep").mkdir(parents=True)
    content = {name: place.rng.randbytes(size) for name, size in
               (("one", 3_000_000), ("two words", 70_000), ("empty", 0), ("deep/three", 100_000))}
    for name, data in content.items():
        (here / "sent" / name).write_bytes(data)
    with samba(exported, place.folder / "samba") as port:
        def client(*commands):
            return run("smbclient", "//127.0.0.1/pool", "-p", str(port), "-s", place.folder / "samba" / "smb.conf", "-N", "-U", "guest%",
                       "-c", "; ".join(commands), cwd=here)
        client("prompt off", "recurse on", "lcd sent", "mput *")
        for name, data in content.items():
            with open(os.path.join(exported, name), "rb") as file:
                assert file.read() == data, name
        listed = client("recurse on", "ls")
        assert all(os.path.basename(name) in listed for name in content)
        with place.syncing():
            said = client("rename one renamed", "mkdir new", "rename \"two words\" new/two", "rename deep moved", "del empty",
                   "put sent/one new/again", "rename new/again renamed -f")
        assert sorted(os.listdir(exported)) == ["moved", "new", "renamed"], said
        assert os.listdir(os.path.join(exported, "new")) == ["two"]
        said = client("get renamed got1", "get new/two got2", "get moved/three got3", "allinfo renamed")
        for got, name in (("got1", "one"), ("got2", "two words"), ("got3", "deep/three")):
            assert (here / got).exists(), said
            assert (here / got).read_bytes() == content[name]
        client("deltree moved", "del new/two", "rmdir new", "del renamed")
        assert os.listdir(exported) == []
