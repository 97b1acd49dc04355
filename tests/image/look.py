"""Runs as root in the booted image, with its own Python: does what /mnt/plan says, and leaves in /mnt/out what it saw.

Nothing is judged here; boot_image.py does that. plan: `first` sets the PIN, the language and the phantom as a person
would on the own screen; `again` only looks; `wait` leaves everything alone until power is cut.
"""

import json
import subprocess
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

HOST = Path("/mnt")
OUT = HOST / "out"
PAGE = "http://127.0.0.1:8080"
PIN = "2580"
PATIENCE_S = 400.0


def command(name: str, *words: str) -> str:
    """Run it; what it said goes to a file of this name, with its status in the last line."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    (OUT / name).write_text(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}[{done.returncode}]\n")
    return done.stdout


def until(true, what: str) -> bool:
    """Wait for something that must come."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.5)
    (OUT / "missed").open("a").write(f"{what}\n")
    return False


def ask(browser: urllib.request.OpenerDirector, method: str, path: str, csrf: str = "", **said) -> dict:
    """What the page answers."""
    body = json.dumps(said).encode() if method != "GET" else None
    headers = {"Origin": PAGE, "Content-Type": "application/json", "X-CSRF": csrf}
    request = urllib.request.Request(PAGE + path, body, headers, method=method)
    try:
        with browser.open(request, timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return json.loads(error.read())
    except OSError as error:
        return {"ok": False, "error": str(error)}


def journal(*options: str) -> str:
    """Lines of this boot."""
    return subprocess.run(["journalctl", "-b", "--no-pager", *options], capture_output=True, text=True).stdout


def state(unit: str) -> str:
    return subprocess.run(["systemctl", "is-active", unit], capture_output=True, text=True).stdout.strip()


def judged() -> bool:
    return "judged=" in journal("-u", "busi-kd", "-o", "cat", "--grep", r"judged=[1-9]", "-n", "1")


def set_up(browser: urllib.request.OpenerDirector) -> None:
    """As a person does it on the own screen."""
    answers = [ask(browser, "GET", "/api/session")]
    answers.append(ask(browser, "POST", "/api/pin", new=PIN))
    csrf = answers[-1].get("csrf") or ""
    answers.append(ask(browser, "PUT", "/api/language", csrf, language="fr"))
    answers.append(ask(browser, "GET", "/api/snapshot"))
    answers.append(ask(browser, "PUT", "/api/settings", csrf, **{"source.kind": "phantom", "recorder.enabled": True}))
    (OUT / "set-up").write_text("\n".join(json.dumps(one) for one in answers) + "\n")


def main() -> None:
    OUT.mkdir(exist_ok=True)
    plan = (HOST / "plan").read_text().strip()
    if plan == "wait":
        return
    until(lambda: state("busi-kd.service") == "active", "busi-kd.service is active")
    command("uptime-active", "cat", "/proc/uptime")
    command("status", "systemctl", "status", "--no-pager", "--lines=5", "busi-kd", "busi-kd-page", "busi-kd-grow")
    until(lambda: state("busi-kd-grow.service") in ("active", "failed"), "busi-kd-grow.service has ended")
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    until(lambda: ask(browser, "GET", "/api/session").get("ok"), "the page answers")
    if plan == "first":
        set_up(browser)
    else:
        (OUT / "session").write_text(json.dumps(ask(browser, "GET", "/api/session")) + "\n")
    until(judged, "a verdict")
    command(
        "first-verdict",
        "journalctl",
        "-b",
        "--no-pager",
        "-u",
        "busi-kd",
        "-o",
        "short-monotonic",
        "--grep",
        r"judged=[1-9]",
        "-n",
        "1",
        "--reverse",
    )
    command("first-verdicts", "journalctl", "-b", "--no-pager", "-u", "busi-kd", "-o", "short-monotonic")
    command(
        "stick-wait",
        "sh",
        "-c",
        "for i in $(seq 60); do mountpoint -q /media/sda && break; sleep 1; done; mountpoint /media/sda",
    )
    command("stick", "findmnt", "/media/sda", "-o", "TARGET,SOURCE,FSTYPE,OPTIONS")
    as_user = ["setpriv", "--reuid=busi-kd", "--regid=busi-kd", "--init-groups"]
    command("stick-write", *as_user, "sh", "-c", "echo export >/media/sda/export && ls -l /media/sda")
    command("mounts", "findmnt", "--real", "-o", "TARGET,SOURCE,FSTYPE,OPTIONS")
    command("tmpfs", "findmnt", "-t", "tmpfs", "-o", "TARGET,OPTIONS")
    command("write-root", "touch", "/usr/x")
    command("write-as-service", *as_user, "sh", "-c", "touch /etc/x /var/x /var/lib/busi-kd/app/x /data/x")
    command("space", "df", "-B1", "/", "/data", "/var/lib/busi-kd", "/var/log/journal")
    command("block", "lsblk", "-b", "-o", "NAME,SIZE,MOUNTPOINTS")
    command("failed", "systemctl", "--failed", "--no-pager", "--no-legend", "--plain")
    command("running", "systemctl", "is-system-running")
    command("blame", "systemd-analyze", "blame", "--no-pager")
    command("analyze", "systemd-analyze", "time")
    command("journal-usage", "journalctl", "--disk-usage")
    command("journal-boots", "journalctl", "--list-boots", "--no-pager")
    command("journal-files", "find", "/var/log/journal", "-ls")
    command("machine-id", "cat", "/etc/machine-id")
    command("listening", "ss", "-Hltun")
    command("keys", "ls", "-lnR", "/var/lib/busi-kd")
    command("warnings", "journalctl", "-b", "--no-pager", "-p", "warning", "-o", "short-monotonic")
    command("kernel", "uname", "-a")
    command("memory", "free", "-m")
    command("units", "systemctl", "list-units", "--no-pager", "--no-legend", "--plain", "--all", "busi-kd*")
    command("shell", "systemctl", "is-active", "debug-shell.service")
    command("users", "getent", "passwd", "busi-kd", "busi-kd-kiosk")
    command("doctor", "busi-kd", "device", "doctor")
    subprocess.run(["systemctl", "poweroff"], check=False)


if __name__ == "__main__":
    main()
