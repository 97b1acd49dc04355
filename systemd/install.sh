#!/bin/bash
# Installs the busi-kd daemon as a systemd service on Raspberry Pi OS or Debian; run as root from a checkout.
# A second run brings everything up to date and keeps /etc/busi-kd/config.toml.
# Research use only. Not a medical device, never a diagnosis.
set -euo pipefail

usage() {
    cat <<'END'
usage: systemd/install.sh [options]                   install or update, then start
       systemd/install.sh --uninstall [--root DIR]    remove; configuration and recorded files stay

  --bundle DIR    install this model bundle, which later updates keep (default: the one that was installed before,
                  else the one that ships with busi-kd, which updates replace by theirs)
  --key FILE.pub  trust the model maker who holds the private half of this key
  --wheel FILE    install this wheel of busi-kd instead of building the checkout
  --no-venv       leave Python alone: the package and its programs come from elsewhere (for packagers)
  --no-start      install and enable, but do not start
  --any-machine   do not insist on a 64-bit Arm machine
  --root DIR      put everything under DIR and leave systemd alone, to look at it or to pack it; needs no root.
                  A Python environment made this way works where it stands, but cannot be moved.
END
}

die() {
    echo "install.sh: $*" >&2
    exit 1
}

need_value() {
    [ "$2" -ge 2 ] || die "$1 needs a value; see --help."
}

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bundle='' key='' wheel='' root='' venv=yes start=yes any_machine=no uninstall=no
while [ $# -gt 0 ]; do
    case $1 in
        --bundle) need_value "$1" $#; bundle=$2; shift ;;
        --key) need_value "$1" $#; key=$2; shift ;;
        --wheel) need_value "$1" $#; wheel=$2; shift ;;
        --root) need_value "$1" $#; root=$2; shift ;;
        --no-venv) venv=no ;;
        --no-start) start=no ;;
        --any-machine) any_machine=yes ;;
        --uninstall) uninstall=yes ;;
        -h | --help) usage; exit 0 ;;
        *) die "unknown option '$1'; see --help." ;;
    esac
    shift
done

if [ -n "$root" ]; then
    [ -d "$root" ] || die "--root $root: no such folder; make it first."
    root=$(cd "$root" && pwd)
    [ "$root" != / ] || root=''
fi
prefix=$root/opt/busi-kd
share=$prefix/share
models=$root/var/lib/busi-kd/models
unit=$root/etc/systemd/system/busi-kd.service
i2c=$unit.d/i2c.conf
config=$root/etc/busi-kd/config.toml
options=$root/etc/busi-kd/daemon.env # of versions before config.toml
keys=$root/etc/busi-kd/trusted-keys
users=$root/etc/sysusers.d/busi-kd.conf # the service's user

[ -n "$root" ] || [ "$(id -u)" -eq 0 ] || die "this needs root; run it with sudo."

# In a chroot or an image under construction systemd does not run: units can be enabled there, but not started.
systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# The service names a group only where there is one: else systemd would not start it.
allow_i2c() {
    if [ -e "$root/dev/i2c-1" ] && grep -qs '^i2c:' "$root/etc/group"; then
        install -d -m 755 "${i2c%/*}"
        install -m 644 "$checkout/systemd/i2c.conf" "$i2c"
        echo "battery: a gauge on /dev/i2c-1 may be read ($i2c)"
    else
        forbid_i2c
    fi
}

forbid_i2c() {
    rm -f "$i2c"
    [ ! -d "${i2c%/*}" ] || rmdir --ignore-fail-on-non-empty "${i2c%/*}" # own drop-ins stay
}

remove() {
    if [ -z "$root" ] && [ -e "$unit" ]; then
        if systemd_runs; then
            systemctl disable --now busi-kd.service || die "the service cannot be stopped; see systemctl status busi-kd."
        else
            systemctl disable busi-kd.service || die "the service cannot be disabled."
        fi
    fi
    rm -f "$unit" "$users"
    forbid_i2c
    rm -rf "$prefix"
    if systemd_runs; then
        systemctl daemon-reload
        systemctl reset-failed busi-kd.service 2>/dev/null || true # it fails when the service had not failed
    fi
    echo "removed; kept: ${config%/*} and $root/var/lib/busi-kd"
}

check_machine() {
    local python=$1
    command -v "$python" >/dev/null || die "python3 is missing; run: apt install python3 python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$("$python" --version) is too old; busi-kd needs Python 3.11 or newer (Debian 12, Raspberry Pi OS bookworm)."
    "$python" -c 'import venv, ensurepip' 2>/dev/null || die "Python's venv is missing; run: apt install python3-venv"
    # pyenv and the like live in a home folder, which the service does not see.
    local base
    base=$("$python" -c 'import sys; print(sys.base_prefix)')
    case $root$base in
        /home/* | /root/*) die "python3 is the one in $base, which the service cannot see; put the system's first in PATH." ;;
    esac
    [ "$any_machine" = no ] || return 0
    # Raspberry Pi OS has 64-bit kernels below a 32-bit system: uname alone does not tell.
    local bits
    bits=$("$python" -c 'import struct; print(8 * struct.calcsize("P"))')
    [ "$(uname -m)" = aarch64 ] && [ "$bits" = 64 ] ||
        die "this is $(uname -m) with a $bits-bit system, but busi-kd runs on 64-bit Arm; take the 64-bit Raspberry Pi OS, or give --any-machine."
}

check_bundle() {
    local folder=$1
    [ -f "$folder/bundle.json" ] && [ -f "$folder/model.tflite" ] ||
        die "$folder is no model bundle (bundle.json and model.tflite); give the folder that busi-kd convert wrote."
}

install_package() {
    # A Python that the system has replaced (a Debian upgrade) leaves an environment that cannot start.
    if ! "$prefix/bin/python" -c 'import pip' 2>/dev/null; then
        rm -rf "${prefix:?}"/{bin,include,lib,lib64,pyvenv.cfg}
        "$1" -m venv "$prefix" || die "the Python environment $prefix could not be made."
    fi
    local what=$wheel
    if [ -z "$what" ]; then
        # From a copy: a build in the checkout leaves root's files there, and the next build takes up stale ones.
        copy=$(mktemp -d)
        trap 'rm -rf "$copy"' EXIT
        cp -r "$checkout"/{pyproject.toml,README.md,device,train,convert} "$copy"
        what=$copy
    fi
    # The second call because a changed checkout keeps its version, and pip leaves the same version alone.
    "$prefix/bin/pip" install --quiet --disable-pip-version-check --constraint "$constraints" "$what" || pip_failed
    "$prefix/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$what" || pip_failed
}

pip_failed() {
    die "pip could not install busi-kd (its reason stands above); nothing else was changed, run this again."
}

# Before anything is changed: does the wheel or the checkout hold a model?
ships_one() {
    if [ -n "$wheel" ]; then
        "$python" -m zipfile -l "$wheel" | grep '^device/models/[^/]*/bundle\.json' >/dev/null
    else
        compgen -G "$checkout/device/models/*/bundle.json" >/dev/null
    fi
}

