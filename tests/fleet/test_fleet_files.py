"""What docs/fleet ships and the unit: checked by the programs that read them, against what is really told."""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from brokers import Broker, certificates, fleet, free_port, listening, password_file, program, until
from metrics_text import full_text
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from device import files
from device.config.fleet import FleetSettings
from device.fleet import payload
from device.fleet.allowed import METRICS, WITHHELD, admit
from device.fleet.identity import FOLDER, unit_id

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/fleet"
UNIT = ROOT / "systemd/busi-kd-fleet.service"
PAGE = (ROOT / "docs/fleet.md").read_text()
OWN = {"busi_kd_up": set(), "busi_kd_fleet_info": {"site", "unit", "version"}}


def promtool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [program("promtool", "prometheus"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=DOCS)


def test_prometheus_takes_its_configuration_and_the_rules_and_each_rule_fires() -> None:
    for words in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "busi-kd.rules.yml"),
        ("test", "rules", "busi-kd.rules.test.yml"),
    ):
        done = promtool(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = set(re.findall(r"alert: (\w+)", (DOCS / "busi-kd.rules.yml").read_text()))
    tried = re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", (DOCS / "busi-kd.rules.test.yml").read_text())
    assert set(tried) == alerts


def expressions() -> list[str]:
    """Every query of the dashboard and every expression of the rules."""
    board = json.loads((DOCS / "grafana-dashboard.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [one["definition"] for one in board["templating"]["list"] if "definition" in one]
    rules = (DOCS / "busi-kd.rules.yml").read_text()
    return found + re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", rules, re.DOTALL)


def test_queries_name_only_metrics_labels_and_words_that_are_told() -> None:
    assert len(expressions()) > 25
    known = {name: metric.labels for name, metric in METRICS.items()}
    seen = set()
    for expression in expressions():
        for name, _, inner in re.findall(r"(busi_kd_\w+)(\{([^}]*)\})?", expression):
            assert name in known or name in OWN, expression
            assert name not in WITHHELD
            seen.add(name)
            for label, _, words in re.findall(r'(\w+)(=~|=)"([^"]*)"', inner):
                if label == "instance":  # Prometheus's own
                    continue
                for word in words.split("|"):
                    assert word in known[name][label], f"{expression}: {label} is never {word}"
        by = re.findall(r"by \(([^)]*)\)", expression)
        labels = {label for name in re.findall(r"busi_kd_\w+", expression) for label in known.get(name, OWN.get(name))}
        assert {label.strip() for them in by for label in them.split(",")} <= labels | {"instance"}, expression
    assert {"busi_kd_up", "busi_kd_info", "busi_kd_battery_ratio", "busi_kd_temperature_celsius"} <= seen


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = [one.replace("$unit", ".*") for one in expressions() if not one.startswith("label_values")]
    rules = [{"record": f"x:{number}", "expr": one} for number, one in enumerate(queries)]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


# --- the broker's configuration


@pytest.fixture
def shipped(tmp_path: Path) -> tuple[Broker, Path]:
    """A Mosquitto by docs/fleet/mosquitto.conf and its list of rights, with this test's port and places; its CA."""
    port, pki = free_port(), tmp_path / "pki"
    ca = certificates(pki, "broker")
    shutil.copy(DOCS / "busi-kd.acl", pki)
    text = (DOCS / "mosquitto.conf").read_text().replace("/etc/mosquitto/busi-kd", str(pki))
    text = text.replace("listener 8883", f"user root\nlistener {port} 127.0.0.1")
    text = text.replace("/var/lib/mosquitto/", f"{tmp_path}/")
    config = tmp_path / "mosquitto.conf"
    config.write_text(text)
    return Broker(port, config), ca


def test_a_unit_may_write_its_own_topics_and_nothing_else(
    shipped: tuple[Broker, Path], bundle_dir: Path, tmp_path: Path
) -> None:
    there, ca = shipped
    metrics, folder = tmp_path / "busi-kd.prom", tmp_path / "fleet"
    unit = unit_id(folder / "state")
    users = password_file(tmp_path / "pki/passwd", unit, "word")
    password_file(users, "monitor", "look")
    password_file(users, "f" * 16, "other")
    word = tmp_path / "word"
    word.write_text("word\n")
    word.chmod(0o600)
    keys = {"broker": "127.0.0.1", "port": there.port, "tls": True, "ca": ca, "user": unit, "password_file": word}
    there.start()
    try:
        with listening(there.port, user=("monitor", "look"), ca=ca) as ear:
            intruder = Client(CallbackAPIVersion.VERSION2)
            intruder.username_pw_set("f" * 16, "other")
            intruder.tls_set(str(ca))
            heard = []
            intruder.on_message = lambda *_: heard.append(1)
            intruder.on_connect = lambda client, *_: client.subscribe("#", qos=1)
            intruder.connect("127.0.0.1", there.port)
            intruder.loop_start()
            with fleet(folder, metrics, **keys) as running:
                ear.wait("status", daemon="not running")
                files.write_text(metrics, full_text(bundle_dir / "int8-full"))
                ear.wait("health")
                forged = (f"busi-kd/clinic/{unit}/status", f"busi-kd/clinic/{'f' * 16}/picture", "busi-kd/x")
                for topic in forged:
                    intruder.publish(topic, b'{"forged":true}', qos=1, retain=True).wait_for_publish(30)
                own = f"busi-kd/elsewhere/{'f' * 16}/about"
                intruder.publish(own, b"{}", qos=1).wait_for_publish(30)
                until(lambda: ear.wait("about").topic == own, "what it may write")
                running.process.terminate()
                ear.wait("status", online=False)
            intruder.disconnect()
            intruder.loop_stop()
        assert not [one for one in ear.all if "forged" in one.body]
        assert heard == [], "no unit reads another's"
    finally:
        there.stop()


# --- what is documented


def fields(body: dict, head: str = "") -> set[str]:
    return {f"{head}{name}" for name in body}


def test_each_field_is_documented_and_no_other(bundle_dir: Path) -> None:
    samples = admit(full_text(bundle_dir / "int8-full"))
    told = {
        "health": fields(payload.health(samples)),
        "counts": fields(payload.counts(samples)),
        "about": fields(payload.about(samples)),
        "status": {"online", "daemon", "why", "since", "changes_dropped"},
    }
    documented: dict[str, set[str]] = {}
    for leaves, names in re.findall(r"^\| ([a-z, ]+) \| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE):
        for leaf in leaves.split(", "):
            documented.setdefault(leaf, set()).update(re.findall(r"`(\w+)`", names))
    assert documented == told | {"all": {"schema_version", "sent"}}


def test_the_page_names_every_metric_that_is_served() -> None:
    for name in [*METRICS, *OWN, *WITHHELD]:
        assert f"`{name}`" in PAGE, name
    for name in ("mosquitto.conf", "busi-kd.acl", "prometheus.yml", "busi-kd.rules.yml", "grafana-dashboard.json"):
        assert f"fleet/{name}" in PAGE
        assert (DOCS / name).is_file()


# --- the unit


def unit() -> dict[str, list[str]]:
    """[Service] of the unit: every value of every key."""
    found: dict[str, list[str]] = {}
    section = UNIT.read_text().partition("[Service]")[2].partition("\n[")[0]
    for line in section.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_systemd_takes_the_unit_and_it_is_exposed_little(tmp_path: Path) -> None:
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    place = tmp_path / "etc/systemd/system"
    place.mkdir(parents=True)
    shutil.copy(UNIT, place)
    daemon = tmp_path / "opt/busi-kd/bin/busi-kd"
    daemon.parent.mkdir(parents=True)
    daemon.write_text("#!/bin/sh\n")
    daemon.chmod(0o755)
    analyze = program("systemd-analyze", "systemd")
    command = [analyze, "verify", f"--root={tmp_path}", UNIT.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    command = [analyze, "security", "--offline=true", "--no-pager", "--threshold=13", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figure = re.search(r"exposure level for busi-kd-fleet.service: ([0-9.]+)", done.stdout)[1]
    assert f"{figure} of 10" in PAGE


def test_the_unit_fits_the_program() -> None:
    service = unit()
    assert service["ExecCondition"] == ["/opt/busi-kd/bin/busi-kd device fleet --is-enabled"]
    assert service["ExecStart"] == ["/opt/busi-kd/bin/busi-kd device fleet"]
    assert FOLDER == Path("/var/lib") / service["StateDirectory"][0] == FleetSettings().state
    assert FleetSettings().metrics_listen is None
    assert service["SocketBindAllow"] == ["tcp:9469"]
    handed = {line.partition(":")[0] for line in service["LoadCredential"]}
    assert handed == {line.partition(":")[0] for line in service["SetCredential"]} == {"fleet-password", "fleet.key"}
    for name in handed:
        assert f"/etc/busi-kd/{name}" in PAGE
    daemon = configparser.ConfigParser(strict=False, interpolation=None)
    daemon.optionxform = str
    daemon.read(ROOT / "systemd/busi-kd.service")
    assert daemon["Service"]["RuntimeDirectory"] == "busi-kd"


@pytest.mark.parametrize(
    ("text", "status"),
    [("", 1), ("[fleet]\nenabled = true\nbroker = 'b'\n", 0), ("[fleet]\nenabled = 1\n", 0)],
    ids=["not configured", "configured", "a mistake: the start itself says it"],
)
def test_the_condition_of_the_unit(text: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from device.main import main

    config = tmp_path / "config.toml"
    config.write_text(text)
    assert main(["device", "fleet", "--config", str(config), "--is-enabled"]) == status
    assert capsys.readouterr() == ("", "")
    if not text:
        assert main(["device", "fleet", "--config", str(config)]) == 2
        assert "fleet.enabled is false" in capsys.readouterr().err
