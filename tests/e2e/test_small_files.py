# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small files: how far the parity is from the least that could protect them (design §7), and what memory it takes. MRMR_FILES, MRMR_SEED."""
import os
import pathlib
import random
import subprocess

from loops import loops, need_loops
from test_bad_world import Pool, seed_of

MANY = 10_000
LEAST, MOST = 4 << 10, 200 << 10
MEAN = (LEAST + MOST) // 2
# Parts of all the data, in thousandths, and how large each drive is in the same unit. The fullest drive alone would ask for 200 rows; the small
# ones have not the room to take their share of these, which is what makes the optimum a larger one.
DATA = [200, 190, 180, 160, 150, 120, 0, 0]
SIZE = [420, 300, 420, 420, 420, 130, 100, 100]
REDUNDANCY = 2


def least_rows(data, size, redundancy):
    """M* of design §7: the least M ≥ max d with Σ min(c, M) − r·M ≥ Σ d."""
    def enough(m):
        return sum(min(c, m) for c in size) - redundancy * m >= sum(data)

    # The left side is concave in M: it rises as long as more than r drives are larger than M.
    low, high = max(data), sorted(size)[-redundancy - 1]
    if enough(low):
        return low
    assert enough(high), "these drives cannot hold it protected"
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def make_files(root, name, rng, block, size):
    """Slices of one block of random bytes, each from another place: cheap to make, and no two alike. How many bytes, and how many files."""
    made = number = 0
    while made < size:
        if number % 500 == 0:
            folder = root / name / ("folder %d" % (number // 500))
            folder.mkdir(parents=True)
        length = rng.randrange(LEAST, MOST + 1)
        at = rng.randrange(len(block) - length)
        with open(folder / ("%d.jpg" % number), "wb", buffering=0) as f:
            f.write(block[at:at + length])
        made += length
        number += 1
    return made, number


def peak_of(pool, *args):
    """Run a command to its end; its largest resident set, in bytes."""
    with open(pool.folder / "output", "w+b") as output:
        process = subprocess.Popen(pool.command(*args), env=pool.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        assert process.returncode == 0, "%r gave %d:\n%s" % (args, process.returncode, output.read().decode(errors="replace"))
    return usage.ru_maxrss << 10


def in_memory(size):
    """Whether there is memory for so much, twice over: file systems in memory spare the medium."""
    with open("/proc/meminfo", encoding="ascii") as f:
        return any(int(line.split()[1]) << 10 > 2 * size for line in f if line.startswith("MemAvailable:"))


def parity_size(root):
    return sum(p.stat().st_size for p in root.glob(".mrmr/parity/*/*"))


def test_parity_is_near_the_optimum(tmp_path):
    need_loops()
    rng = seed_of("small files")
    block = memoryview(rng.randbytes(16 << 20))
    quick = in_memory(2 * MANY * MEAN)
    wanted = int(os.environ.get("MRMR_FILES") or MANY)
    kind = "tmpfs" if quick else "ext4"
    unit = wanted * MEAN // sum(DATA)
    with loops(tmp_path) as make:
        pool, data, files = Pool(tmp_path), [], 0
        for i, (part, size) in enumerate(zip(DATA, SIZE)):
            name = "d%d" % (i + 1)
            root = pathlib.Path(make(name, kind, (size * unit >> 20) + 16).root)
            made, number = make_files(root, name, rng, block, part * unit)
            data.append(made)
            files += number
            pool.add(name, root)
        pool.run("set-redundancy", REDUNDANCY)
        room = [drive["available_size"] for drive in pool.json("drives")["drives"]]
        peak = peak_of(pool, "sync")
        pool.run("status")
        status = pool.status()
        assert status["files"] == files and status["file_size"] == sum(data) and status["exposed_size"] == 0
        least = least_rows(data, [d + free for d, free in zip(data, room)], REDUNDANCY)
        parity = sum(map(parity_size, pool.drives.values()))
        ratio = parity / (REDUNDANCY * least)
        print("%d files, %.2f GB: parity %.1f MB, %.4f of the optimum (M* %.1f MB, fullest drive %.1f MB); peak memory %.1f MiB"
              % (files, sum(data) / 1e9, parity / 1e6, ratio, least / 1e6, max(data) / 1e6, peak / (1 << 20)))
        assert 1 <= ratio <= 1.03
        assert peak <= 200 << 20
