# SPDX-License-Identifier: GPL-3.0-or-later
"""seeds.py GOLDEN OUT: what is inside the golden parity files, for the targets that are given only that: packed manifests and their texts."""
import pathlib
import sys
import zlib

FOOTER = 128


def main(golden, out):
    for kind in ("gzip", "text"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    for path in sorted(golden.glob("*.row")):
        data = path.read_bytes()
        payload, manifest = (int.from_bytes(data[-FOOTER + at:][:8], "little") for at in (0, 8))
        packed = data[payload:payload + manifest]
        if not packed or payload + manifest + FOOTER > len(data):
            continue
        (out / "gzip" / path.name).write_bytes(packed)
        try:
            (out / "text" / path.name).write_bytes(zlib.decompressobj(wbits=31).decompress(packed))
        except zlib.error:
            pass


main(*map(pathlib.Path, sys.argv[1:]))
