# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced by tools/quickstart and tools/test: headings, and the packages that building and testing need.
#
#   mrmr_need build          what a build needs
#   mrmr_need build tests    what the tests need on top
#
# On Debian 12 and later and Ubuntu 24.04 and later what is missing is installed with apt (through sudo only where
# this is not root); with nothing missing no package tool is run at all, so it works offline. On other systems the
# missing things are named, by their Debian packages, and nothing is installed.

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # mkfs and losetup live there, and not every user looks there

mrmr_heading()
{
    printf '\n=== %s ===\n' "$*"
}

mrmr_die()
{
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# One line a need: group, Debian package, how to see that it is there on a system without dpkg.
mrmr_needs()
{
    cat <<END
build gcc command gcc
build libc6-dev header stdio.h
build cmake command cmake
build ninja-build command ninja
build pkg-config command pkg-config
build libisal-dev module libisal
build libb2-dev module libb2
build libsqlite3-dev module sqlite3
build zlib1g-dev module zlib
build libfuse3-dev module fuse3
build fuse3 command fusermount3
tests clang command clang
tests $(mrmr_clang_rt) sanitizer address
tests clang-format command clang-format
tests libcmocka-dev module cmocka
tests python3 command python3
tests python3-pytest python pytest
tests sqlite3 command sqlite3
tests attr command setfattr
tests acl command setfacl
tests e2fsprogs command mkfs.ext4
tests xfsprogs command mkfs.xfs
tests btrfs-progs command mkfs.btrfs
tests mount command mount
tests util-linux command setarch
tests man-db command man
tests systemd command systemd-analyze
tests rsync command rsync
tests bindfs command bindfs
tests git command git
tests fio command fio
tests samba command smbd
tests smbclient command smbclient
tests mergerfs command mergerfs
tests snapraid command snapraid
END
}

# The sanitizers' runtime goes by clang's version, which goes by the release.
mrmr_clang_rt()
{
    case $(mrmr_system) in
    debian-12) echo libclang-rt-14-dev ;;
    debian-13) echo libclang-rt-19-dev ;;
    ubuntu-24.04) echo libclang-rt-18-dev ;;
    *) echo libclang-rt-dev ;;
    esac
}

mrmr_system()
{
    # shellcheck disable=SC1091
    (. /etc/os-release 2>/dev/null && printf '%s-%s\n' "${ID:-unknown}" "${VERSION_ID:-}") || echo unknown-
}

# Whether apt can be trusted to have these packages under these names.
mrmr_has_apt()
{
    local system version
    system=$(mrmr_system)
    version=${system#*-}
    command -v apt-get dpkg-query >/dev/null || return 1
    case $system in
    debian- | debian-1[2-9]*) return 0 ;;
    ubuntu-*) [ "${version%%.*}" -ge 24 ] ;;
    *) return 1 ;;
    esac
}

mrmr_probe()
{
    case $1 in
    command) command -v "$2" >/dev/null ;;
    module) pkg-config --exists "$2" 2>/dev/null ;;
    python) /usr/bin/python3 -c "import $2" 2>/dev/null ;;
    header) printf '#include <%s>\n' "$2" | gcc -E - >/dev/null 2>&1 ;;
    sanitizer) printf 'int main(void){return 0;}\n' | clang -fsanitize="$2" -x c -o /dev/null - 2>/dev/null ;;
    esac
}

mrmr_installed()
{
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# The Debian packages of the wanted groups that are not there.
mrmr_missing()
{
    local group package kind what
    while read -r group package kind what; do
        case " $* " in *" $group "*) ;; *) continue ;; esac
        if mrmr_has_apt; then
            mrmr_installed "$package" || echo "$package"
        else
            mrmr_probe "$kind" "$what" || echo "$package"
        fi
    done < <(mrmr_needs)
}

mrmr_apt()
{
    local run=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || return 1
        run=(sudo)
        [ -e /dev/tty ] && (: </dev/tty) 2>/dev/null || run=(sudo -n) # nobody is there to type a password
    fi
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=3 "$@" </dev/null
}

mrmr_need()
{
    local missing
    mapfile -t missing < <(mrmr_missing "$@")
    if [ ${#missing[@]} -eq 0 ]; then
        echo "All that is needed is installed."
        return
    fi
    if ! mrmr_has_apt; then
        mrmr_die "on this system please install these by hand (they go by their Debian names), then run this again:" \
            "${missing[@]}"
    fi
    echo "Installing: ${missing[*]}"
    if ! { mrmr_apt update && mrmr_apt install --no-install-recommends "${missing[@]}"; }; then
        mrmr_die "could not install them; as root run: apt-get install ${missing[*]}"
    fi
}

# Configure a build folder: mrmr_configure DIR cmake-argument...
# One that was configured for another place (a copied or renamed tree) is made anew.
mrmr_configure()
{
    local dir=$1 home
    shift
    home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$dir/CMakeCache.txt" 2>/dev/null || true)
    if [ -n "$home" ] && [ "$home" != "$MRMR_ROOT" ]; then
        rm -rf "$dir"
    fi
    mkdir -p "$dir"
    if ! cmake -S "$MRMR_ROOT" -B "$dir" -G Ninja "$@" >"$dir/configure.log" 2>&1; then
        cat "$dir/configure.log"
        return 1
    fi
}
