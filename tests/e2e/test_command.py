# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command on a small pool: what it does, what it says, its JSON and its exit code."""
import os
import re
import shutil
import subprocess
import time

from loops import loops, need_loops

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{9})?Z")

STATUS = {"pool", "state", "redundancy", "survives", "drives_total", "drives_present", "drives_detached", "files", "file_size",
          "exposed_files", "exposed_size", "changed_files", "changed_since", "exposed_since", "parity_size", "stripes", "margin", "lost_stripes",
          "degraded_size", "detached_size", "damaged_size", "held_files", "held_drives", "storable_size", "reprotectable_size", "domain_unsafe", "conflicts",
          "daemon", "direct_files", "drives", "needs_look", "noted", "suspect_stripes"}
DRIVE = {"name", "uri", "uuid", "slot", "role", "domain", "state", "presence", "why", "hold", "total_size",
         "available_size", "reserve", "max_usage", "files", "file_size", "protected_size", "exposed_size", "changed_files",
         "parity_size", "scanned", "seen"}
ENTRY = {"drive", "type", "mode", "uid", "gid", "size", "mtime", "version", "exposed_size", "survives", "present",
         "degraded"}
SYNC = {"completed", "redundancy", "files", "added", "changed", "moved", "vanished", "unreadable", "held",
        "drives_held", "drives_away", "protected_files", "protected_size", "stripes_made", "stripes_changed",
        "rows_made", "rows_dropped", "skipped", "exposed_files", "exposed_size", "waiting_files", "waiting_size", "settles",
        "lost_size", "needs_look"}
SCRUB = {"completed", "stripes", "stripes_total", "size", "edited", "damaged", "damaged_size", "rows_damaged", "copies_damaged",
         "repaired", "rows_repaired", "lost", "unreadable", "needs_look"}
REBUILD = {"completed", "files", "folders", "others", "size", "kept", "conflicts", "rows", "row_size", "failed",
           "failed_size", "incomplete", "missing_size", "older", "not_lost", "needs_look"}


# --- init, add-drive, drives ---


def test_init_and_an_empty_pool(mrmr):
    assert str(mrmr.dir) in mrmr.run("init").stdout
    assert "no drives" in mrmr.run("drives").stdout
    assert mrmr.json("drives") == {"drives": []}
    assert "add-drive" in mrmr.run("status").stdout
    status = mrmr.json("status")
    assert set(status) == STATUS and status["state"] == "empty" and status["needs_look"] == []
    assert mrmr.json("--pool", str(mrmr.folder / "second"), "init") == {"pool": str(mrmr.folder / "second")}


def test_add_drive_with_everything(mrmr):
    mrmr.fill("red")
    added = mrmr.json("add-drive", mrmr.drive("red"), "--name", "crimson", "--role", "removable", "--domain", "shelf",
                      "--reserve", "1GiB", "--max-usage", "5G")
    assert set(added) == DRIVE
    assert (added["name"], added["role"], added["domain"], added["reserve"], added["max_usage"]) == (
        "crimson", "removable", "shelf", 1 << 30, 5 << 30)
    assert added["uri"] == str(mrmr.drive("red")) and added["presence"] == "present" and added["why"] is None
    assert added["scanned"] is None and TIME.fullmatch(added["seen"])
    assert mrmr.json("drives")["drives"][0]["uuid"] == added["uuid"]
    assert mrmr.run("drives", "--names").stdout == "crimson\n"
    table = mrmr.run("drives").stdout
    assert table.startswith("NAME") and "crimson" in table and "removable" in table


def test_add_drive_takes_a_relative_path(mrmr):
    mrmr.fill("red")
    mrmr.run("init")
    subprocess.run([mrmr.bin, "add-drive", "../drives/red"], cwd=mrmr.dir, env=mrmr.env, check=True,
                   capture_output=True)
    assert mrmr.json("drives")["drives"][0]["uri"] == str(mrmr.drive("red"))


