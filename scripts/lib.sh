# Shared by the scripts in this folder: what to print, what to install, how to start an engine.
#
# Sourced, never run. Works with bash 3.2 (macOS) and later.
# shellcheck shell=bash

# Where the repository is; scripts work from there, whatever directory they are called from.
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
# Debian keeps dockerd, nginx and iptables where a plain user's PATH does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PATH
# What cargo puts where; the scripts keep their own things below it, in tools/ and logs/.
TARGET="${CARGO_TARGET_DIR:-$ROOT/target}"

# Exit code for "this machine lacks something, here is what": as waybill's own for a wrong call.
readonly EXIT_SETUP=2

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' GREEN='' PLAIN=''
fi
export BOLD RED GREEN PLAIN

# say TEXT: a line of status, on stderr.
say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }

# fail TEXT: an error, on stderr; the caller decides how to end.
fail() { printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2; }

# setup_error TEXT: this machine cannot go on as it is.
setup_error() {
    fail "$*"
    exit "$EXIT_SETUP"
}

# have COMMAND: whether it can be called.
have() { command -v "$1" >/dev/null 2>&1; }

# platform: one of debian, linux, macos, windows, other. Debian's derivatives count as Debian.
platform() {
    case "$(uname -s)" in
        Linux)
            if have apt-get && grep -qsE '^ID(_LIKE)?=.*debian' /etc/os-release; then
                echo debian
            else
                echo linux
            fi
            ;;
        Darwin) echo macos ;;
        MINGW* | MSYS* | CYGWIN*) echo windows ;;
        *) echo other ;;
    esac
}

# need_supported_platform: ends the script where waybill does not run at all.
need_supported_platform() {
    case "$(platform)" in
        debian | linux | macos) ;;
        windows) setup_error "Windows is not supported; use Linux, WSL 2 or macOS" ;;
        *) setup_error "$(uname -s) is not supported; use Linux or macOS" ;;
    esac
}

# as_root COMMAND…: runs it as root, through sudo where needed.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        setup_error "'$*' needs root: run this as root, or install sudo"
    fi
}

# need COMMAND=PACKAGE…: makes sure that each command can be called. On Debian what is missing is
# installed; elsewhere it is listed, all at once, and the script ends.
need() {
    local pair missing=()
    for pair in "$@"; do
        have "${pair%%=*}" || missing+=("$pair")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(platform)" = debian ]; then
        local packages
        packages="$(printf '%s\n' "${missing[@]#*=}" | sort -u)"
        # shellcheck disable=SC2086 # A list of words.
        install_packages $packages
        for pair in "${missing[@]}"; do
            have "${pair%%=*}" || setup_error "${pair#*=} is installed, but '${pair%%=*}' is not there"
        done
    else
        fail "these commands are missing, and only Debian's packages are installed by this script:"
        for pair in "${missing[@]}"; do
            printf '    %-16s (in Debian the package %s)\n' "${pair%%=*}" "${pair#*=}" >&2
        done
        printf 'Install them with your package manager, then run this again.\n' >&2
        exit "$EXIT_SETUP"
    fi
}

# install_packages PACKAGE…: Debian's packages. The lists are fetched once, and only when needed.
install_packages() {
    local log="$TARGET/logs/apt.log"
    mkdir -p "$TARGET/logs"
    say "installing $*"
    if ! apt_install "$@" >"$log" 2>&1; then
        # An empty or an old list: fetch it and try again.
        if ! { as_root apt-get -o DPkg::Lock::Timeout=120 update && apt_install "$@"; } \
            </dev/null >"$log" 2>&1; then
            tail -n 30 "$log" >&2
            setup_error "apt-get could not install $*; the whole log is in $log"
        fi
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
        install --yes --quiet --no-install-recommends "$@" </dev/null
}

# busybox_path: prints a statically linked busybox for images, or ends the script. BUSYBOX names
# another one.
busybox_path() {
    local path="${BUSYBOX:-}"
    if [ -n "$path" ]; then
        [ -x "$path" ] || setup_error "BUSYBOX=$path is no program"
    elif [ "$(platform)" = debian ]; then
        is_static "$(command -v busybox)" || install_packages busybox-static
        path="$(command -v busybox)"
    elif is_static "$(command -v busybox)"; then
        path="$(command -v busybox)"
    else
        setup_error "a statically linked busybox for Linux is missing; name one with BUSYBOX=PATH"
    fi
    printf '%s\n' "$path"
}

# is_static PATH: whether the program needs no shared library.
is_static() {
    [ -n "$1" ] && have ldd || return 1
    # Of such a program ldd says so, and fails.
    case "$(LC_ALL=C ldd "$1" 2>&1 || true)" in
        *'not a dynamic executable'*) return 0 ;;
        *) return 1 ;;
    esac
}

