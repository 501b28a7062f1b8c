# SPDX-License-Identifier: GPL-3.0-or-later
"""The floors hold in this tree, and the check that says so finds every kind of violation when one is planted."""
import os
import pathlib

import pytest

import floors

SOURCE = pathlib.Path(os.environ.get("MRMR_SOURCE", pathlib.Path(__file__).parents[2]))


def test_the_floors_hold():
    assert floors.check(SOURCE) == []


def test_the_tree_was_really_read():
    seen = {floors.top(path) for path in floors.sources(SOURCE, (".c", ".h"))}
    assert {"base", "parity", "drivers", "meta", "pool", "tools", "tests"} <= seen


@pytest.fixture(name="tree")
def make_tree(tmp_path):
    """A small house in which everybody includes what they may."""
    files = {
        "base/err.h": "#include <stdint.h>\n",
        "base/digest.c": '#include "base/err.h"\n#include <blake2.h>\n',
        "parity/code.h": '#include "base/err.h"\n',
        "parity/code.c": '#include "parity/code.h"\n#include <isa-l/erasure_code.h>\n',
        "drivers/driver.h": '#include "base/err.h"\n',
        "meta/meta.h": '#include "base/err.h"\n',
        "meta/meta.c": '#include "meta.h"\n#include <sqlite3.h>\n',
        "pool/pool.h": '#include "base/err.h"\n',
        "pool/inner.h": '#include "meta/meta.h"\n#include "parity/code.h"\n#include "drivers/driver.h"\n',
        "pool/records/gone.c": '#include "pool/inner.h"\n',
        "pool/scan/scan.c": '#include "pool/return/gone_apply.h"\n',
        "pool/tree/tree.c": '#include "pool/change/change.h"\n#include "pool/return/back.h"\n',
        "pool/tree/look.c": '#include "pool/change/tree_replaced.h"\n',
        "pool/change/change.h": '#include "pool/inner.h"\n',
        "pool/change/tree_replaced.h": '#include "pool/inner.h"\n',
        "pool/return/gone_apply.h": '#include "pool/inner.h"\n',
        "pool/return/back.h": '#include "pool/change/change.h"\n',
        "fuse/main.c": '#include "pool/pool.h"\n#include <fuse3/fuse.h>\n',
        "tools/main.c": '#include "pool/pool.h"\n#include "base/err.h"\n/* #include "meta/meta.h" */\n',
        "tests/unit/check.h": "#include <cmocka.h>\n",
        "tests/unit/meta.c": '#include "meta/meta.h"\n#include "tests/unit/check.h"\n#include <sqlite3.h>\n',
        "parity/CMakeLists.txt": "target_link_libraries(mrmr_parity PUBLIC mrmr_base)\n",
        "tools/CMakeLists.txt": "target_link_libraries(mrmr PRIVATE mrmr_pool mrmr_base) # not mrmr_meta\n",
        "build/x/base/odd.c": '#include "pool/pool.h"\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_proper_house_passes(tree):
    assert floors.check(tree) == []


VIOLATIONS = {
    "upward from base": ("base/err.h", '#include "parity/code.h"'),
    "upward from floor 1": ("parity/code.c", '#include "pool/pool.h"'),
    "upward from the engine": ("pool/inner.h", '#include "tools/main.c"'),
    "sideways parity to meta": ("parity/code.c", '#include "meta/meta.h"'),
    "sideways drivers to parity": ("drivers/driver.h", '#include "parity/code.h"'),
    "sideways meta to drivers": ("meta/meta.c", '#include "drivers/driver.h"'),
    "sideways by a relative path": ("meta/meta.c", '#include "../drivers/driver.h"'),
    "in angle brackets": ("meta/meta.c", "#include <drivers/driver.h>"),
    "with odd spacing": ("meta/meta.c", '  #  include   "drivers/driver.h" // why not'),
    "over a continued line": ("meta/meta.c", '#include \\\n"drivers/driver.h"'),
    "through a macro": ("meta/meta.c", "#include HEADER"),
    "a header that is not there": ("meta/meta.c", '#include "drivers/gone.h"'),
    "the engine to the mount's view": ("pool/records/gone.c", '#include "pool/change/change.h"'),
    "the engine to it by what is done on return": ("pool/scan/scan.c", '#include "pool/return/back.h"'),
    "the engine to it by what it may see": ("pool/return/gone_apply.h", '#include "pool/tree/look.c"'),
    "the view to what changes": ("pool/tree/look.c", '#include "pool/change/change.h"'),
    "tools past the facade": ("tools/main.c", '#include "pool/inner.h"'),
    "tools to floor 1": ("tools/main.c", '#include "meta/meta.h"'),
    "fuse past the facade": ("fuse/main.c", '#include "pool/inner.h"'),
    "fuse to tools": ("fuse/main.c", '#include "tools/main.c"'),
    "the facade shows the catalog": ("pool/pool.h", '#include "meta/meta.h"'),
    "the facade shows the engine": ("pool/pool.h", '#include "pool/inner.h"'),
    "tests from the engine": ("pool/inner.h", '#include "tests/unit/check.h"'),
    "ISA-L outside parity": ("pool/inner.h", "#include <isa-l.h>"),
    "ISA-L by its part": ("base/digest.c", "#include <isa-l/raid.h>"),
    "SQLite outside meta": ("pool/inner.h", "#include <sqlite3.h>"),
    "libssh2 outside drivers": ("pool/inner.h", "#include <libssh2_sftp.h>"),
    "libsmbclient outside drivers": ("tools/main.c", "#include <samba-4.0/libsmbclient.h>"),
    "libfuse outside fuse": ("tools/main.c", "#include <fuse_lowlevel.h>"),
    "libb2 outside base": ("parity/code.c", "#include <blake2.h>"),
    "cmocka outside tests": ("base/digest.c", "#include <cmocka.h>"),
    "a linked library sideways": ("parity/CMakeLists.txt", "target_link_libraries(mrmr_parity PUBLIC mrmr_meta)"),
    "a linked library upward": ("parity/CMakeLists.txt", "target_link_libraries(mrmr_parity PUBLIC mrmr_pool)"),
    "a tool linked past the engine": ("tools/CMakeLists.txt", "target_link_libraries(mrmr PRIVATE mrmr_drivers)"),
    "a folder that the house does not have": ("extra/more.c", "int more;"),
    "a source in the root": ("stray.c", "int stray;"),
}


@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_planted_violation_is_found(tree, what):
    name, line = VIOLATIONS[what]
    path = tree / name
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + line + "\n")
    found = floors.check(tree)
    assert len(found) == 1 and found[0].startswith(name), found