def test_add_drive_says_what_is_wrong(mrmr):
    mrmr.fill("red")
    mrmr.run("add-drive", mrmr.drive("red"))
    inside = mrmr.drive("red") / "of-red"
    assert "inside" in mrmr.run("add-drive", inside, code=1).stderr
    mrmr.fill("blue")
    assert "'mirror'" in mrmr.run("add-drive", mrmr.drive("blue"), "--role", "mirror", code=1).stderr
    assert len(mrmr.json("drives")["drives"]) == 1


# --- status ---


def test_status_goes_with_the_pool(mrmr):
    mrmr.fill("red")
    mrmr.run("add-drive", mrmr.drive("red"))
    done = mrmr.run("status", code=3)
    assert "EXPOSED" in done.stdout and "never looked through" in done.stdout and "mrmr sync" in done.stdout

    mrmr.fill("blue")
    mrmr.run("add-drive", mrmr.drive("blue"))
    mrmr.run("sync")
    done = mrmr.run("status")
    assert "PROTECTED" in done.stdout and "Needs a look" not in done.stdout and "2 of 2 present" in done.stdout
    assert mrmr.run("status", "--quiet").stdout == ""
    status = mrmr.json("status")
    assert set(status) == STATUS and all(set(d) == DRIVE for d in status["drives"])
    assert (status["state"], status["redundancy"], status["survives"], status["files"]) == ("protected", 1, 1, 8)
    assert status["exposed_size"] == 0 and status["exposed_since"] is None
    assert sum(status["margin"]) == status["stripes"] == status["margin"][1]

    os.rename(mrmr.drive("red"), mrmr.folder / "red-is-away")
    done = mrmr.run("status", code=3)
    assert "DEGRADED" in done.stdout and "drive red is away" in done.stdout and "mrmr rebuild" in done.stdout
    assert "Needs a look" in mrmr.run("status", "--quiet", code=3).stdout
    status = mrmr.json("status", code=3)
    assert status["state"] == "degraded" and status["survives"] == 0 and status["needs_look"]
    away = next(d for d in status["drives"] if d["name"] == "red")
    assert away["presence"] == "away" and str(mrmr.drive("red")) in away["why"]

    os.rename(mrmr.drive("blue"), mrmr.folder / "blue-is-away")
    assert mrmr.json("status", code=3)["state"] == "lost"


def test_status_of_new_files_after_a_sync_that_could_not_protect_them(mrmr):
    mrmr.fill("red")
    mrmr.run("add-drive", mrmr.drive("red"))
    done = mrmr.run("sync", code=3)
    assert "exposed" in done.stdout
    status = mrmr.json("status", code=3)
    assert status["state"] == "exposed" and status["exposed_files"] == 4 and TIME.fullmatch(status["exposed_since"])
    assert any("add-drive" in line for line in status["needs_look"])


# --- sync ---


def test_sync_tells_what_it_did(mrmr):
    made = mrmr.fill("red")
    made.update(mrmr.fill("blue"))
    for name in ("red", "blue"):
        mrmr.run("add-drive", mrmr.drive(name))
    report = mrmr.json("sync")
    assert set(report) == SYNC
    assert report["completed"] is True and report["needs_look"] == [] and report["files"] == len(made)
    assert report["protected_size"] == sum(map(len, made.values())) and report["protected_files"] == len(made)
    assert report["stripes_made"] >= 1 and report["redundancy"] == 1
    again = mrmr.json("sync")
    assert again["protected_size"] == again["added"] == again["stripes_made"] == 0
    (mrmr.drive("red") / "new").write_bytes(b"new")
    done = mrmr.run("sync")
    assert "1 added" in done.stdout and "All is protected" in done.stdout
    assert mrmr.run("sync", "--quiet").stdout == ""


