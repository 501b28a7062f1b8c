# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of ours but the drives: the script printed in docs/FORMAT.md brings files of two lost drives back."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

from seeded import Seeded

SOURCE = pathlib.Path(os.environ["MRMR_SOURCE"])


def test_script_of_the_format_document(tmp_path):
    text = (SOURCE / "docs/FORMAT.md").read_text(encoding="utf-8")
    script = tmp_path / "recover.py"
    script.write_text(re.search(r"^```python\n(#!.*?)^```$", text, re.M | re.S).group(1), encoding="utf-8")
    rng = Seeded(7)
    drives, contents = [], {}
    for d in range(5):
        root = tmp_path / ("drive%d" % d)
        root.mkdir()
        drives.append(root)
        for i in range(25):
            path = "d%d/file %d.bin" % (d, i)
            data = rng.randbytes(rng.choice([1, 700, 90_000, 1 << 20, 3_500_000]))
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_bytes(data)
            contents[path] = data
    env = dict(os.environ, MRMR_POOL=str(tmp_path / "pool"))

    def mrmr(*args):
        subprocess.run([os.environ["MRMR_BIN"], *map(str, args)], env=env, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    for root in drives:
        mrmr("add-drive", root)
    mrmr("set-redundancy", 2)
    mrmr("sync")
    shutil.rmtree(tmp_path / "pool")
    for lost in (drives[1], drives[3]):
        shutil.rmtree(lost)
    left = [d for d in drives if d.exists()]
    for path in [p for p in contents if p.startswith(("d1/", "d3/"))][::5]:
        out = tmp_path / "out"
        done = subprocess.run([sys.executable, "-S", "-E", script, path, out, *left], capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        assert out.read_bytes() == contents[path]
        out.unlink()