# need_rust: a toolchain is not installed by these scripts, it is asked for.
need_rust() {
    [ -d "$HOME/.cargo/bin" ] && PATH="$PATH:$HOME/.cargo/bin"
    local wanted found
    wanted="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")"
    if ! have cargo || ! have rustc; then
        setup_error "a Rust toolchain is missing: install Rust $wanted or later (with rustup, or your system's packages), then run this again"
    fi
    found="$(rustc --version | cut -d' ' -f2)"
    if ! version_at_least "${found%%-*}" "$wanted"; then
        setup_error "rustc is $found, and $wanted or later is needed: update the toolchain ('rustup update stable')"
    fi
    # Some crates hold C code, and every program is linked by cc.
    need cc=gcc
    if [ "$(platform)" = debian ] && ! [ -e /usr/include/stdlib.h ]; then install_packages libc6-dev; fi
}

# version_at_least FOUND WANTED: compares two or three numbers with dots between.
version_at_least() {
    local first
    first="$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)"
    [ "$first" = "$2" ]
}

# engine_answers: whether a container engine can be used by this user.
engine_answers() { have docker && docker version >/dev/null 2>&1; }

# need_engine: an engine that answers. On Debian one is installed and started; elsewhere it is
# asked for. What is started here stays, so that the next run finds it.
need_engine() {
    engine_answers && return 0
    if [ "$(platform)" != debian ]; then
        need docker=docker.io
        setup_error "no container engine answers: start Docker (or set DOCKER_HOST), then run this again"
    fi
    if [ -n "${DOCKER_HOST:-}" ]; then
        setup_error "no container engine answers at DOCKER_HOST=$DOCKER_HOST"
    fi
    # docker.io recommends, and does not ask for, what its bridge network needs.
    need docker=docker.io dockerd=docker.io iptables=iptables
    engine_answers && return 0
    open_engine_socket && engine_answers && return 0
    start_engine
}

# start_engine: the system's service where systemd runs, else a process of our own.
start_engine() {
    local log="$TARGET/logs/dockerd.log"
    mkdir -p "$TARGET/logs"
    : >"$log"
    say "starting a container engine (dockerd)"
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker >>"$log" 2>&1 </dev/null || true
    else
        # A session of its own, or Ctrl-C in the script's terminal would end the engine too.
        # shellcheck disable=SC2016 # The inner shell expands it.
        as_root sh -c 'nohup setsid --fork dockerd </dev/null >>"$1" 2>&1' sh "$log"
    fi
    local waited=0
    until open_engine_socket && engine_answers; do
        if [ "$waited" -ge 60 ] || grep -q '^failed to start daemon' "$log"; then
            if [ -d /run/systemd/system ]; then
                as_root journalctl -u docker -n 30 --no-pager >>"$log" 2>&1 || true
            fi
            # What it tells in passing would hide what went wrong.
            grep -v 'level=info' "$log" | tail -n 20 >&2
            setup_error "the container engine does not answer after $waited seconds; its log is $log"
        fi
        sleep 1
        waited=$((waited + 1))
    done
}

# open_engine_socket: lets this user, and nobody else, use an engine that runs and belongs to root.
# It lasts until the engine is started again.
open_engine_socket() {
    local socket=/var/run/docker.sock
    [ -S "$socket" ] || return 1
    [ ! -w "$socket" ] || return 0
    need setfacl=acl
    as_root setfacl -m "u:$(id -u):rw" "$socket"
}