def test_sync_leaves_what_is_not_quiet_yet(mrmr):
    """It waits, which needs no look; the report says for when, and a sync at that time takes it."""
    mrmr.build(["red", "blue", "green"])
    new = mrmr.drive("red") / "of-red/new"
    new.write_bytes(b"new")
    report = mrmr.json("sync", "--settle", "1h")
    assert set(report) == SYNC and report["needs_look"] == [] and report["added"] == 1
    assert (report["waiting_files"], report["waiting_size"]) == (report["exposed_files"], report["exposed_size"]) == (1, 3)
    assert TIME.fullmatch(report["settles"])
    seconds, ns = divmod(new.stat().st_ctime_ns, 10**9)
    assert report["settles"] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds + 3600)) + (".%09dZ" % ns if ns else "Z")
    (mrmr.drive("blue") / "newer").write_bytes(b"newer")
    done = mrmr.run("sync", "--settle", "90m")
    assert "2 files, 8 B, wait until they have been quiet for 1 h 30 min.\nAll else is protected" in done.stdout
    assert "Needs a look" not in done.stdout
    assert mrmr.run("sync", "--settle", "1h", "--quiet").stdout == ""
    assert mrmr.json("status", code=3)["exposed_files"] == 2
    end = time.monotonic() + 120
    while (report := mrmr.json("sync", "--settle", "1s"))["waiting_files"]:
        assert time.monotonic() < end
    assert report["exposed_size"] == report["waiting_size"] == 0 and report["settles"] is None
    mrmr.run("status")


def test_sync_takes_all_unless_told_to_wait(mrmr):
    mrmr.build(["red", "blue", "green"])
    assert mrmr.run("get", "settle").stdout == "60\n"
    (mrmr.drive("red") / "new").write_bytes(b"new")
    report = mrmr.json("sync")
    assert report["protected_files"] == 1 and report["waiting_files"] == 0 and report["settles"] is None
    (mrmr.drive("red") / "newer").write_bytes(b"newer")
    assert mrmr.json("sync", "--settle", "0")["protected_files"] == 1
    for value in ("soon", "-1s", "1.5h", ""):
        assert "--settle" in mrmr.run("sync", "--settle", value, code=2).stderr


def test_what_waits_does_not_hide_what_cannot_be_protected(mrmr):
    mrmr.fill("red")
    mrmr.run("add-drive", mrmr.drive("red"))
    assert any("4 files are still exposed" in line for line in mrmr.json("sync", "--settle", "0", code=3)["needs_look"])
    report = mrmr.json("sync", "--settle", "4w")
    assert report["waiting_files"] == 4 and report["needs_look"] == []
    (mrmr.drive("red") / "new").write_bytes(b"new")
    for name in os.listdir(mrmr.drive("red") / "of-red"):
        os.utime(mrmr.drive("red") / "of-red" / name, (9, 9))
    end = time.monotonic() + 120
    while (report := mrmr.json("sync", "--settle", "1s", code=None))["waiting_files"]:
        assert time.monotonic() < end
    assert report["needs_look"] and report["exposed_files"] == 5


def test_sync_with_a_drive_away_needs_a_look_and_goes_on(mrmr):
    mrmr.build(["red", "blue", "green"])
    os.rename(mrmr.drive("red"), mrmr.folder / "away")
    (mrmr.drive("blue") / "new").write_bytes(b"new")
    report = mrmr.json("sync", code=3)
    assert report["drives_away"] == 1 and report["protected_files"] == 1
    assert "drive red is away" in mrmr.run("sync", code=3).stdout


def test_a_hold_needs_the_users_word(mrmr):
    mrmr.build(["red", "blue", "green"], files=30, size=20_000)
    shutil.rmtree(mrmr.drive("red") / "of-red")
    report = mrmr.json("sync", code=3)
    assert report["drives_held"] == 1 and report["vanished"] == 0
    done = mrmr.run("status", code=3)
    assert "held" in done.stdout and "--accept-changes" in done.stdout
    assert next(d for d in mrmr.json("drives")["drives"] if d["name"] == "red")["hold"]
    mrmr.run("sync", "--accept-changes")
    assert mrmr.json("status")["held_drives"] == 0


# --- ls, where, cat ---


