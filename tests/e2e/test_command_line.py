# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line itself: usage, help, which pool it is, the man page and the completion."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(os.environ["MRMR_SOURCE"])
COMMANDS = ["init", "add-drive", "drives", "status", "sync", "scrub", "rebuild", "set-redundancy", "ls", "where", "cat",
            "set", "get", "events", "check"]


@pytest.mark.parametrize("args, words", [
    ([], "say what to do"),
    (["frobnicate"], "'frobnicate'"),
    (["help", "frobnicate"], "'frobnicate'"),
    (["--frob", "status"], "'--frob'"),
    (["-x"], "'-x'"),
    (["sync", "--frob"], "'--frob'"),
    (["sync", "--repair"], "'--repair'"),
    (["ls", "-lx"], "'-x'"),
    (["sync", "extra"], "'extra'"),
    (["where"], "PATH"),
    (["where", "a", "b"], "'b'"),
    (["set", "redundancy"], "KEY VALUE"),
    (["scrub", "--percent"], "'--percent'"),
    (["scrub", "--percent", "101"], "'101'"),
    (["scrub", "--percent", "0"], "'0'"),
    (["scrub", "--percent", "ten"], "'ten'"),
    (["scrub", "--older-than", "yesterday"], "'yesterday'"),
    (["scrub", "--repair=yes"], "'--repair=yes'"),
    (["events", "--last", "-1"], "'-1'"),
    (["add-drive", "--reserve", "much", "/"], "'much'"),
    (["mount", "-o", "ro", "-o", "noexec", "/"], "'--options' is given twice"),
    (["--pool"], "'--pool'"),
])
def test_wrong_usage_names_what_is_wrong_and_where_help_is(mrmr, args, words):
    done = mrmr.run(*args, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("mrmr: ") and words in done.stderr and "--help" in done.stderr
    assert not mrmr.dir.exists()


def test_redundancy_that_is_no_number_is_wrong_usage(mrmr):
    mrmr.run("init")
    for bad in ("0", "9", "two", "-1"):
        assert "1 to 8" in mrmr.run("set-redundancy", "--", bad, code=2).stderr


def test_help(mrmr):
    general = mrmr.run("--help").stdout
    assert mrmr.run("help").stdout == mrmr.run("-h").stdout == general
    for name in COMMANDS:
        assert re.search(r"^  %s\b" % name, general, re.M)
        own = mrmr.run(name, "--help").stdout
        assert own.startswith("usage: mrmr " + name) and mrmr.run("help", name).stdout == own
    assert "--older-than" in mrmr.run("scrub", "--help").stdout


def test_version(mrmr):
    version = mrmr.run("--version").stdout
    assert re.fullmatch(r"mrmr \d+\.\d+\.\d+\n", version) and mrmr.run("version").stdout == version


def test_options_may_stand_before_and_after_the_command(mrmr):
    other = mrmr.folder / "other"
    mrmr.run("--pool", other, "init")
    assert not mrmr.dir.exists()
    assert mrmr.json("status", "--pool", other)["pool"] == os.fspath(other)
    assert mrmr.run("--json", "--pool=%s" % other, "status").stdout.startswith("{")


def test_a_path_that_looks_like_an_option(mrmr):
    mrmr.fill("red")
    (mrmr.drive("red") / "-l").write_bytes(b"minus l")
    mrmr.run("add-drive", mrmr.drive("red"))
    mrmr.run("sync", code=3)
    assert mrmr.run("cat", "--", "-l").stdout == "minus l"


def test_which_pool_it_is(mrmr):
    """--pool, else MRMR_POOL, else XDG_DATA_HOME, else below the home folder; init makes each."""
    home, data = mrmr.folder / "home", mrmr.folder / "data"
    mrmr.run("init", MRMR_POOL="", XDG_DATA_HOME="")
    assert (home / ".local/share/mrmr/default/catalog.sqlite").exists()
    mrmr.run("init", MRMR_POOL="", XDG_DATA_HOME=str(data))
    assert (data / "mrmr/default/catalog.sqlite").exists()
    mrmr.run("init", XDG_DATA_HOME=str(data))
    assert (mrmr.dir / "catalog.sqlite").exists()
    assert "already" in mrmr.run("init", code=1).stderr
    assert "HOME" in mrmr.run("status", code=1, MRMR_POOL="", HOME="").stderr


def test_no_pool_is_said_with_the_next_step(mrmr):
    for args in (["status"], ["sync"], ["drives"], ["ls"], ["cat", "x"], ["get"]):
        done = mrmr.run(*args, code=1)
        assert str(mrmr.dir) in done.stderr and "mrmr init" in done.stderr and done.stdout == ""
    assert not mrmr.dir.exists()


def test_the_first_drive_makes_the_default_pool(mrmr):
    mrmr.fill("red")
    done = mrmr.run("add-drive", mrmr.drive("red"), MRMR_POOL="")
    assert "made a pool in" in done.stderr
    assert (mrmr.folder / "home/.local/share/mrmr/default/catalog.sqlite").exists()
    mrmr.fill("blue")
    assert "made a pool in" not in mrmr.run("add-drive", mrmr.drive("blue"), MRMR_POOL="").stderr


def test_a_drive_that_is_not_there_makes_no_pool(mrmr):
    (mrmr.folder / "file").write_text("x")
    for place in (mrmr.folder / "nowhere", mrmr.folder / "file"):
        done = mrmr.run("add-drive", place, code=1)
        assert str(place) in done.stderr
    assert not mrmr.dir.exists()


# --- What is installed beside it ---


def test_the_man_page_has_no_warnings_and_names_everything(mrmr):
    page = SOURCE / "docs/mrmr.1"
    if not shutil.which("man"):
        pytest.skip("not installed: man (man-db)")
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", page], capture_output=True, check=False,
                          env=dict(os.environ, MANWIDTH="200", MAN_KEEP_FORMATTING=""))
    assert (done.returncode, done.stderr.decode()) == (0, "")
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout.decode())
    for name in COMMANDS:
        assert re.search(r"^ +%s\b" % name, text, re.M), name
        for option in re.findall(r"--[a-z-]+", mrmr.run(name, "--help").stdout):
            assert option in text, (name, option)
    mrmr.fill("red")
    mrmr.run("add-drive", mrmr.drive("red"))
    for setting in mrmr.json("get")["settings"]:
        key = setting["key"].replace("drive.red.", "drive.NAME.")
        assert re.search(r"^ +%s\b" % re.escape(key), text, re.M), key


