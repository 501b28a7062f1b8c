# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libfuse there is, and what it is asked by the kernel."""
import contextlib
import os
import re
import subprocess

from mounts import is_mounted, until


def libfuse():
    said = subprocess.run(["fusermount3", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said)[-3:])


NEW = libfuse() >= (3, 17, 0) if os.path.exists("/dev/fuse") else False


@contextlib.contextmanager
def counted(place, *options):
    """A mount that tells of each request: yields its point, and a function that gives opcode → count of what the kernel asked while
    something was done."""
    point, log = place.folder / "counted", place.folder / "requests"
    point.mkdir()
    with open(log, "ab") as file:
        process = subprocess.Popen([os.path.join(os.path.dirname(place.mrmr.bin), "mrmr-mount"), "--pool", place.mrmr.dir,
                                    "-f", "-v", "-o", ",".join(("debug", "nodaemon") + options), point], stderr=file, stdin=subprocess.DEVNULL)

    def requests(does):
        at = os.path.getsize(log)
        does()
        counts = {}
        for name in re.findall(r"opcode: (\w+)", log.read_bytes()[at:].decode(errors="replace")):
            counts[name] = counts.get(name, 0) + 1
        return counts
    try:
        until(lambda: is_mounted(point))
        yield point, requests
    finally:
        subprocess.run(["umount", "-l", point], check=True)
        process.wait(60)
