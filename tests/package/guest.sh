#!/bin/sh
# Runs as root in the booted Debian: each step leaves what it said in /host/out/NAME and its status in NAME.status.
# Nothing is judged here; test_native.py does that.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
out=/host/out

step() {
    name=$1
    shift
    "$@" >"$out/$name" 2>&1 </dev/null
    echo $? >"$out/$name.status"
}

# Without these all that follows would only take its time.
must() {
    step "$@"
    test "$(cat "$out/$1.status")" = 0 || exit 1
}

# All files but those that change by themselves: what dpkg, apt, systemd and the C library note down.
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /host -o -path /var/tmp \
        -o -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache \
        -o -path /var/lib/systemd \) -prune -o -print | sort
    find /var/lib/systemd /run/systemd/system -path '*busi-kd*' | sort
}

apt() {
    # What a person types, without the questions; a changed configuration file stays.
    apt-get install --yes --allow-downgrades -o Dpkg::Options::=--force-confold "$1"
}

properties() {
    systemctl show "${1:-busi-kd.service}" -p LoadState,ActiveState,Result,MainPID,User,FragmentPath,UnitFileState,StatusText
}

# Waits for something that must come.
until_true() {
    for _ in $(seq 200); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    return 1
}

says() { journalctl -u busi-kd.service --no-pager -o cat | grep -q -- "$1"; }

# Kills the service until systemd starts it no more.
given_up() {
    systemctl is-failed busi-kd && return 0
    systemctl kill --signal=KILL busi-kd
    return 1
}

judges() { says 'judged=[1-9].*signal=ok' && properties | grep -q '^StatusText=signal ok'; }
owners() { find /var/lib/busi-kd -printf '%u:%g %m %P\n' | sort -k3; }

until_true test -S /run/systemd/private
if [ -e /host/before-package.sh ]; then
    step files-first files
    sh /host/before-package.sh
    must legacy-install apt "$(echo /host/first/*.deb)"
    step legacy-properties properties
    step legacy-owners owners
    step legacy-config cat /etc/busi-kd/config.toml
    step legacy-purge apt-get purge --yes busi-kd
fi

step files-before files
must install apt "$(echo /host/first/*.deb)"
step start systemctl start busi-kd
until_true judges
step properties properties
step journal journalctl -u busi-kd.service --no-pager -o cat
step status systemctl status --no-pager --lines=3 busi-kd
step verify dpkg --verify busi-kd
# But for the kiosk, whose browser is not there.
step units systemd-analyze verify $(dpkg -L busi-kd | grep -E 'systemd/system/.*\.(service|timer|socket)$' | grep -v kiosk)
step security systemd-analyze security --no-pager busi-kd.service
step enabled systemctl list-unit-files --no-pager --no-legend 'busi-kd*'
step timer systemctl list-timers --no-pager --all 'busi-kd*'
step edid-unit systemctl show busi-kd-edid.service -p LoadState,ActiveState,BindsTo
step users getent passwd busi-kd busi-kd-kiosk
step version busi-kd --version
step no-train busi-kd train audit
step doctor busi-kd device doctor
step udev udevadm verify /usr/lib/udev/rules.d/70-busi-kd.rules
step imports /usr/lib/busi-kd/bin/python /host/imports.py
step compiled sh -c 'find /usr/lib/busi-kd -name "*.pyc" | wc -l'
step manager systemctl show -p RuntimeWatchdogUSec
step health busi-kd device health

# A service that systemd has given up is started again by the look at it, one that was stopped is not.
mkdir -p /run/systemd/system/busi-kd.service.d
printf '[Unit]\nStartLimitBurst=1\n' >/run/systemd/system/busi-kd.service.d/once.conf
systemctl daemon-reload
until_true given_up
step failed-properties properties
step failed-health busi-kd device health
step mended systemctl start busi-kd-health.service
step mended-properties properties
step mended-journal journalctl -u busi-kd-health.service --no-pager -o cat
rm -r /run/systemd/system/busi-kd.service.d
systemctl daemon-reload
systemctl stop busi-kd
step stopped-health systemctl start busi-kd-health.service
step stopped-properties properties

# What a clinic leaves on its machine: settings, an installed model, a study.
sed -i -e '/^#\[recorder\]/,/^#reserve = /{s/^#\[recorder\]/[recorder]/;s/^#enabled = false/enabled = true/' \
    -e 's/^#reserve = "500 MB"/reserve = "1 MB"/}' /etc/busi-kd/config.toml
step config-check busi-kd device config check
cp /etc/busi-kd/config.toml "$out/config.toml"
step model-install busi-kd device models install /usr/lib/busi-kd/lib/python3*/site-packages/device/models/busi-two-heads
systemctl restart busi-kd
systemctl kill --kill-whom=main --signal=USR1 busi-kd
until_true says 'sweep has begun'
systemctl kill --kill-whom=main --signal=USR1 busi-kd
until_true says 'sweep saved'
step study-journal journalctl -u busi-kd.service --no-pager -o cat -n 30

# A person's decision to have something off outlives an upgrade.
systemctl disable --quiet --now busi-kd-health.timer
must upgrade apt "$(echo /host/second/*.deb)"
step upgrade-properties properties
step disabled-properties properties busi-kd-health.timer
step upgrade-version busi-kd --version
step upgrade-config cat /etc/busi-kd/config.toml
step upgrade-new ls /etc/busi-kd
step upgrade-studies busi-kd device studies list
step upgrade-models busi-kd device models
step upgrade-verify dpkg --verify busi-kd

step remove apt-get remove --yes busi-kd
step remove-left sh -c 'ls -d /usr/lib/busi-kd /usr/bin/busi-kd; grep -l "device.mai[n]" /proc/[0-9]*/cmdline'
step remove-config cat /etc/busi-kd/config.toml
step remove-owners owners

must reinstall apt "$(echo /host/second/*.deb)"
step reinstall-properties properties
step reinstall-config cat /etc/busi-kd/config.toml
step reinstall-studies busi-kd device studies list

step purge apt-get purge --yes busi-kd
step files-after files
step purge-state dpkg-query --list busi-kd