# need_emulation: what builds for linux/arm64 need on a machine of another kind: qemu registered with
# the kernel, and a busybox for arm64 to make images of, at $TARGET/tools/busybox-arm64. Where the
# kernel does not allow it, that is said, and the tests see only that waybill refuses such builds.
need_emulation() {
    local registered=/proc/sys/fs/binfmt_misc
    if [ "$(platform)" != debian ]; then
        say "no emulation of arm64 is set up here (only on Debian): tests see only its refusal"
        return 0
    fi
    if ! [ -e "$registered/register" ] &&
        ! as_root mount -t binfmt_misc binfmt_misc "$registered" 2>/dev/null; then
        say "no emulation of arm64 here (binfmt_misc cannot be mounted): tests see only its refusal"
        return 0
    fi
    if ! [ -e "$registered/qemu-aarch64" ]; then
        need qemu-aarch64-static=qemu-user-static update-binfmts=binfmt-support
        as_root update-binfmts --enable qemu-aarch64 >/dev/null 2>&1 || true
    fi
    if ! [ -e "$registered/qemu-aarch64" ]; then
        say "no emulation of arm64 here (the kernel does not take it): tests see only its refusal"
        return 0
    fi
    [ -x "$TARGET/tools/busybox-arm64" ] || fetch_busybox_arm64
}

# fetch_busybox_arm64: out of Debian's package, which is not installed. The architecture is known to
# dpkg only meanwhile, unless it was before.
fetch_busybox_arm64() {
    local directory known
    directory="$(temporary_directory busybox)"
    known="$(dpkg --print-foreign-architectures)"
    as_root dpkg --add-architecture arm64
    (
        cd "$directory"
        if ! apt-get download --quiet busybox-static:arm64 >apt.log 2>&1; then
            as_root apt-get -o DPkg::Lock::Timeout=120 update >apt.log 2>&1 &&
                apt-get download --quiet busybox-static:arm64 >>apt.log 2>&1
        fi
    ) || true
    case $'\n'"$known"$'\n' in
        *$'\n'arm64$'\n'*) ;;
        *) as_root dpkg --remove-architecture arm64 ;;
    esac
    if ! dpkg-deb --extract "$directory"/busybox-static_*_arm64.deb "$directory/root"; then
        cat "$directory/apt.log" >&2
        setup_error "apt-get could not fetch busybox-static for arm64"
    fi
    mkdir -p "$TARGET/tools"
    install -m 755 "$(find "$directory/root" -path '*bin/busybox' -type f)" "$TARGET/tools/busybox-arm64"
    rm -rf "$directory"
}

# need_python: Python 3 with what the scripts ask of it.
need_python() { need python3=python3; }

# temporary_directory NAME: a new directory, its path printed; the caller removes it.
temporary_directory() { mktemp -d "${TMPDIR:-/tmp}/waybill-$1.XXXXXX"; }

# remove_images_below DIRECTORY: the images that waybill built from commits of the repositories
# there, and no others. What the engine still has in its build cache is the engine's to tidy.
remove_images_below() {
    local label=org.opencontainers.image.revision ids image commit repository
    ids="$(docker images --quiet --filter "label=$label" | sort -u)"
    [ -n "$ids" ] || return 0
    # shellcheck disable=SC2086 # Several ids.
    docker inspect --format "{{.Id}} {{index .Config.Labels \"$label\"}}" $ids |
        while read -r image commit; do
            for repository in "$1"/*/.git; do
                if git --git-dir "$repository" cat-file -e "$commit^{commit}" 2>/dev/null; then
                    docker rmi --force "$image" >/dev/null 2>&1 || true
                fi
            done
        done
}

# waybill_program: builds waybill where needed and prints its path. A release build that is newer
# than every source is taken, else the debug build, which takes less time to make.
waybill_program() {
    if [ -n "${WAYBILL:-}" ]; then
        [ -x "$WAYBILL" ] || setup_error "WAYBILL=$WAYBILL is no program"
        printf '%s\n' "$WAYBILL"
        return 0
    fi
    local release="$TARGET/release/waybill"
    if [ -x "$release" ] && [ -z "$(newer_source "$release")" ]; then
        printf '%s\n' "$release"
        return 0
    fi
    need_rust
    (cd "$ROOT" && cargo build --locked --bin waybill >&2) || return 1
    printf '%s\n' "$TARGET/debug/waybill"
}

# newer_source FILE: prints a source of waybill that is newer than the file, if there is one.
newer_source() {
    find "$ROOT/src" "$ROOT/Cargo.toml" "$ROOT/Cargo.lock" -type f -newer "$1" | head -n 1
}
