# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed beside the command: systemd takes the units, mount(8)'s helper leads to the program, the pages are there."""
import os
import pathlib
import shutil
import subprocess

import pytest

BUILD = pathlib.Path(os.environ["MRMR_BIN"]).parents[1]


@pytest.fixture(name="installed")
def make_installed(tmp_path):
    subprocess.run(["cmake", "--install", BUILD], check=True, capture_output=True, env=dict(os.environ, DESTDIR=os.fspath(tmp_path)))
    found = {path.name: path for path in tmp_path.rglob("*") if not path.is_dir() and "bash-completion" not in path.parts}
    return tmp_path, found


def test_all_of_it_is_there(installed):
    root, found = installed
    assert {"mrmr", "mrmr-mount", "mount.fuse.mrmr", "mrmr.1", "mrmr-mount.service", "mrmr-mount@.service"} <= set(found)
    target = os.readlink(found["mount.fuse.mrmr"])
    assert root / target.lstrip("/") == found["mrmr-mount"]
    said = subprocess.run([found["mrmr"], "mount", "--help"], check=True, capture_output=True, text=True).stdout
    assert "usage: mrmr mount" in said
    # The command finds the other program beside itself.
    done = subprocess.run([found["mrmr"], "--pool", root / "none", "mount", root], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "there is no pool" in done.stderr


@pytest.mark.parametrize("unit, options", [("mrmr-mount.service", ["--user"]), ("mrmr-mount@.service", [])])
def test_systemd_takes_the_units(installed, unit, options):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    root, found = installed
    text = found[unit].read_text()
    binary = found["mrmr"]
    text = text.replace("/" + os.fspath(binary.relative_to(root)), os.fspath(binary))
    assert os.fspath(binary) in text
    made = root / unit.replace("@", "@mnt-pool")
    made.write_text(text)
    done = subprocess.run(["systemd-analyze", *options, "verify", "--man=no", made], capture_output=True, text=True, check=False,
                          env=dict(os.environ, XDG_RUNTIME_DIR=os.fspath(root)))
    ours = [line for line in done.stderr.splitlines() if "mrmr" in line]
    assert ours == [], done.stderr
