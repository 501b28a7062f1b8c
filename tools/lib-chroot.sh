# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced by tools/test: another Debian release in a folder, and the whole test run in it.
#
#   mrmr_in_release RELEASE argument...      tools/test argument... there; its exit code
#
# The system is made once, with debootstrap, and kept in $MRMR_RELEASES (default: ~/.cache/mrmr); packages that the
# tests install stay in it, and so do builds. What is mounted into it is unmounted at the end, however it ends.

mrmr_release_mount()
{
    local root=$1 dir
    mount --bind "$root" "$root"
    mount --make-private "$root"
    for dir in proc sys dev; do
        mount --rbind "/$dir" "$root/$dir"
        mount --make-rslave "$root/$dir"
    done
}

mrmr_release_umount()
{
    local root=$1 dir
    for dir in proc sys dev; do
        umount -R -l "$root/$dir" 2>/dev/null || true
    done
    umount -l "$root" 2>/dev/null || true
}

# The base system. A debootstrap that stops in the middle of configuring is finished by apt.
mrmr_release_make()
{
    local release=$1 root=$2
    command -v debootstrap >/dev/null || mrmr_die "debootstrap is missing; as root run: apt-get install debootstrap"
    mkdir -p "$root"
    debootstrap --variant=minbase "$release" "$root" || [ -x "$root/usr/bin/apt-get" ]
    mrmr_release_mount "$root"
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive apt-get -q -y -f install
    mrmr_release_umount "$root"
    ln -sf /proc/self/mounts "$root/etc/mtab" # as on a system that was booted once
    touch "$root/.mrmr-made"
}

mrmr_in_release()
{
    local release=$1 code=0
    shift
    [ "$(id -u)" -eq 0 ] || mrmr_die "another release is a chroot, which takes root"
    root=${MRMR_RELEASES:-${XDG_CACHE_HOME:-$HOME/.cache}/mrmr}/$release # the trap's, too, which runs at the very end
    trap 'mrmr_release_umount "$root"' EXIT
    [ -e "$root/.mrmr-made" ] || mrmr_release_make "$release" "$root"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # Its network is ours: a package that brings a server (samba) must not start it.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    mkdir -p "$root/root/mrmr"
    # The tree as it lies here, without what was built; builds of an earlier run stay there.
    find "$root/root/mrmr" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    tar -C "$MRMR_ROOT" --exclude=./build --exclude=./.git -cf - . | tar -C "$root/root/mrmr" -xf -
    mrmr_release_mount "$root"
    chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        ${MRMR_ROUNDS:+MRMR_ROUNDS="$MRMR_ROUNDS"} ${MRMR_SEED:+MRMR_SEED="$MRMR_SEED"} \
        /root/mrmr/tools/test "$@" || code=$?
    return "$code"
}