def test_ls(mrmr):
    mrmr.build(["red", "blue"], size=3000)
    (mrmr.drive("red") / "sub").mkdir()
    assert mrmr.run("ls").stdout == "of-blue/\nof-red/\n"
    assert mrmr.run("ls", "/of-red/").stdout == mrmr.run("ls", "of-red").stdout == "".join(
        "file %d.bin\n" % i for i in range(4))
    long = mrmr.run("ls", "-l", "of-red").stdout.split("\n")
    assert re.match(r"-rw-r--r--\s+2\.9 KiB\s+20\d\d-\d\d-\d\d \d\d:\d\d\s+red\s+survives 1\s+file 0\.bin$", long[0])
    listing = mrmr.json("ls", "of-red")
    assert listing["path"] == "of-red" and [e["name"] for e in listing["entries"]] == [
        "file %d.bin" % i for i in range(4)]
    entry = listing["entries"][1]
    assert set(entry) == ENTRY | {"name"}
    st = os.stat(mrmr.drive("red") / "of-red/file 1.bin")
    assert (entry["type"], entry["mode"], entry["size"], entry["uid"], entry["drive"], entry["survives"]) == (
        "file", "%04o" % (st.st_mode & 0o7777), 3001, st.st_uid, "red", 1)
    assert TIME.fullmatch(entry["mtime"]) and entry["present"] and not entry["degraded"]
    mrmr.run("sync")
    assert mrmr.json("ls", "sub") == {"path": "sub", "entries": []}
    for path in ("nowhere", "of-red/file 0.bin"):
        done = mrmr.run("ls", "--json", path, code=1)
        assert path in done.stderr and done.stdout == ""


def test_where(mrmr):
    mrmr.build(["red", "blue", "green"])
    for name in ("red", "green"):
        (mrmr.drive(name) / "twice").write_text(name)
        mrmr.run("sync")
    copies = mrmr.json("where", "twice")["copies"]
    assert [c["drive"] for c in copies] == ["green", "red"] and set(copies[0]) == ENTRY
    for path in ("of-red/file 0.bin", "/of-red/file 0.bin", str(mrmr.drive("red") / "of-red/file 0.bin"),
                 str(mrmr.drive("red")) + "//of-red/./file 0.bin"):
        done = mrmr.run("where", path).stdout
        assert re.match(r"red\s+present\s+293 KiB\s.*\ssurvives 1 lost drive\s+version 1$", done.strip()), done
    link = mrmr.folder / "link"
    link.symlink_to(mrmr.drive("red"))
    assert mrmr.json("where", str(link / "of-red/file 0.bin"))["copies"][0]["drive"] == "red"
    assert "nowhere" in mrmr.run("where", "nowhere", code=1).stderr
    os.rename(mrmr.drive("red"), mrmr.folder / "away")
    copy = mrmr.json("where", str(mrmr.drive("red") / "of-red/file 0.bin"))["copies"][0]
    assert copy["degraded"] and not copy["present"] and copy["survives"] == 0
    assert "not there" in mrmr.run("where", "of-red/file 0.bin").stdout


