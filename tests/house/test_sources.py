# SPDX-License-Identifier: GPL-3.0-or-later
"""Every source carries its licence, is formatted, and lives in a folder that explains itself."""
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import floors

SOURCE = pathlib.Path(os.environ.get("MRMR_SOURCE", pathlib.Path(__file__).parents[2]))
LICENCE = "SPDX-License-Identifier: GPL-3.0-or-later"
NAMED = (".c", ".h", ".py", ".sh", ".sql", ".cmake", "CMakeLists.txt")


def is_script(path):
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def unlicensed(root):
    """Sources without the licence where it belongs: a C file's first line, else the first three."""
    found = []
    paths = list(floors.sources(root, ("",)))
    if (pathlib.Path(root) / ".ci").is_dir():
        paths += [f".ci/{name}" for name in sorted(os.listdir(pathlib.Path(root) / ".ci"))]
    for name in paths:
        path = pathlib.Path(root) / name
        if not path.is_file() or path.is_symlink() or not (name.endswith(NAMED) or is_script(path)):
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:3]
        if name.endswith((".c", ".h")):
            good = lines[0] in (f"/* {LICENCE}", f"/* {LICENCE} */")
        else:
            good = any(LICENCE in line for line in lines)
        if not good:
            found.append(name)
    return found


def test_every_source_names_its_licence():
    assert unlicensed(SOURCE) == []
    assert "GNU GENERAL PUBLIC LICENSE" in (SOURCE / "LICENSE").read_text()


@pytest.mark.parametrize("name, text", [
    ("base/a.c", "int a;\n"),
    ("base/a.h", f"\n/* {LICENCE} */\n"),
    ("base/a.c", "/* SPDX-License-Identifier: MIT */\n"),
    ("tests/a.py", "pass\n"),
    ("tools/run", "#!/bin/sh\nexit 0\n"),
    (".ci/run", "#!/bin/sh\nexit 0\n"),
    ("base/CMakeLists.txt", "project(x)\n"),
])
def test_a_missing_licence_is_found(tmp_path, name, text):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(text)
    assert unlicensed(tmp_path) == [name]
    path.write_text(f"/* {LICENCE} */\n" if name.endswith((".c", ".h")) else f"#!/bin/sh\n# {LICENCE}\n")
    assert unlicensed(tmp_path) == []


def rooms(root):
    """The folders of the house, and what they are parted into."""
    tops = [pathlib.Path(root) / name for name in floors.FLOORS]
    return [room for top in tops if top.is_dir() for room in (top, *sorted(top.glob("*/"))) if any(room.glob("*.[ch]"))]


def unexplained(root):
    """Folders without a README, and C files that theirs does not name, by a pattern, or by their header."""
    found = []
    everywhere = {pathlib.Path(path).stem for path in floors.sources(root, (".c", ".h"))}
    for room in rooms(root):
        if not (room / "README.md").is_file():
            found.append(f"{room.relative_to(root)}: no README.md")
            continue
        named = re.findall(r"`([\w*]+)\.[ch]`", (room / "README.md").read_text(encoding="utf-8"))
        found += [f"{path.relative_to(root)}: not in its README.md" for path in sorted(room.glob("*.c"))
                  if not any(fnmatch.fnmatch(path.stem, name) for name in named)]
        found += [f"{room.relative_to(root)}/README.md: there is no {name}" for name in named
                  if not fnmatch.filter(everywhere, name)]
    return found


def test_every_folder_explains_itself_and_its_files():
    assert {"base", "parity", "drivers", "meta", "pool", "tools"} <= {room.name for room in rooms(SOURCE)}
    assert (SOURCE / "tests/README.md").is_file()
    assert unexplained(SOURCE) == []


def test_what_is_not_explained_is_found(tmp_path):
    room = tmp_path / "pool/tree"
    room.mkdir(parents=True)
    for name in ("tree.c", "tree_a.c", "b.c"):
        (room / name).touch()
    assert unexplained(tmp_path) == ["pool/tree: no README.md"]
    (room / "README.md").write_text("`tree*.c`, `other.c`\n")
    assert unexplained(tmp_path) == ["pool/tree/b.c: not in its README.md", "pool/tree/README.md: there is no other"]


def formatter():
    """clang-format 14, whose output is the reference: other versions disagree with it in places."""
    for name in ("clang-format-14", "clang-format"):
        program = shutil.which(name)
        if program:
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            if re.search(r"version 14\.", version):
                return program
    return None


def test_every_source_is_formatted(tmp_path):
    program = formatter()
    if not program:
        release = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
        where = "" if re.search("(?m)^VERSION_CODENAME=bookworm$", release) else "not on this system: "
        pytest.skip(where + "clang-format 14 is not installed; formatting is checked where it is (Debian 12)")
    style = f"--style=file:{SOURCE / '.clang-format'}"
    bad = tmp_path / "bad.c"
    bad.write_text("int  f( void ){return 1;}\n")
    command = [program, style, "--dry-run", "-Werror"]
    assert subprocess.run([*command, bad], capture_output=True, check=False).returncode != 0
    paths = list(floors.sources(SOURCE, (".c", ".h")))
    done = subprocess.run([*command, *paths], cwd=SOURCE, capture_output=True, text=True, check=False)
    unformatted = sorted({line.split(":")[0] for line in done.stderr.splitlines() if ": error:" in line})
    assert (unformatted, done.returncode) == ([], 0), "clang-format -i these"
