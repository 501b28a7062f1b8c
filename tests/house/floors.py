# SPDX-License-Identifier: GPL-3.0-or-later
"""The floors of the house: who may include whom.

check(root) returns one line for each violation in the source tree at root, and nothing if there is none.
Run as a program it prints them and ends with 1 if there are any.

A folder sees itself and the floors below it. Folders of one floor never see each other, nobody sees tests/, and what
a user stands on (fuse/, tools/) sees of the engine only pool/pool.h, which itself stands on base/ alone. A third
party belongs to one folder. Within the engine the rooms of the mount's view are seen by each other alone, but for one header. The libraries that a folder's CMakeLists.txt names obey the same rules.
"""
import os
import re
import sys

FLOORS = {"base": 0, "parity": 1, "drivers": 1, "meta": 1, "pool": 2, "fuse": 3, "tools": 3}
FRONT = {"fuse", "tools"}
FACADE = "pool/pool.h"

# The rooms of the mount's view, and who sees them; tree/ itself sees of change/ this header alone, but for the file that opens and closes all.
VIEW = {"pool/tree", "pool/change", "pool/return"}
TREE_SEES, TREE_OPENS = "pool/change/tree_replaced.h", "pool/tree/tree.c"
# What the rest of the engine sees of them; it stands on the rest itself.
ENGINE_SEES = "pool/return/gone_apply.h"

# A third party's headers, and the folders that may include them.
THIRD_PARTIES = (
    (r"(isa-l|isa-l/.*|erasure_code|gf_vect_mul|raid|igzip_lib)(\.h)?", {"parity"}, "ISA-L"),
    (r"sqlite3(ext)?\.h", {"meta"}, "SQLite"),
    (r"libssh2.*\.h|(.*/)?libsmbclient\.h", {"drivers"}, "libssh2 and libsmbclient"),
    (r"(fuse3/)?(fuse|cuse)(_\w+)?\.h|linux/fuse\.h", {"fuse"}, "libfuse"),
    (r"blake2.*\.h", {"base"}, "libb2"),
    (r"zlib\.h|zconf\.h", {"meta", "pool"}, "zlib"),
    (r"cmocka\.h", {"tests"}, "cmocka"),
)

INCLUDE = re.compile(r"^[ \t]*#[ \t]*(?:include|include_next|import)\b[ \t]*(.*)$", re.M)
LIBRARY = re.compile(r"\bmrmr_(" + "|".join(FLOORS) + r")\b")


def sources(root, suffixes):
    """Paths below root, relative to it, of the files that end so; build folders and hidden ones left out."""
    root = os.fspath(root)
    for folder, below, names in os.walk(root):
        below[:] = sorted(d for d in below if d[0] != "." and d != "__pycache__"
                          and not (folder == root and d.startswith("build")))
        for name in sorted(names):
            if name.endswith(suffixes):
                yield os.path.relpath(os.path.join(folder, name), root)


def top(path):
    return path.split("/", 1)[0] if "/" in path else ""


def resolve(root, path, name):
    """The file of the tree that an include of name in path means, relative to root; None if it is none of ours."""
    for start in (os.path.dirname(path), ""):
        found = os.path.normpath(os.path.join(start, name))
        if os.path.isfile(os.path.join(root, found)):
            return found
    return None


def judge_rooms(path, target):
    """Why path may not include target, which is of the same folder, or None."""
    here, there = os.path.dirname(path), os.path.dirname(target)
    if there in VIEW and (here not in VIEW or path == ENGINE_SEES) and target != ENGINE_SEES:
        return f"{there}/ is the mount's view: the rest of the engine does without it"
    if (here, there) == ("pool/tree", "pool/change") and target != TREE_SEES and path != TREE_OPENS:
        return f"{here}/ looks, and does not change: of {there}/ it sees {TREE_SEES} alone"
    return None


def judge_project(path, target):
    """Why path may not include target, or None."""
    here, there = top(path), top(target)
    if path == FACADE and there != "base":
        return "the engine's public header may stand on base/ only"
    if here == "tests":
        return None
    if here == there:
        return judge_rooms(path, target)
    if there == "tests":
        return "nothing includes tests/"
    if there not in FLOORS:
        return f"{there or 'the root'} is not a folder that others include"
    if here in FRONT and there not in FRONT and there != "base" and target != FACADE:
        return f"{here}/ sees only {FACADE} and base/"
    if FLOORS[there] == FLOORS[here]:
        return f"{here}/ and {there}/ are on the same floor"
    if FLOORS[there] > FLOORS[here]:
        return f"{there}/ is above {here}/"
    return None


def judge_foreign(path, name):
    for pattern, folders, who in THIRD_PARTIES:
        if re.fullmatch(pattern, name) and top(path) not in folders | {"tests"}:
            return f"{who} belongs to {' and '.join(sorted(folders))} alone"
    # An include that leaves for another folder and is not there may come with a generated file.
    if top(name) in FLOORS or top(name) == "tests":
        return judge_project(path, name) or "there is no such file"
    return None


def uncomment(text):
    """The text without block comments, line numbers kept; strings are left alone well enough for includes."""
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)


def check_file(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        text = uncomment(file.read().replace("\\\n", ""))
    for match in INCLUDE.finditer(text):
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        quoted = re.match(r'"([^"]+)"|<([^>]+)>', match.group(1))
        if not quoted:
            yield f"{where}: includes {match.group(1)!r}, which cannot be checked"
            continue
        name = quoted.group(1) or quoted.group(2)
        target = resolve(root, path, name)
        why = judge_project(path, target) if target else judge_foreign(path, name)
        if why:
            yield f"{where}: includes {name}: {why}"


def check_cmake(root, path):
    here = top(path)
    if here not in FLOORS:
        return
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = re.sub(r"#.*", "", file.read())
    for there in sorted(set(LIBRARY.findall(text))):
        target = FACADE if there == "pool" else f"{there}/x"
        why = None if there == here else judge_project(path, target)
        if why:
            yield f"{path}: names mrmr_{there}: {why}"


def check(root):
    found = []
    for path in sources(root, (".c", ".h", ".inc", ".cc", ".cpp", ".S")):
        if top(path) not in FLOORS and top(path) not in ("tests", "docs"):
            found.append(f"{path}: a source outside the folders of the house")
            continue
        found += check_file(root, path)
    for path in sources(root, ("CMakeLists.txt", ".cmake")):
        found += check_cmake(root, path)
    return found


if __name__ == "__main__":
    violations = check(sys.argv[1] if len(sys.argv) > 1 else ".")
    print(*violations, sep="\n", end="\n" if violations else "")
    sys.exit(1 if violations else 0)
