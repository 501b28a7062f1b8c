#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the golden parity files: tests/golden/make_parity.py DIR writes DIR/*.row and DIR/index.txt. The committed ones are in parity/; they
change only with the format, and the test compares what MRMR makes of them with the index:

    NAME  LENGTH  what opening it as row 0 of the stripe gives  what reading its whole manifest gives
"""
import gzip
import os
import random
import sys

from parity_file import Manifest, digest, encode, footer, parity_file

STRIPE = "3f9c0d2e-5b1a-4c7e-9f00-1234567890e1"
OTHER = "00000000-1111-4222-8333-444444444444"
POOL = "b0a7f3c2-0d4e-4f6a-8b1c-2d3e4f5a6b7c"
DRIVE = ["d0000000-0000-4000-8000-%012d" % i for i in range(256)]
rng = random.Random(7)
DATA = [rng.randbytes(n) for n in (3000, 2000, 1200)]
BLOCKS = {0: DATA[0], 3: DATA[1], 200: DATA[2]}
PAYLOAD = encode(0, BLOCKS)


def usual(generation=7, row=0, payload=PAYLOAD, stripe=STRIPE):
    m = Manifest(stripe, generation, row, 2, payload)
    m.share(POOL, [(stripe, 6)])
    for i, (slot, data) in enumerate(BLOCKS.items()):
        m.block(slot, DRIVE[i], len(data), b"drive %d" % i)
        m.file(b"folder/file %d" % i, len(data), id=i + 1, sequence=i + 10)
        m.extent(0, 0, data)
    return m


def changed(old, new):
    """The usual manifest with the first line that starts with `old` replaced by new lines."""
    m = usual()
    for lines in (m.head, m.shared):
        for i, line in enumerate(lines):
            if line.startswith(old):
                lines[i : i + 1] = new if isinstance(new, list) else [new]
                return m
    raise KeyError(old)


def with_path(path):
    return changed("file 1 ", "file 1 1 10 3000 5 0644 0 0 " + path)


def raw(packed, **change):
    return PAYLOAD + packed + footer(PAYLOAD, packed, **change)


def member(text):
    return gzip.compress(text, mtime=0)


def good():
    yield "usual", usual()
    yield "time-before-1970", changed("file 1 ", "file 1 1 10 3000 -9223372036854775808 7777 0 4294967295 a")
    yield "gone", changed("file 1 ", "file 0 0 0 0 0 0000 0 0 ?")
    yield "question-mark", with_path("%3F")
    yield "bytes-in-names", with_path("%0A%FF%25/caf%C3%A9/" + "n" * 255)
    yield "deep-path", with_path("/".join(["d" * 100] * 60))
    yield "dot-mrmr-alike", with_path(".mrmrx/..hidden/...")
    yield "gap", changed("block 200 ", "block 200 %s 3000 x" % DRIVE[2])
    yield "states", changed("extent 0 0 3000", ["extent 0 4398046511103 3000 9 gone"])
    yield "no-supersedes", changed("supersedes", [])
    m = Manifest(STRIPE, 7, 0, 8, b"\x05")
    m.share(POOL)
    for slot in range(248):
        m.block(slot, DRIVE[slot], 1)
        m.file(b"f", 1)
        m.extent(0, 0, bytes([slot]))
    yield "all-slots", m


def good_raw():
    text = "".join(line + "\n" for line in usual().head + usual().shared + ["end"]).encode()
    yield "one-member", raw(member(text))
    yield "many-members", raw(b"".join(member(text[i : i + 97]) for i in range(0, len(text), 97)) + member(b""))
    named = bytearray(member(text))
    named[3] |= 8  # a file name in the header
    yield "gzip-with-name", raw(bytes(named[:10]) + b"manifest.txt\0" + bytes(named[10:]))


def bad_head():
    """Refused by both readers, as malformed."""
    yield "no-magic", changed("mrmr-parity", "mrmr-party 1")
    yield "version-0", changed("mrmr-parity", "mrmr-parity 0")
    yield "version-word", changed("mrmr-parity", "mrmr-parity one")
    yield "order", changed("mrmr-parity", ["stripe " + STRIPE, "mrmr-parity 1"])
    yield "stripe-no-uuid", changed("stripe", "stripe 3f9c")
    yield "generation-0", changed("generation", "generation 0")
    yield "generation-overflow", changed("generation", "generation 18446744073709551623")
    yield "row-8", changed("row ", "row 8")
    yield "rows-9", changed("rows", "rows 9")
    yield "length-0", changed("length", "length 0")
    yield "length-negative", changed("length", "length -3000")
    yield "length-overflow", changed("length", "length 18446744073709551615")
    yield "length-4-gib", changed("length", "length 4294967296")
    yield "length-other", changed("length", "length 3001")
    yield "digest-short", changed("payload", "payload 00")
    yield "digest-no-hex", changed("payload", "payload " + "g" * 64)
    yield "digest-other", changed("payload", "payload " + "0" * 64)
    yield "two-spaces", changed("row ", "row  0")
    yield "carriage-return", changed("row ", "row 0\r")
    yield "tab", changed("row ", "row\t0")
    yield "empty-line", changed("row ", ["", "row 0"])
    yield "too-many-fields", changed("row ", "row 0 0")
    yield "too-few-fields", changed("row ", "row")
    yield "unknown-record", changed("row ", ["colour red", "row 0"])
    yield "nul", changed("row ", "row 0\0")
    yield "twenty-fields", changed("row ", "row" + " 0" * 20)


def bad_shared():
    """Refused by who reads the whole manifest."""
    yield "shared-other-stripe", changed("shared", "shared %s 7 3000" % OTHER)
    yield "shared-other-generation", changed("shared", "shared %s 8 3000" % STRIPE)
    yield "shared-other-length", changed("shared", "shared %s 7 2999" % STRIPE)
    yield "second-payload", changed("shared", ["payload " + "0" * 64, "shared %s 7 3000" % STRIPE])
    yield "no-pool", changed("pool", [])
    yield "supersedes-itself", changed("supersedes", "supersedes %s 7" % STRIPE)
    yield "supersedes-many", changed("supersedes", ["supersedes %s %d" % (OTHER, i + 1) for i in range(257)])
    yield "slot-248", changed("block 200", "block 248 %s 1200 x" % DRIVE[2])
    yield "slot-twice", changed("block 200", "block 3 %s 1200 x" % DRIVE[2])
    yield "drive-twice", changed("block 200", "block 200 %s 1200 x" % DRIVE[0])
    yield "block-empty", changed("block 200", "block 200 %s 0 x" % DRIVE[2])
    yield "block-beyond-stripe", changed("block 200", "block 200 %s 3001 x" % DRIVE[2])
    yield "block-overflow", changed("block 200", "block 200 %s 18446744073709551615 x" % DRIVE[2])
    yield "block-name-nul", changed("block 200", "block 200 %s 1200 x%%00" % DRIVE[2])
    yield "block-name-long", changed("block 200", "block 200 %s 1200 %s" % (DRIVE[2], "n" * 64))
    yield "file-before-block", changed("block 0", [])
    yield "extent-without-file", changed("file 1 ", [])
    yield "extent-empty", changed("extent 0 0 3000", "extent 0 0 0 1 live")
    yield "extent-beyond-block", changed("extent 0 0 3000", "extent 1 0 3000 1 live")
    yield "extent-place-overflow", changed("extent 0 0 3000", "extent 18446744073709551615 0 3000 1 live")
    yield "extent-bytes-overflow", changed("extent 0 0 3000", "extent 0 0 18446744073709551615 1 live")
    yield "extent-sum-overflow", changed("extent 0 0 3000", "extent 2000 0 9223372036854775807 1 live")
    yield "extent-first-overflow", changed("extent 0 0 3000", "extent 0 17592186044416 3000 1 live")
    yield "extent-beyond-files", changed("extent 0 0 3000", "extent 0 4398046511104 3000 1 live")
    yield "extent-state", changed("extent 0 0 3000", "extent 0 0 3000 1 fine")
    yield "extents-overlap", changed("extent 0 0 3000", ["extent 0 0 2000 1 live", "leaf " + "0" * 64, "extent 1999 0 1001 1 live"])
    yield "extents-order", changed("extent 0 0 3000", ["extent 2000 0 1000 1 live", "leaf " + "0" * 64, "extent 0 0 1000 1 live"])
    yield "leaf-missing", changed("leaf", [])
    yield "leaf-too-many", changed("leaf", ["leaf " + "0" * 64] * 2)
    yield "file-numbers", changed("file 1 ", "file 1 1 10 3000 5 0644 0 x a")
    yield "file-size", changed("file 1 ", "file 1 1 10 9223372036854775807 5 0644 0 0 a")
    yield "file-mode", changed("file 1 ", "file 1 1 10 3000 5 10000 0 0 a")
    yield "file-mode-8", changed("file 1 ", "file 1 1 10 3000 5 0648 0 0 a")
    yield "file-uid", changed("file 1 ", "file 1 1 10 3000 5 0644 4294967296 0 a")
    yield "file-time", changed("file 1 ", "file 1 1 10 3000 9223372036854775808 0644 0 0 a")
    yield "path-absolute", with_path("/etc/passwd")
    yield "path-dot-dot", with_path("a/../../etc/passwd")
    yield "path-dot-dot-alone", with_path("..")
    yield "path-dot", with_path("a/./b")
    yield "path-encoded-dot-dot", with_path("a/%2E%2E/b")
    yield "path-encoded-slash", with_path("%2Fetc")
    yield "path-empty-component", with_path("a//b")
    yield "path-trailing-slash", with_path("a/")
    yield "path-nul", with_path("a%00b")
    yield "path-bad-escape", with_path("a%2")
    yield "path-raw-byte", with_path("caf\u00e9")
    yield "path-long-name", with_path("n" * 256)
    yield "path-into-mrmr", with_path(".mrmr/drive")
    yield "path-is-mrmr", with_path(".mrmr")
    yield "path-too-long", with_path("/".join(["d" * 200] * 330))
    yield "line-too-long", changed("file 1 ", "file 1 1 10 3000 5 0644 0 0 " + "%41" * 66700)


def bad_raw():
    """NAME, bytes, head's verdict, whole's verdict."""
    m = usual()
    packed = m.pack()
    whole = raw(packed)
    text = "".join(line + "\n" for line in m.head + m.shared).encode()
    head = member("".join(line + "\n" for line in m.head).encode())
    yield "empty", b"", "truncated", "truncated"
    yield "footer-only", footer(b"", b""), "format", "format"
    yield "text", b"this is not a parity file\n" * 20, "format", "format"
    yield "cut-footer", whole[:-1], "format", "format"
    yield "cut-front", whole[1:], "truncated", "truncated"
    yield "grown-front", b"\0" + whole, "format", "format"
    yield "newer", raw(packed, version=2), "newer", "newer"
    yield "newer-longer-footer", raw(packed, version=3, size=160, more=bytes(32)), "newer", "newer"
    yield "newer-flipped", raw(packed, version=2, footer_digest=digest(b"")), "digest", "digest"
    yield "footer-version-0", raw(packed, version=0), "format", "format"
    yield "footer-size", raw(packed, size=160, more=bytes(32)), "format", "format"
    yield "footer-size-0", raw(packed, size=0), "format", "format"
    yield "footer-size-huge", raw(packed, size=0xFFFFFFFF), "format", "format"
    yield "footer-digest", raw(packed, footer_digest=digest(b"")), "digest", "digest"
    yield "footer-magic", raw(packed, magic=b"MRMR-ROW"), "format", "format"
    yield "payload-0", raw(packed, payload_length=0), "format", "format"
    yield "payload-huge", raw(packed, payload_length=1 << 40), "format", "format"
    yield "payload-overflow", raw(packed, payload_length=(1 << 64) - len(packed)), "format", "format"
    yield "payload-too-long", raw(packed, payload_length=3001), "truncated", "truncated"
    yield "payload-digest", raw(packed, payload_digest=digest(b"")), "format", "format"
    yield "manifest-0", raw(packed, manifest_length=0), "format", "format"
    yield "manifest-huge", raw(packed, manifest_length=1 << 40), "format", "format"
    yield "manifest-overflow", raw(packed, manifest_length=(1 << 64) - 3000), "format", "format"
    yield "manifest-too-short", raw(packed, manifest_length=len(packed) - 1), "format", "format"
    yield "manifest-digest", raw(packed, manifest_digest=digest(b"")), "digest", "digest"
    yield "manifest-newer", raw(changed("mrmr-parity", "mrmr-parity 2").pack()), "newer", "newer"
    yield "no-gzip", raw(b"mrmr-parity 1\n"), "format", "format"
    yield "gzip-cut", raw(packed[:-9]), "ok", "truncated"
    yield "gzip-cut-head", raw(packed[:40]), "truncated", "truncated"
    yield "gzip-checksum", raw(packed[:-8] + bytes(8)), "ok", "format"
    yield "gzip-trailing", raw(packed + b"\0\0"), "ok", "format"
    yield "no-end", raw(member(text)), "ok", "truncated"
    yield "no-last-newline", raw(member(text + b"end")), "ok", "truncated"
    yield "after-end", raw(member(text + b"end\nend\n")), "ok", "format"
    yield "head-only", raw(head), "ok", "truncated"
    yield "bomb-newlines", raw(head + member(b"\n" * 1000)), "ok", "format"
    bomb = b"".join(b"extent 0 0 1 1 live\n" for _ in range(20))
    yield "bomb-one-line", raw(head + member(b"a" * (300 << 20))), "ok", "format"
    yield "bomb-records", raw(head + member(bomb)), "ok", "format"
    yield "another-stripe", parity_file(PAYLOAD, usual(stripe=OTHER)), "format", "ok"
    yield "another-generation", parity_file(PAYLOAD, usual(generation=8)), "format", "ok"
    yield "another-row", parity_file(PAYLOAD, usual(row=1)), "format", "ok"
    short = Manifest(STRIPE, 7, 0, 2, b"abc")
    short.share(POOL)
    short.block(0, DRIVE[0], 3)
    yield "another-length", parity_file(b"abc", short), "format", "ok"


def crowd(extents):
    """A stripe of so many extents of a byte each; all in one file's name."""
    payload = bytes(extents)
    m = Manifest(STRIPE, 7, 0, 2, payload)
    m.share(POOL)
    m.block(0, DRIVE[0], extents)
    m.file(b"f", extents)
    leaf = "leaf " + digest(b"\0").hex()
    for i in range(extents):
        m.shared += ["extent %d 0 1 1 live" % i, leaf]
    return parity_file(payload, m)


def cases():
    for name, m in good():
        payload = b"\x05" if name == "all-slots" else PAYLOAD
        yield "good-" + name, parity_file(payload, m), "ok", "ok"
    for name, data in good_raw():
        yield "good-" + name, data, "ok", "ok"
    for name, m in bad_head():
        yield "head-" + name, parity_file(PAYLOAD, m), "format", "format"
    for name, m in bad_shared():
        yield "shared-" + name, parity_file(PAYLOAD, m), "ok", "format"
    for name, data, head, whole in bad_raw():
        yield "raw-" + name, data, head, whole
    yield "raw-too-many-extents", crowd((1 << 18) + 1), "ok", "format"


def main():
    folder = sys.argv[1]
    index = []
    for name, data, head, whole in cases():
        with open(os.path.join(folder, name + ".row"), "wb") as f:
            f.write(data)
        length = {"good-all-slots": 1, "raw-too-many-extents": (1 << 18) + 1}.get(name, len(PAYLOAD))
        index.append("%s %d %s %s\n" % (name, length, head, whole))
    with open(os.path.join(folder, "index.txt"), "w", encoding="ascii") as f:
        f.writelines(index)


if __name__ == "__main__":
    main()
