# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole test run in another release: what is unmounted outside goes, whatever that run is at."""
import itertools
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from mounts import mounts, need_fuse

LIB = pathlib.Path(__file__).parents[2] / "tools/lib-chroot.sh"


PROGRAMS = ("sh", "mount", "umount", "unshare", "cat")


def files_of(program):
    """Itself, and what it is loaded with."""
    path = shutil.which(program)
    loads = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    return [path, *re.findall(r"(/\S+)", loads)]


@pytest.fixture(name="root")
def make_root(tmp_path):
    """A release of a few programs. Copies: what is mounted in a folder of a test may be removed with it one day."""
    need_fuse()
    root = tmp_path / "release"
    for name in ("proc", "sys", "dev", "mnt"):
        (root / name).mkdir(parents=True)
    for file in {file for program in PROGRAMS for file in files_of(program)}:
        place = root / file[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    return root


def test_another_release_holds_no_mount(mrmr, tmp_path, root):
    """Nor do the namespaces that are made in it, which see nothing of what is mounted outside; and what is mounted in it shows nowhere else."""
    (tmp_path / "red").mkdir()
    mrmr.run("add-drive", tmp_path / "red", "--name", "red")
    script = "mount -t tmpfs inside /mnt; unshare --mount sh -c 'cat /proc/self/mounts && echo && read line'"
    with mounts(mrmr, tmp_path) as mount:
        one = mount()
        with subprocess.Popen(["bash", "-c", '. "$0"; mrmr_release_enter "$1" sh -c "$2"', LIB, root, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as inside:
            seen = [line.split()[:3] for line in itertools.takewhile("\n".__ne__, inside.stdout)]
            try:
                assert [what for what, at, _ in seen if at == "/mnt"] == ["inside"], seen
                assert {"/proc", "/sys", "/dev", "/dev/pts", "/dev/shm"} <= {at for _, at, _ in seen}, seen
                assert "fuse.mrmr" not in {kind for _, _, kind in seen}, seen
                assert not os.path.ismount("/mnt")
                one.stop()
                assert inside.poll() is None
            finally:
                inside.stdin.close()
