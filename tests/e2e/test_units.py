# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed beside the command: systemd takes the units, mount(8)'s helper leads to the program, the pages are there."""
import os
import pathlib
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile

import pytest

from mounts import need_fuse, until
from systemd import PROGRAM, systemd, write_units

BUILD = pathlib.Path(os.environ["MRMR_BIN"]).parents[1]


@pytest.fixture(name="installed")
def make_installed(tmp_path):
    subprocess.run(["cmake", "--install", BUILD], check=True, capture_output=True, env=dict(os.environ, DESTDIR=os.fspath(tmp_path)))
    found = {path.name: path for path in tmp_path.rglob("*") if not path.is_dir() and "bash-completion" not in path.parts}
    return tmp_path, found


def unit_text(root, found, unit, program):
    """As it is installed, with the path at which the program lies here."""
    installed_as = "/" + os.fspath(found["mrmr"].relative_to(root))
    text = found[unit].read_text()
    assert installed_as in text
    return text.replace(installed_as, os.fspath(program))


def test_all_of_it_is_there(installed):
    root, found = installed
    assert {"mrmr", "mrmr-mount", "mount.fuse.mrmr", "mrmr.1", "mrmr-mount.service", "mrmr-mount@.service", "mrmr-daemon.service"} <= set(found)
    target = os.readlink(found["mount.fuse.mrmr"])
    assert root / target.lstrip("/") == found["mrmr-mount"]
    said = subprocess.run([found["mrmr"], "mount", "--help"], check=True, capture_output=True, text=True).stdout
    assert "usage: mrmr mount" in said
    # The command finds the other program beside itself.
    done = subprocess.run([found["mrmr"], "--pool", root / "none", "mount", root], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "there is no pool" in done.stderr


@pytest.mark.parametrize("unit, options", [("mrmr-mount.service", ["--user"]), ("mrmr-mount@.service", []), ("mrmr-daemon.service", ["--user"])])
def test_systemd_takes_the_units(installed, unit, options):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    root, found = installed
    made = root / unit.replace("@", "@mnt-pool")
    made.write_text(unit_text(root, found, unit, found["mrmr"]))
    done = subprocess.run(["systemd-analyze", *options, "verify", "--man=no", made], capture_output=True, text=True, check=False,
                          env=dict(os.environ, XDG_RUNTIME_DIR=os.fspath(root)))
    ours = [line for line in done.stderr.splitlines() if "mrmr" in line]
    assert ours == [], done.stderr


def serving(program):
    """The process of a mount by this program, not its watchdog."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink("/proc/%s/exe" % pid) == os.fspath(program) and \
                    pathlib.Path("/proc", pid, "comm").read_text().strip() == "mrmr-mount":
                return int(pid)
        except OSError:
            pass
    return None


def test_the_user_s_unit_comes_back(installed):
    """Also while somebody sits in a mount whose process died: what systemd would run then, in its order."""
    need_fuse()
    root, found = installed
    home = root / "home"
    point, env = home / "Pool", dict(os.environ, MRMR_POOL=os.fspath(root / "pool"), HOME=os.fspath(home))
    text = unit_text(root, found, "mrmr-mount.service", found["mrmr"]).replace("%h", os.fspath(home))

    def runs(key, must=True):
        for may_fail, line in re.findall("^%s=(-?)(.*)$" % key, text, re.MULTILINE):
            done = subprocess.run(shlex.split(line), env=env, capture_output=True, text=True, check=False, timeout=60,
                                  stdin=subprocess.DEVNULL)
            assert done.returncode == 0 or may_fail or not must, (line, done.stderr)
    (root / "red").mkdir()
    (root / "red/one").write_bytes(b"1")
    subprocess.run([found["mrmr"], "add-drive", root / "red"], check=True, capture_output=True, env=env)
    sitting = None
    try:
        runs("ExecStartPre")
        runs("ExecStart")
        sitting = subprocess.Popen(["sleep", "1000"], cwd=point)
        (point / "two").write_bytes(b"2") # the kernel has no attributes of the root's any more
        os.kill(serving(found["mrmr-mount"]), 9)
        until(lambda: not os.path.exists(point / "one"))
        runs("ExecStop", must=False)
        runs("ExecStartPre")
        runs("ExecStart")
        assert (point / "one").read_bytes() == b"1"
        sitting.kill()
        sitting.wait()
        runs("ExecStop")
        assert os.listdir(point) == []
    finally:
        if sitting:
            sitting.kill()
            sitting.wait()
        while subprocess.run(["umount", "-l", point], capture_output=True, check=False).returncode == 0:
            pass


def pool_of_one(folder, program):
    (folder / "red").mkdir()
    (folder / "red/one").write_text("1")
    subprocess.run([program, "--pool", folder / "pool", "add-drive", folder / "red"], check=True, capture_output=True)


def serves(run, control, unit, point, mrmr):
    """A unit comes back when its process was killed, stays down when the mount was taken down by hand, and is stopped."""
    def shows(key):
        return run(*control, "show", "--property", key, "--value", unit).strip()
    run(*control, "start", unit)
    assert run("cat", point / "one") == "1"
    killed = shows("MainPID")
    run("kill", "-9", killed)
    until(lambda: shows("NRestarts") == "1" and shows("ActiveState") == "active")
    assert shows("MainPID") != killed and run("cat", point / "one") == "1"
    run("sh", "-c", 'printf 2 >"$0"', point / "two")
    run(mrmr, "umount", point)
    until(lambda: shows("ActiveState") == "inactive")
    assert shows("Result") == "success"
    run(*control, "start", unit)
    assert run("cat", point / "two") == "2"
    run(*control, "stop", unit)
    assert shows("Result") == "success" and run("ls", point) == ""


def test_started_by_systemd(installed):
    need_fuse()
    root, found = installed
    point = root / "mnt"
    point.mkdir()
    pool_of_one(root, found["mrmr"])
    text = unit_text(root, found, "mrmr-mount@.service", found["mrmr"])
    text = text.replace("MRMR_POOL=/var/lib/mrmr", "MRMR_POOL=%s" % (root / "pool"))
    with systemd(root, {"mrmr-mount@.service": text}) as one:
        instance = one.run("systemd-escape", "--path", point).strip()
        serves(one.run, ["systemctl"], "mrmr-mount@%s.service" % instance, point, found["mrmr"])


THEIRS = """[Service]
Type=notify
User=%(name)s
Delegate=yes
Environment=%(environment)s SYSTEMD_UNIT_PATH=%(home)s/units
ExecStartPre=+/usr/bin/install -d -m 700 -o %(name)s /run/theirs
ExecStart=%(systemd)s --user --unit=default.target
"""


def test_started_by_a_user_s_systemd(installed):
    need_fuse()
    root, found = installed
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="mrmr-units-", dir="/tmp", ignore_cleanup_errors=True) as name:
        home = pathlib.Path(name)
        for program in ("mrmr", "mrmr-mount"):
            shutil.copy(found[program], home)
        pool_of_one(home, home / "mrmr")
        write_units(home / "units", {"mrmr-mount.service": unit_text(root, found, "mrmr-mount.service", home / "mrmr")})
        subprocess.run(["chown", "-R", user.pw_name, home], check=True)
        environment = "XDG_RUNTIME_DIR=/run/theirs HOME=%s MRMR_POOL=%s PATH=/usr/bin:/bin" % (home, home / "pool")
        theirs = THEIRS % {"name": user.pw_name, "home": home, "systemd": PROGRAM, "environment": environment}
        with systemd(root, {"theirs.service": theirs}) as one:
            def as_them(*command):
                return one.run("setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", "env",
                               *environment.split(), *command)
            one.run("systemctl", "start", "theirs.service")
            serves(as_them, ["systemctl", "--user"], "mrmr-mount.service", home / "Pool", home / "mrmr")


def test_a_daemon_s_unit_is_stopped(installed):
    """What somebody gave it to do goes on to its end."""
    root, found = installed
    pool_of_one(root, found["mrmr"])
    (root / "blue").mkdir()
    pool = "MRMR_POOL=%s" % (root / "pool")
    text = unit_text(root, found, "mrmr-daemon.service", found["mrmr"]).replace("[Service]\n", "[Service]\nEnvironment=%s\n" % pool)
    with systemd(root, {"mrmr-daemon.service": text}) as one:
        one.run(found["mrmr"], "--pool", root / "pool", "add-drive", root / "blue", check=False)
        one.run("systemctl", "start", "mrmr-daemon.service")
        until(lambda: (root / "pool/socket").exists())
        main = one.run("systemctl", "show", "--property", "MainPID", "--value", "mrmr-daemon.service").strip()
        said = root / "said"
        one.run("sh", "-c", '(LD_PRELOAD="$3" "$0" --pool "$1" scrub >"$2" 2>&1; echo "code $?" >>"$2") >/dev/null 2>&1 &', found["mrmr"],
                root / "pool", said, os.environ["MRMR_STANDS_STILL"])
        child = until(lambda: one.run("pgrep", "-P", main, "-r", "T", check=False).split())[0]
        one.run("systemctl", "stop", "--no-block", "mrmr-daemon.service")
        until(lambda: not (root / "pool/socket").exists())
        one.run("kill", "-CONT", child)
        until(lambda: said.exists() and "code" in said.read_text())
        assert said.read_text().splitlines()[-1] == "code 0", said.read_text()
        until(lambda: one.run("systemctl", "show", "--property", "ActiveState", "--value", "mrmr-daemon.service").strip() == "inactive")
        assert one.run("systemctl", "show", "--property", "Result", "--value", "mrmr-daemon.service").strip() == "success"
