#!/bin/sh
# Runs as root in the booted Debian: puts one version after another in force, and notes down what systemd then runs.
# Nothing is judged here; test_update_boot.py does that.
app=/var/lib/busi-kd/app
out=/host/out

runs() {
    systemctl show busi-kd.service -p ActiveState,StatusText | tr '\n' ' '
}

# Waits for something that must come, 40 s at most.
until_true() {
    for _ in $(seq 200); do
        if "$@"; then return 0; fi
        sleep 0.2
    done
    return 1
}

running() {
    [ "$(runs)" = "StatusText=$1 ActiveState=active " ]
}

# As an installation switches: previous is the one that is healthy.
try() {
    ln -sfn "$2" "$app/current"
    systemctl restart busi-kd.service >"$out/$1.restart" 2>&1
}

until_true running 0.1.0
runs >"$out/packaged"

try healthy "$(cd "$app" && echo slot-0.2.0-????????????)"
until_true test -e "$(echo "$app"/slot-0.2.0-????????????)".healthy
runs >"$out/healthy"
ln -sfn "$(readlink "$app/current")" "$app/previous"

for version in crash-0.3.1 two-0.3.2 hang-0.3.3 late-0.3.4; do
    try "${version%-*}" "$(cd "$app" && echo slot-"${version#*-}"-????????????)"
    until_true test -e "$(echo "$app/slot-${version#*-}"-????????????)".condemned
    until_true running 0.2.0
    runs >"$out/${version%-*}"
done

try again "$(cd "$app" && echo slot-0.4.0-????????????)"
until_true running 0.4.0
systemctl restart busi-kd.service
until_true running 0.4.0
ls "$app" >"$out/early"
until_true test -e "$(echo "$app"/slot-0.4.0-????????????)".healthy
runs >"$out/again"

# What the service's own user can do to the versions.
systemd-run --quiet --wait --pipe -p User=busi-kd -p ProtectSystem=strict -p ReadWritePaths=/var/lib/busi-kd \
    -p ReadOnlyPaths=/var/lib/busi-kd/app sh -c "mv $app /var/lib/busi-kd/other || touch $app/x" >"$out/user" 2>&1
ls "$app" >"$out/slots"
journalctl -b -o cat -u busi-kd.service -u busi-kd-trial.service >"$out/journal"
