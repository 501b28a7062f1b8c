# SPDX-License-Identifier: GPL-3.0-or-later
"""Mount namespaces for tests. A new one has a copy of every mount, and what somebody unmounts elsewhere lives on in it: other tests would wait
for their servers to end, and for their devices, as long as it lasts. So it lets go of all that tests have mounted, but for its own. From inside a
chroot nothing of what is mounted outside can be let go of: see mrmr_release_enter in tools/lib-chroot.sh."""
import os
import tempfile

LET_GO = """findmnt --raw --noheadings --output TARGET | tac | while read -r target; do
    target=$(printf '%b' "$target")
    case $target in
    "$KEEP" | "$KEEP"/*) ;;
    "$OTHERS"/* | /dev/shm/*) umount -l "$target" || true ;;
    esac
done
"""


def env_of(folder, **more):
    """What LET_GO wants to know: what is mounted in the folder is this test's own."""
    return dict(os.environ, KEEP=os.path.realpath(folder), OTHERS=os.path.realpath(tempfile.gettempdir()), **{k: os.fspath(v) for k, v in more.items()})
