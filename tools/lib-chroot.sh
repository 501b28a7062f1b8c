# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced by tools/test: another Debian release in a folder, and the whole test run in it.
#
#   mrmr_in_release RELEASE argument...      tools/test argument... there; its exit code
#
# The system is made once, with debootstrap, and kept in $MRMR_RELEASES (default: ~/.cache/mrmr); packages that the
# tests install stay in it, and so do builds. What is mounted into it is nowhere else, and goes at the end, however it ends.

# mrmr_release_enter ROOT argument...      a command in it, with everything mounted that it takes
#
# In a mount namespace of its own, out of which all that is mounted here goes before the command begins. From inside a mere chroot it could be
# neither seen nor let go of: the namespaces that tests make there would hold what tests here unmount for as long as they last.
# What is mounted in it, by whomever, goes with its last process.
mrmr_release_enter()
{
    # shellcheck disable=SC2016
    unshare --mount --propagation private -- sh -euc '
        root=$1
        shift
        mount --bind "$root" "$root"
        cd "$root" # the one that was just mounted
        for dir in proc sys; do mount --rbind "/$dir" "$dir"; done
        mount --bind /dev dev
        mount --bind /dev/pts dev/pts
        mount -t tmpfs -o mode=1777 tmpfs dev/shm
        pivot_root . mnt
        cd /
        umount -l /mnt
        exec "$@"' sh "$@"
}

# The base system. A debootstrap that stops in the middle of configuring is finished by apt.
mrmr_release_make()
{
    local release=$1 root=$2
    command -v debootstrap >/dev/null || mrmr_die "debootstrap is missing; as root run: apt-get install debootstrap"
    mkdir -p "$root"
    debootstrap --variant=minbase "$release" "$root" || [ -x "$root/usr/bin/apt-get" ]
    mrmr_release_enter "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive apt-get -q -y -f install
    ln -sf /proc/self/mounts "$root/etc/mtab" # as on a system that was booted once
    touch "$root/.mrmr-made"
}

mrmr_in_release()
{
    local release=$1 root code=0
    shift
    [ "$(id -u)" -eq 0 ] || mrmr_die "another release is a folder with a root of its own, which takes root"
    root=${MRMR_RELEASES:-${XDG_CACHE_HOME:-$HOME/.cache}/mrmr}/$release
    [ -e "$root/.mrmr-made" ] || mrmr_release_make "$release" "$root"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # Its network is ours: a package that brings a server (samba) must not start it.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    mkdir -p "$root/root/mrmr"
    # The tree as it lies here, without what was built; builds of an earlier run stay there.
    find "$root/root/mrmr" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    tar -C "$MRMR_ROOT" --exclude=./build --exclude=./.git -cf - . | tar -C "$root/root/mrmr" -xf -
    mrmr_release_enter "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        ${MRMR_ROUNDS:+MRMR_ROUNDS="$MRMR_ROUNDS"} ${MRMR_SEED:+MRMR_SEED="$MRMR_SEED"} \
        /root/mrmr/tools/test "$@" || code=$?
    return "$code"
}