def test_the_man_page_has_every_kind_of_event():
    """Those that the sources name where they tell."""
    call = re.compile(r'(?:pool_tell|pool_tell_story|pool_scan_note|pool_scan_note_story)\(([^;]*?)"([a-z-]+)"(?: : "([a-z-]+)")?[,)]')
    kinds = {"damage-found"}
    for source in (SOURCE / "pool").rglob("*.c"):
        kinds.update(kind for found in call.findall(source.read_text()) for kind in found[1:] if kind)
    assert {"drive-lost", "drive-returned", "scrub-done", "rebuild-done", "hold", "stripe-waits", "unreadable"} <= kinds
    page = (SOURCE / "docs/mrmr.1").read_text()
    section = page[page.index(".SH EVENTS"):page.index(".SH SETTINGS")].replace("\\-", "-")
    named = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"^\.TP\n\.BR? (.*)", section, re.M))))
    assert kinds <= named, kinds - named


def test_every_file_of_the_pools_folder_is_listed():
    """docs/CATALOG.md has those that the sources name."""
    name = re.compile(r'^#define \w+_(?:NAME|TEMP|CUT|OLD|PREFIX|LOCK|SOCKET|TRY|LATE|BEGUN|ENDED) "([a-z][a-z.~-]*)"', re.M)
    names = {"changed", "kept", "unplugged", "plugged", "failing", "failed"}
    for folder in ("pool", "tools"):
        for source in (SOURCE / folder).rglob("*.[ch]"):
            names.update(found.rstrip("-") for found in name.findall(source.read_text()) if found != "user.mrmr.")
    assert {"touched", "touched.old", "moved", "gone", "noted", "bring", "late", "over", "rename", "lock", "socket", "daemon", "try-b", "written~"} <= names
    page = (SOURCE / "docs/CATALOG.md").read_text()
    section = page[page.index("## Beside it"):page.index("## How it is kept")] + "`catalog.sqlite`"
    listed = set(re.findall(r"`([a-z.~-]+?)(?:-…)?`", section))
    assert names <= listed, names - listed


def complete(mrmr, *words):
    """What bash offers for the last word."""
    script = """
source "$SOURCE"/tools/mrmr.bash-completion
complete -p mrmr >/dev/null || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_mrmr
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", mrmr.bin, *words], capture_output=True, text=True,
                          check=True, env=dict(mrmr.env, SOURCE=str(SOURCE)))
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_the_completion_loads(mrmr):
    done = subprocess.run(["bash", "--norc", "-c", 'source "$0"; complete -p mrmr', SOURCE / "tools/mrmr.bash-completion"],
                          capture_output=True, text=True, check=True)
    assert done.stdout == "complete -F _mrmr mrmr\n" and done.stderr == ""
    assert set(COMMANDS) <= set(complete(mrmr, ""))


def test_the_completion_knows_every_option(mrmr):
    for name in COMMANDS:
        offered = complete(mrmr, name, "-")
        for option in re.findall(r"--[a-z-]+", mrmr.run(name, "--help").stdout.split("Options", 1)[1]):
            assert option in offered, (name, option)


def test_the_completion_offers_what_the_pool_has(mrmr):
    mrmr.build(["red", "blue"])
    assert complete(mrmr, "rebuild", "r") == ["red"]
    assert complete(mrmr, "rebuild", "red", "--onto", "") == ["red", "blue"]
    assert complete(mrmr, "where", "of-r") == ["of-red/"]
    assert complete(mrmr, "cat", "of-red/file") == ["of-red/file\\ %d.bin" % i for i in range(4)]
    assert "hold-percent" in complete(mrmr, "set", "hold")
    assert complete(mrmr, "--pool", str(mrmr.folder / "nowhere"), "rebuild", "r") == [""]