def test_where_of_another_file_and_of_a_further_name(mrmr):
    """What no sync has seen of a file is not claimed: that it is another one, of the same size and time, or that it has a name more, which its drive's loss would take."""
    made = mrmr.build(("red", "green"))
    other, linked, same = list(made)[:3]
    def where(path):
        return mrmr.json("where", path)["copies"][0]
    for path in (other, linked, same):
        assert where(path)["survives"] == 1
    file = mrmr.drive("red") / other
    stat = file.stat()
    (mrmr.drive("red") / "new").write_bytes(bytes(stat.st_size))
    os.utime(mrmr.drive("red") / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.rename(mrmr.drive("red") / "new", file)
    os.link(mrmr.drive("red") / linked, mrmr.drive("red") / "further")
    for path in (other, linked, "further"):
        told = where(path)
        assert told["survives"] == 0 and told["exposed_size"], told
    assert where(same)["survives"] == 1
    mrmr.run("sync", "--accept-changes")
    for path in (other, linked, "further", same):
        assert where(path)["survives"] == 1, path


def test_where_of_what_no_sync_has_seen(mrmr):
    """New and edited files, as they are on their drives now, before what the catalog knows; nothing of ours."""
    mrmr.build(["red", "blue", "green"], files=2)
    def where(path):
        return [[c[k] for k in ("drive", "version", "size", "exposed_size", "survives")] for c in mrmr.json("where", path)["copies"]]
    (mrmr.drive("blue") / "new").write_bytes(b"12345")
    assert where("new") == [["blue", 0, 5, 5, 0]]
    assert re.search(r"survives no loss, 5 B exposed\s+no sync has seen it$", mrmr.run("where", "new").stdout.strip())
    (mrmr.drive("green") / "of-red").mkdir()
    for drive, text in (("green", b"1234567"), ("blue", b"123")):
        (mrmr.drive(drive) / "of-red").mkdir(exist_ok=True)
        (mrmr.drive(drive) / "of-red/file 0.bin").write_bytes(text)
    os.utime(mrmr.drive("blue") / "of-red/file 0.bin", (9, 9))
    assert [c[0] for c in where("of-red/file 0.bin")] == ["green", "blue", "red"]
    assert where("of-red/file 0.bin")[2] == ["red", 1, 300_000, 0, 1]
    with open(mrmr.drive("red") / "of-red/file 1.bin", "ab") as file:
        file.write(b"more")
    assert where("of-red/file 1.bin") == [["red", 0, 300_005, 300_005, 0]]
    os.unlink(mrmr.drive("blue") / "of-blue/file 0.bin") # its bytes can be read still
    assert where("of-blue/file 0.bin") == [["blue", 1, 300_000, 0, 1]]
    (mrmr.drive("red") / "of-red/@eaDir").mkdir()
    (mrmr.drive("red") / "of-red/@eaDir/x").write_bytes(b"x")
    for path in (".mrmr", ".mrmr/drive", "of-red/@eaDir", "of-red/@eaDir/x"):
        mrmr.run("where", path, code=1)
    mrmr.run("sync")
    assert where("new") == [["blue", 1, 5, 0, 1]]


def test_cat_reads_through_the_loss_of_a_drive(mrmr):
    made = mrmr.build(["red", "blue", "green"], size=2_500_000)
    path = "of-red/file 1.bin"

    def cat(name):
        return subprocess.run([mrmr.bin, "cat", name], env=mrmr.env, capture_output=True, check=True).stdout

    assert cat(path) == made[path]
    os.rename(mrmr.drive("red"), mrmr.folder / "away")
    assert cat(path) == made[path]
    assert cat(str(mrmr.drive("red") / path)) == made[path]
    os.rename(mrmr.drive("blue"), mrmr.folder / "away-too")
    done = mrmr.run("cat", path, code=1)
    assert path in done.stderr and done.stdout == ""
    assert "nowhere" in mrmr.run("cat", "nowhere", code=1).stderr


def test_cat_never_gives_rotten_bytes(mrmr):
    made = mrmr.build(["red", "blue", "green"])
    path = mrmr.drive("red") / "of-red/file 1.bin"
    st = os.stat(path)
    flip(path)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    done = subprocess.run([mrmr.bin, "cat", "of-red/file 1.bin"], env=mrmr.env, capture_output=True, check=True)
    assert done.stdout == made["of-red/file 1.bin"]


def test_a_reader_who_leaves_ends_it_quietly(mrmr):
    mrmr.build(["red", "blue"], size=9_000_000, files=2)
    for args in (["cat", "of-red/file 0.bin"], ["ls", "--json", "of-red"]):
        process = mrmr.start(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) in (-13, 0)  # SIGPIPE, as is usual; 0 if all was written before


def test_output_that_cannot_be_written_is_a_failure(mrmr):
    mrmr.build(["red", "blue"])
    with open("/dev/full", "wb") as full:
        process = mrmr.start("status", stdout=full, stderr=subprocess.PIPE)
        error = process.stderr.read()
        assert process.wait(timeout=60) == 1 and b"standard output" in error


def test_names_that_are_any_bytes(mrmr):
    mrmr.fill("red")
    mrmr.fill("blue")
    odd = os.fsencode(mrmr.drive("red")) + b"/odd"
    os.mkdir(odd)
    names = [b"new\nline", b"\xff\xfe not utf-8", b"\x1b[31mred", b"back\\slash", "smörgås".encode()]
    for name in names:
        with open(odd + b"/" + name, "wb") as f:
            f.write(name)
    for name in ("red", "blue"):
        mrmr.run("add-drive", mrmr.drive(name))
    mrmr.run("sync")
    shown = mrmr.run("ls", "odd").stdout.split("\n")[:-1]
    assert sorted(shown) == sorted(
        ["new\\x0aline", "\\xff\\xfe not utf-8", "\\x1b[31mred", "back\\\\slash", "smörgås"])
    assert "\x1b" not in mrmr.run("ls", "-l", "odd").stdout
    entries = {e.get("name_bytes", e["name"]): e for e in mrmr.json("ls", "odd")["entries"]}
    assert set(entries) == {"new\nline", "%FF%FE%20not%20utf-8", "\x1b[31mred", "back\\slash", "smörgås"}
    assert entries["%FF%FE%20not%20utf-8"]["name"] == "\ufffd\ufffd not utf-8"
    for name in names:
        done = subprocess.run([os.fsencode(mrmr.bin), b"cat", b"odd/" + name], env=mrmr.env, capture_output=True,
                              check=True)
        assert done.stdout == name
    where = mrmr.json("where", os.fsdecode(b"odd/\xff\xfe not utf-8"))
    assert where["path_bytes"] == "odd/%FF%FE%20not%20utf-8"
    done = mrmr.run("cat", os.fsdecode(b"odd/no\n\xffsuch"), code=1)
    assert done.stderr.count("\n") == 1 and "\udcff" not in done.stderr


# --- scrub, check ---


def a_row(mrmr):
    """The path of a parity file."""
    return next(p for p in (mrmr.folder / "drives").glob("*/.mrmr/parity/*/*") if p.is_file())


def flip(path):
    """A bit changes, and so does the time of the last change, which nobody can set."""
    with open(path, "r+b") as f:
        f.seek(1000)
        byte = f.read(1)
        f.seek(1000)
        f.write(bytes([byte[0] ^ 0x55]))


def test_scrub_finds_a_rotten_row_and_makes_it_again(mrmr):
    mrmr.build(["red", "blue", "green"])
    report = mrmr.json("scrub")
    assert set(report) == SCRUB and report["damaged"] == 0 and report["stripes"] == report["stripes_total"] >= 1
    assert report["size"] > 0 and report["completed"] is True
    flip(a_row(mrmr))
    report = mrmr.json("scrub", code=3)
    assert report["rows_damaged"] == 1 and report["rows_repaired"] == 0 and report["needs_look"]
    assert any(e["warning"] and e["kind"] == "damage-found" for e in mrmr.json("events")["events"])
    mrmr.run("status", code=3)
    mrmr.run("scrub", "--repair")
    assert "as it should be" in mrmr.run("scrub").stdout
    mrmr.run("status")


def test_scrub_finds_rot_in_a_file_and_repairs_it(mrmr):
    """On a file system of its own, whose image is changed while it is not mounted: no time tells of it."""
    need_loops()
    with loops(mrmr.folder / "drives") as make:
        red = make("red", "ext4", 64)
        made = mrmr.build(["red", "blue", "green"])
        path = "of-red/file 1.bin"
        red.umount()
        with open(red.image, "r+b") as image:
            at = image.read().index(made[path][4096:8192])
            image.seek(at)
            image.write(bytes(b ^ 1 for b in made[path][4096:4106]))
        red.mount()
        report = mrmr.json("scrub", code=3)
        assert report["damaged"] == 1 and report["repaired"] == 0 and any("--repair" in s for s in report["needs_look"])
        assert mrmr.json("status", code=3)["damaged_size"] > 0
        report = mrmr.json("scrub", "--repair")
        assert report["repaired"] == 1 and report["needs_look"] == []
        assert (mrmr.drive("red") / path).read_bytes() == made[path]
        assert any((mrmr.drive("red") / ".mrmr/quarantine").rglob("*"))
        assert "as it should be" in mrmr.run("scrub").stdout
        mrmr.run("status")


def test_scrub_of_a_file_that_was_edited(mrmr):
    mrmr.build(["red", "blue", "green"])
    flip(mrmr.drive("red") / "of-red/file 1.bin")
    report = mrmr.json("scrub")
    assert report["edited"] == 1 and report["damaged"] == 0
    assert "no damage" in mrmr.run("scrub").stdout


def test_scrub_of_a_part(mrmr):
    mrmr.build(["red", "blue", "green"], redundancy=2)
    assert mrmr.json("scrub", "--percent", "1")["stripes"] == 1
    assert mrmr.json("scrub", "--older-than", "1d")["stripes"] < mrmr.json("scrub")["stripes"] or \
        mrmr.json("status")["stripes"] == 1
    assert mrmr.json("scrub", "--older-than", "1d")["stripes"] == 0


def test_check(mrmr):
    mrmr.build(["red", "blue", "green"])
    assert mrmr.json("check") == {"deep": False, "findings": []}
    assert "agree" in mrmr.run("check", "--deep").stdout
    os.truncate(a_row(mrmr), 100)
    done = mrmr.run("check", code=3)
    assert "  ! " in done.stdout
    assert mrmr.json("check", "--deep", code=3)["findings"]


# --- rebuild ---


def test_rebuild_onto_a_new_drive(mrmr):
    made = mrmr.build(["red", "blue", "green"])
    shutil.rmtree(mrmr.drive("red"))
    mrmr.drive("new").mkdir()
    added = mrmr.run("add-drive", mrmr.drive("new"))
    assert "mrmr rebuild red --onto new" in added.stdout
    report = mrmr.json("rebuild", "red", "--onto", "new")
    assert set(report) == REBUILD and report["files"] == 4 and report["needs_look"] == [] and report["completed"]
    for path, data in made.items():
        if path.startswith("of-red/"):
            assert (mrmr.drive("new") / path).read_bytes() == data
    mrmr.run("sync")
    mrmr.run("status")
    assert mrmr.run("drives", "--names").stdout.split() == ["new", "blue", "green"]


def test_rebuild_into_free_space(mrmr):
    made = mrmr.build(["red", "blue", "green", "white"])
    shutil.rmtree(mrmr.drive("red"))
    done = mrmr.run("rebuild", "red")
    assert "Brought back 4 files" in done.stdout
    for path, data in made.items():
        copies = mrmr.json("where", path)["copies"]
        assert (mrmr.drive(copies[0]["drive"]) / path).read_bytes() == data
    mrmr.run("status")


def test_rebuild_of_one_path(mrmr):
    made = mrmr.build(["red", "blue", "green"])
    gone = mrmr.drive("red") / "of-red/file 2.bin"
    gone.unlink()
    report = mrmr.json("rebuild", "red", "--path", str(gone))
    assert report["files"] == 1
    assert gone.read_bytes() == made["of-red/file 2.bin"]
    assert "nowhere" in mrmr.run("rebuild", "red", "--path", "nowhere", code=1).stderr


def test_rebuild_of_what_is_not_there(mrmr):
    mrmr.build(["red", "blue", "green"])
    assert "mrmr drives" in mrmr.run("rebuild", "purple", code=1).stderr
    assert "purple" in mrmr.run("rebuild", "red", "--onto", "purple", code=1).stderr


# --- set-redundancy, set, get, events ---


def test_set_redundancy(mrmr):
    mrmr.build(["red", "blue", "green"])
    before = mrmr.json("status")["parity_size"]
    report = mrmr.json("set-redundancy", "2")
    assert set(report) == SYNC and report["redundancy"] == 2 and report["rows_made"] >= 1
    status = mrmr.json("status")
    assert status["redundancy"] == 2 and status["survives"] == 2 and status["parity_size"] > before
    mrmr.run("set-redundancy", "1")
    status = mrmr.json("status")
    assert status["redundancy"] == 1 and status["margin"][1] == status["stripes"]
    done = mrmr.run("set-redundancy", "3", code=1)
    assert "needs at least 4 drives" in done.stderr and mrmr.json("status")["redundancy"] == 1


def test_set_redundancy_before_there_is_anything(mrmr):
    for name in ("red", "blue", "green"):
        mrmr.fill(name)
        mrmr.run("add-drive", mrmr.drive(name))
    assert "mrmr sync" in mrmr.run("set-redundancy", "2").stdout
    assert mrmr.json("sync")["redundancy"] == 2


def test_set_and_get(mrmr):
    mrmr.fill("red")
    mrmr.run("add-drive", mrmr.drive("red"))
    assert mrmr.run("get", "hold-percent").stdout == "30\n"
    assert mrmr.run("set", "hold-percent", "50").stdout == "hold-percent is 50.\n"
    assert mrmr.run("get", "hold-percent").stdout == "50\n"
    assert mrmr.json("get", "hold-percent") == {"key": "hold-percent", "value": "50"}
    assert mrmr.json("set", "drive.red.reserve", "1G") == {"key": "drive.red.reserve", "value": "1G"}
    assert mrmr.run("get", "drive.red.reserve").stdout == "%d\n" % (1 << 30)
    for key in ("settle", "drive-timeout", "room-wait", "remote-ttl"): # as any duration
        assert mrmr.run("set", key, "10m").stdout == "%s is 10m.\n" % key
        assert mrmr.run("get", key).stdout == "600\n"
    assert mrmr.run("set", "exclude", "").stdout == "exclude is empty.\n"
    settings = {s["key"]: s for s in mrmr.json("get")["settings"]}
    assert all(set(s) == {"key", "value", "meaning", "is_default"} for s in settings.values())
    assert settings["hold-percent"]["is_default"] is False and settings["redundancy"]["is_default"] is True
    assert "hold-percent" in mrmr.run("get").stdout
    for args in (["set", "nonsense", "1"], ["get", "nonsense"]):
        assert "'nonsense'" in mrmr.run(*args, code=1).stderr
    assert "'many'" in mrmr.run("set", "hold-percent", "many", code=1).stderr
    mrmr.run("set", "drive.red.name", "crimson")
    assert mrmr.run("drives", "--names").stdout == "crimson\n"


def test_events(mrmr):
    mrmr.build(["red", "blue", "green"], redundancy=2)
    events = mrmr.json("events")["events"]
    assert all(set(e) == {"id", "time", "kind", "drive", "warning", "text"} for e in events)
    assert [e["id"] for e in events] == sorted(e["id"] for e in events)
    assert all(TIME.fullmatch(e["time"]) for e in events)
    assert [e["drive"] for e in events if e["kind"] == "drive-added"] == ["red", "blue", "green"]
    assert [e["drive"] for e in events if e["kind"] == "redundancy"] == [None]
    assert mrmr.json("events", "--last", "1")["events"] == events[-1:]
    assert mrmr.json("events", "--last", "0")["events"] == events
    assert "drive-added" in mrmr.run("events").stdout


def told(mrmr, kind):
    return [(e["drive"], e["warning"], e["text"]) for e in mrmr.json("events", "--last", "0")["events"] if e["kind"] == kind]


def test_long_work_that_is_done_is_an_event_with_its_figures(mrmr):
    mrmr.build(["red", "blue", "green"])
    assert told(mrmr, "scrub-done") == []
    mrmr.run("scrub")
    flip(a_row(mrmr))
    mrmr.run("scrub", code=3)
    mrmr.run("scrub", "--repair")
    (_, first, sound), (_, second, rotten), (_, third, repaired) = told(mrmr, "scrub-done")
    assert not first and "0 parity rows" in sound and "0 rows" in sound
    assert second and "1 parity rows" in rotten and "0 rows" in rotten
    assert not third and "1 rows" in repaired
    assert told(mrmr, "rebuild-done") == []


def test_rebuilds_and_drives_that_go_and_come_are_events(mrmr):
    mrmr.build(["red", "blue", "green"])
    mrmr.drive("red").rename(mrmr.folder / "elsewhere")
    mrmr.run("sync", code=3)
    mrmr.run("sync", code=3)
    (lost,) = told(mrmr, "drive-lost")
    assert lost[:2] == ("red", True) and "not there" in lost[2]
    (mrmr.folder / "elsewhere").rename(mrmr.drive("red"))
    mrmr.run("sync")
    mrmr.run("sync")
    (back,) = told(mrmr, "drive-returned")
    assert back[:2] == ("red", False) and len(told(mrmr, "drive-lost")) == 1
    mrmr.drive("red").rename(mrmr.folder / "elsewhere")
    mrmr.run("rebuild", "red", code=(0, 3))
    (done,) = told(mrmr, "rebuild-done")
    assert done[0] == "red" and "4 files (" in done[2] and " 0 failed" in done[2] and not done[1]
    assert len(told(mrmr, "drive-lost")) == 2 and len(told(mrmr, "drive-returned")) == 1