# busi-kd itself checks the bundle and switches to it as a whole or not at all.
install_bundle() {
    local trusted=()
    [ -z "$root" ] || trusted=(--trusted-keys "$keys") # else those of this machine would be asked
    (cd / && "$prefix/bin/busi-kd" device models install "$bundle" --into "$models" "${trusted[@]}") ||
        die "the bundle $bundle was refused; the model that was installed before stays."
}

# Options in daemon.env win over config.toml. As it was shipped that file would hold everybody at the phantom, so it goes
# out of the way; a changed one is kept, and goes on working.
migrate_options() {
    [ -f "$options" ] || return 0
    if [ "$(grep -v '^[[:space:]]*\(#\|$\)' "$options")" = 'BUSI_KD_ARGS="--source phantom"' ]; then
        mv "$options" "$options.old"
        echo "moved: $options to $options.old; settings now belong into $config."
        return 0
    fi
    echo "kept: $options; its options win over $config. Move them there and delete it."
    # Versions before signed models copied the bundle to there.
    ! grep -q '^BUSI_KD_ARGS=.*/share/bundle' "$options" ||
        echo "note: $options still names $share/bundle, which is not updated any more; remove that --bundle from it."
}

if [ "$uninstall" = yes ]; then
    remove
    exit 0
fi
# Its unit would be hidden by the one that this writes to /etc.
[ ! -e "$root/usr/lib/busi-kd/bin/busi-kd" ] ||
    die "the Debian package busi-kd is installed; this is for a checkout. Remove the package first: apt remove busi-kd"

constraints=$checkout/constraints.txt
python=$(command -v python3 || echo python3)
if [ "$venv" = yes ]; then
    check_machine "$python"
    [ -f "$constraints" ] || die "$constraints is missing; run this from a whole checkout."
    [ -z "$wheel" ] || [ -f "$wheel" ] || die "--wheel $wheel: no such file."
fi
[ -z "$key" ] || [[ -f "$key" && "$key" = *.pub ]] || die "--key $key: no such file, or its name does not end in .pub."
if [ -n "$bundle" ]; then
    [ "$venv" = yes ] || die "--bundle cannot go with --no-venv, for nothing could check it; run: busi-kd device models install DIR"
    check_bundle "$bundle"
    bundle=$(cd "$bundle" && pwd)
elif [ "$venv" = yes ] && [ ! -L "$models/current" ]; then
    ships_one || die "no model ships with this copy of busi-kd; give one with --bundle DIR."
fi

install -d -m 755 "$prefix" "$share/doc" "${unit%/*}" "${config%/*}" "$keys"
[ "$venv" = no ] || install_package "$python"
[ -z "$key" ] || install -m 644 "$key" "$keys/"
if [ -n "$bundle" ]; then
    install_bundle
elif [ -L "$models/current" ]; then
    echo "kept: $models/current"
else
    echo "model: the one that ships with busi-kd"
fi
install -m 644 "$checkout/systemd/README.md" "$share/doc/README.md"
install -m 644 "$checkout/systemd/config.toml" "$share/doc/config.toml"
if [ -e "$config" ] || [ -L "$config" ]; then
    echo "kept: $config (new keys stand in $share/doc/config.toml)"
else
    install -m 644 "$checkout/systemd/config.toml" "$config"
fi
migrate_options
install -m 644 "$checkout/systemd/busi-kd.service" "$unit"
install -D -m 644 "$checkout/systemd/sysusers.conf" "$users"
[ -n "$root" ] || systemd-sysusers "$users" || die "the service's user could not be made; see $users."
allow_i2c

if [ -n "$root" ]; then
    echo "staged under $root; nothing was enabled or started."
    exit 0
fi
systemctl enable --quiet busi-kd.service || die "the service could not be enabled."
if ! systemd_runs; then
    echo "installed and enabled; systemd does not run here, so it starts at the next boot."
    exit 0
fi
systemctl daemon-reload
if [ "$start" = no ]; then
    echo "installed and enabled; start it with: systemctl start busi-kd"
    exit 0
fi
systemctl reset-failed busi-kd.service 2>/dev/null || true # it fails when the service had not failed
systemctl restart busi-kd.service || die "busi-kd did not start; the reason is in: journalctl -u busi-kd -n 20"
echo "installed and running; watch it with: journalctl -fu busi-kd"
