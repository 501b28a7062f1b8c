# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a process that ought to have ended: where it and its children stand, and who else may hold what it serves."""
import contextlib
import os
import pathlib
import shutil
import subprocess

PROC = pathlib.Path("/proc")


def text_of(path):
    try:
        return path.read_text(errors="replace").replace("\0", " ").strip()
    except OSError as error:
        return error.strerror


def pids():
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def parent_of(pid):
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def with_children(pid):
    """It, and what it has started, and what that has: the eldest first."""
    found, parents = [pid], {other: parent_of(other) for other in pids()}
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def threads(pid):
    """What the kernel says of each."""
    lines = []
    for task in sorted((PROC / str(pid) / "task").glob("*"), key=lambda task: int(task.name)):
        state = text_of(task / "stat").rpartition(")")[2].split()[:1]
        lines.append("thread %s %s %s: in %s, call %s" % (task.name, text_of(task / "comm"), *state, text_of(task / "wchan"), text_of(task / "syscall")))
        lines += ["    " + line for line in text_of(task / "stack").splitlines()]
    return lines


def calls(pid):
    """What the debugger says, where there is one."""
    if not shutil.which("gdb"):
        return ["no gdb is installed"]
    try:
        done = subprocess.run(["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "set pagination off", "-ex", "thread apply all bt"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return ["gdb took too long"]
    return [line for line in done.stdout.splitlines() if line.startswith(("Thread ", "#"))] or done.stderr.splitlines()


def other_namespaces():
    """A mount that was taken down lives on where its namespace was copied meanwhile."""
    ours, lines = os.readlink(PROC / "self/ns/mnt"), []
    for pid in pids():
        with contextlib.suppress(OSError):
            where = os.readlink(PROC / str(pid) / "ns/mnt")
            if where != ours and text_of(PROC / str(pid) / "cmdline"):
                lines.append("%s: %d, its root %s: %s" % (where, pid, os.readlink(PROC / str(pid) / "root"), text_of(PROC / str(pid) / "cmdline")))
    return lines


def stuck(pid):
    """All of that; it takes a while."""
    lines = []
    for one in with_children(pid):
        lines += ["--- %d: %s" % (one, text_of(PROC / str(one) / "cmdline")), *threads(one), *calls(one)]
    return "\n".join([*lines, "--- processes in mount namespaces of their own, which may hold what was unmounted in this one:", *other_namespaces()])
