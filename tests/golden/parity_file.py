# SPDX-License-Identifier: GPL-3.0-or-later
"""Parity files, written from docs/FORMAT.md alone: nothing of MRMR's own code is used. For the golden files and for the test of the
recovery script in that document."""
import gzip
import struct
from hashlib import blake2b

MIB = 1 << 20


def digest(data):
    return blake2b(data, digest_size=32).digest()


def pieces(data):
    return [data[i : i + MIB] for i in range(0, len(data), MIB)]


def tree_digest(data):
    return digest(b"".join(map(digest, pieces(data))) + struct.pack("<Q", len(data)))


def multiply(a, b):
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(15, 7, -1):
        if product >> bit & 1:
            product ^= 0x11D << (bit - 8)
    return product


def coefficient(row, slot):
    y = slot + 8
    return multiply(y, next(x for x in range(1, 256) if multiply(row ^ y, x) == 1))


def encode(row, blocks):
    """blocks: slot -> bytes."""
    out = bytearray(max(map(len, blocks.values())))
    for slot, data in blocks.items():
        table = bytes(multiply(coefficient(row, slot), b) for b in range(256))
        for i, byte in enumerate(data.translate(table)):
            out[i] ^= byte
    return bytes(out)


def percent(name):
    return "".join(chr(b) if 0x21 <= b <= 0x7E and b != 0x25 else "%%%02X" % b for b in name)


class Manifest:
    """Lines that can be changed before they are packed."""

    def __init__(self, stripe, generation, row, rows, payload):
        self.stripe, self.generation, self.length = stripe, generation, len(payload)
        self.head = [
            "mrmr-parity 1",
            "stripe %s" % stripe,
            "generation %d" % generation,
            "row %d" % row,
            "rows %d" % rows,
            "length %d" % len(payload),
        ] + ["payload " + digest(piece).hex() for piece in pieces(payload)]
        self.shared = []

    def share(self, pool, supersedes=()):
        self.shared = ["shared %s %d %d" % (self.stripe, self.generation, self.length), "pool %s" % pool]
        self.shared += ["supersedes %s %d" % old for old in supersedes]

    def block(self, slot, drive, length, name=b"drive"):
        self.shared.append("block %d %s %d %s" % (slot, drive, length, percent(name)))

    def file(self, path, size, id=1, version=1, sequence=1, mtime=1700000000123456789, mode=0o644, uid=1000, gid=100):
        name = "?" if path is None else percent(path)
        self.shared.append("file %d %d %d %d %d %04o %d %d %s" % (id, version, sequence, size, mtime, mode, uid, gid, name))

    def extent(self, place, first, data, version=1, state="live"):
        self.shared.append("extent %d %d %d %d %s" % (place, first, len(data), version, state))
        self.shared += ["leaf " + digest(piece).hex() for piece in pieces(data)]

    def pack(self):
        member = lambda lines: gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0)
        return member(self.head) + member(self.shared + ["end"])


def footer(payload, manifest, **change):
    """change: fields to be given instead of the right ones; the footer's own digest still covers them, unless it is among them."""
    fields = {
        "payload_length": len(payload),
        "manifest_length": len(manifest),
        "payload_digest": tree_digest(payload),
        "manifest_digest": tree_digest(manifest),
        "version": 1,
        "size": 128,
        "magic": b"mrmr-row",
        "more": b"",
    }
    fields.update(change)
    front = fields["more"] + struct.pack("<QQ", fields["payload_length"], fields["manifest_length"])
    front += fields["payload_digest"] + fields["manifest_digest"]
    tail = struct.pack("<II", fields["version"], fields["size"]) + fields["magic"]
    own = fields.get("footer_digest") or digest(front + bytes(32) + tail)
    return front + own + tail


def parity_file(payload, manifest):
    packed = manifest.pack()
    return payload + packed + footer(payload, packed)
