# SPDX-License-Identifier: GPL-3.0-or-later
"""Where `tools/bench` measures: loop-mounted ext4 drives, and the mounts over them: mergerfs, mrmr, and a null daemon over nothing."""
import os
import shutil
import subprocess
import sys
import time

# What mergerfs recommends, and new files to the drive with the most free space, as mrmr places them.
MERGERFS = "allow_other,use_ino,cache.files=auto-full,dropcacheonclose=true,category.create=mfs"
TICKS = os.sysconf("SC_CLK_TCK")


def drop_caches():
    """What is written already; of the whole machine, since nothing less can be said."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")


class Drives:
    """Loop-mounted ext4 images under one folder."""

    def __init__(self, work):
        self.work, self.made = work, []

    def make(self, name, gigabytes=10):
        image, root = os.path.join(self.work, name + ".img"), os.path.join(self.work, name)
        with open(image, "wb") as f:
            f.truncate(gigabytes << 30)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_journal_init=1", image], check=True)
        os.makedirs(root)
        # What mkfs left to do is left undone: no thread of the kernel's writes beside what is measured.
        subprocess.run(["mount", "-o", "loop,noinit_itable", image, root], check=True)
        self.made.append(name)
        return root

    def lose(self, name):
        subprocess.run(["umount", os.path.join(self.work, name)], check=True)
        os.unlink(os.path.join(self.work, name + ".img"))
        self.made.remove(name)

    def close(self):
        for name in self.made:
            subprocess.run(["umount", "-l", os.path.join(self.work, name)], check=False)


class Place:
    """A folder to work in, of a file system of its own: path; name; the drives below."""

    def __init__(self, name, path, roots=()):
        self.name, self.path, self.roots = name, path, list(roots)
        self.process = None

    def at(self, *parts):
        return os.path.join(self.path, *parts)

    def serve(self, command, env=None):
        """Start what serves the mount, and wait until it does."""
        os.makedirs(self.path, exist_ok=True)
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not os.path.ismount(self.path):
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit("%s does not mount: %s" % (self.name, " ".join(command)))
            time.sleep(0.01)

    def cpu(self):
        """Seconds of the daemon's threads so far; None: there is no daemon."""
        if not self.process:
            return None
        with open("/proc/%d/stat" % self.process.pid, encoding="ascii", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def settle(self):
        """What was written is on the drives: nothing of it is left to the next job."""
        for root in self.roots:
            subprocess.run(["sync", "-f", root], check=True)

    def close(self):
        if not self.process:
            return
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Mrmr(Place):
    def __init__(self, options, path, pool, roots):
        super().__init__("mrmr", path, roots)
        self.options, self.env = options, dict(os.environ, MRMR_POOL=pool)
        for root in roots:
            self.run("add-drive", root)

    def run(self, *args):
        done = subprocess.run([self.options.mrmr, *args], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit("mrmr %s: %s" % (" ".join(args), done.stderr))

    def mount(self, options="nodaemon"):
        self.serve([self.options.mrmr, "mount", "-f", "-o", options, self.path], self.env)


def need(options):
    if not shutil.which("mergerfs"):
        sys.exit("mergerfs is not installed: apt install mergerfs")
    for program, target in ((options.mrmr, "mrmr"), (options.null, "null_fs")):
        if not os.access(program, os.X_OK):
            sys.exit("%s is not there: build it (ninja -C build/gcc %s), or say where it is" % (program, target))


def make_places(options, drives, opened):
    """The four, mounted; each is in `opened` as soon as it is to be closed."""
    def folder(name):
        return os.path.join(drives.work, name)

    bare = Place("ext4", drives.make("ext4"))
    bare.roots = [bare.path]
    opened.append(bare)
    theirs = Place("mergerfs", folder("mergerfs"), [drives.make("m%d" % i) for i in range(4)])
    opened.append(theirs)
    theirs.serve(["mergerfs", "-f", "-o", MERGERFS, ":".join(theirs.roots), theirs.path])
    null = Place("null", folder("null"))
    opened.append(null)
    null.serve([options.null, null.path])
    ours = Mrmr(options, folder("mrmr"), folder("pool"), [drives.make("d%d" % i) for i in range(4)])
    opened.append(ours)
    ours.mount()
    return bare, theirs, null, ours
