"""The command `busi-kd` from outside: what it says, its exit status, and what it imports on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from device import RESEARCH_NOTICE, __version__, cli, main
from device.bundle import META_FILE, MODEL_FILE, VARIANTS, load_bundle

ROOT = Path(main.__file__).parents[1]
HEAVY = ("torch", "torchvision", "timm", "lightning", "tensorflow", "sklearn", "matplotlib", "scipy", "onnx", "PIL")
TRUSTING = ("--trusted-keys", "KEYS")

# A child that cannot import some packages: as if not installed, or installed and broken.
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {packages!r}:
            raise {error}(f"No module named {{top!r}}", name=top)
sys.meta_path.insert(0, Block())
"""


def _python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def _busi_kd(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "device.main", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def _without(packages: tuple[str, ...], *arguments: object, error: str = "ModuleNotFoundError"):
    """`busi-kd ARGUMENTS` where `packages` cannot be imported."""
    block = BLOCKED.format(packages=packages, error=error)
    return _python(block + "from device.main import main\nsys.exit(main(sys.argv[1:]))", *arguments)


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"busi-kd": "device.main:main"}
    assert callable(main.main)


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0), (["-h"], 0), (["help"], 0)])
def test_usage_names_each_group_and_the_notice(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int
) -> None:
    assert main.main(arguments) == status
    said = capsys.readouterr().out
    assert said.startswith(f"busi-kd {__version__}. {RESEARCH_NOTICE}\n")
    for group in main.GROUPS:
        assert f"\n  {group} " in said


def test_version_and_unknown_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    for word, hint in (("devise", " (did you mean 'device'?)"), ("zzz", ""), ("", ""), ("trian", None)):
        assert main.main([word]) == 2
        said = capsys.readouterr()
        hint = " (did you mean 'train'?)" if hint is None else hint
        assert said.err == f"busi-kd: unknown group {word!r}{hint}; busi-kd --help lists them.\n"
        assert said.out == ""


def test_as_a_process_it_says_the_same() -> None:
    done = _busi_kd("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")
    done = _busi_kd("devic")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("busi-kd: unknown group 'devic' (did you mean 'device'?)")


@pytest.mark.parametrize("group", ["convert", "device", "train"])
def test_help_of_each_group_needs_no_host_package(group: str) -> None:
    done = _without(HEAVY, group, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: busi-kd {group} ")
    assert RESEARCH_NOTICE in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_each_device_command_has_a_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["device", command, "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"usage: busi-kd device {command} ")
    assert RESEARCH_NOTICE in said


def test_wrong_arguments_end_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["device"], ["device", "sing"], ["device", "models", "a"], ["device", "show", "a", "--b"]):
        with pytest.raises(SystemExit) as ended:
            main.main(arguments)
        assert ended.value.code == 2
        assert "usage: busi-kd device" in capsys.readouterr().err


@pytest.mark.parametrize("variant", VARIANTS)
def test_show_prints_the_bundle_as_json_with_the_notice(
    bundle_dir: Path, trusted_keys: Path, capsys: pytest.CaptureFixture[str], variant: str
) -> None:
    assert main.main(["device", "show", str(bundle_dir / variant), "--trusted-keys", str(trusted_keys)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown.pop("notice") == RESEARCH_NOTICE
    assert shown.pop("id") == load_bundle(bundle_dir / variant).id
    assert shown.pop("signed_by") == "maker.pub"
    assert shown.pop("interpreter").startswith("ai-edge-litert ")
    assert shown.pop("cautions") == []
    assert shown == json.loads((bundle_dir / variant / META_FILE).read_text())


def test_what_the_user_can_mend_is_one_line_and_status_2(bundle_dir: Path, trusted_keys: Path, tmp_path: Path) -> None:
    done = _busi_kd("device", "show", tmp_path / "missing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"busi-kd: {tmp_path}/missing: no such folder; give the folder of a model bundle.\n"

    cut = Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "cut"))
    (cut / MODEL_FILE).write_bytes((cut / MODEL_FILE).read_bytes()[:1000])
    done = _busi_kd("device", "show", cut, "--trusted-keys", trusted_keys)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"busi-kd: {cut}/model.tflite: wrong hash")
    assert done.stderr.count("\n") == 1


def test_show_opens_the_model_as_the_daemon_would(bundle_dir: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_dir / "int8-full", tmp_path / "bundle"))
    data = json.loads((folder / META_FILE).read_text())
    data["output"]["scale"] *= 2
    (folder / META_FILE).write_text(json.dumps(data))
    done = _busi_kd("device", "show", folder, "--allow-unsigned")
    assert (done.returncode, done.stdout) == (2, "")
    assert "model.tflite: its output tensor is Tensor(" in done.stderr


def test_a_refusal_has_status_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from device.errors import Refused

    def refuse(arguments: list[str]) -> int:
        raise Refused("the gate said no")

    monkeypatch.setattr(cli, "main", refuse)
    assert main.main(["device"]) == 3
    assert capsys.readouterr().err == "busi-kd: the gate said no\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/a/b"), "/a/b: the system refused to go on (No space left on device)"),
        (OSError(28, "No space left on device", b"/a/b"), "/a/b: the system refused to go on (No space left on"),
        (OSError(5, "Input/output error"), "the system refused to go on (Input/output error)"),
        (OSError(5, "Input/output error", 3), "the system refused to go on (Input/output error)"),
        (OSError("no errno,\ntwo lines"), "the system refused to go on (no errno, two lines)"),
        (TimeoutError(), "the system refused to go on (TimeoutError)"),
    ],
)
def test_what_the_system_refuses_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, said: str
) -> None:
    def refuse(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "main", refuse)
    assert main.main(["device"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"busi-kd: {said}")
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["device", "show", "B", *TRUSTING], ["device", "run", "--bundle", "B", *TRUSTING]],
)
def test_a_reader_that_has_gone_ends_it_quietly(bundle_dir: Path, trusted_keys: Path, arguments: list[str]) -> None:
    stands_for = {"B": bundle_dir / "float32", "KEYS": trusted_keys}
    command = [
        sys.executable,
        "-m",
        "device.main",
        *(str(stands_for.get(a, a)) for a in arguments),
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 141
    assert [line for line in done.stderr.splitlines() if "INFO:" not in line] == []  # the interpreter's own lines


def test_an_output_that_cannot_be_written_is_told() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "device.main", "--help"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("busi-kd: the system refused to go on (No space left on device)")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_ends_with_status_130() -> None:
    code = """
import signal, sys
from device import cli, main
def wait(arguments):
    print("ready", flush=True)
    while True:
        signal.pause()
cli.main = wait
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
sys.exit(main.main(["device"]))
"""
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
        assert child.stderr.read() == "busi-kd: interrupted.\n"


SAY_MODULES = "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


@pytest.mark.parametrize(
    "code",
    [
        "import device.main as m\ntry: m.main(['device', '--help'])\nexcept SystemExit: pass",
        "import device.main as m\ntry: m.main(['device', 'run', '--help'])\nexcept SystemExit: pass",
        "import device.main as m\ntry: m.main(['device', 'models'])\nexcept SystemExit: pass",
        "import device.run",
        "import device.bench",
        "import device.runtime; device.runtime.find_backend()",
    ],
)
def test_the_device_imports_nothing_of_the_host(code: str) -> None:
    done = _python(code + SAY_MODULES)
    assert (done.returncode, done.stderr) == (0, "")
    imported = set(done.stdout.splitlines()[-1].split())
    assert "device" in imported
    assert imported & {*HEAVY, "train", "convert", "psutil"} == set()


def test_help_does_not_wait_for_opencv_or_the_interpreter() -> None:
    done = _python("import device.main as m\ntry: m.main(['device', '--help'])\nexcept SystemExit: pass" + SAY_MODULES)
    assert set(done.stdout.splitlines()[-1].split()) & {"cv2", "numpy", "ai_edge_litert"} == set()


@pytest.mark.parametrize("error", ["ModuleNotFoundError", "ImportError"])
def test_the_device_works_without_the_hosts_packages(
    bundle_dir: Path, trusted_keys: Path, tmp_path: Path, error: str
) -> None:
    bundle, trusting = bundle_dir / "int8-full", ("--trusted-keys", trusted_keys)
    done = _without(HEAVY, "device", "show", bundle, *trusting, error=error)
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "tiny")
    summary = tmp_path / "summary.json"
    run = ["run", "--bundle", bundle, *trusting, "--duration", 0.5, "--summary", summary]
    done = _without(HEAVY, "device", *run, error=error)
    assert done.returncode == 0, done.stderr
    assert summary.is_file()
    bench = ["bench", bundle, "--seconds", 0.05, "--rounds", 1, "--json", tmp_path / "bench.json"]
    done = _without(HEAVY, "device", *bench, error=error)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "bench.json").read_text())["rows"][0]["error"] is None


def test_a_package_that_is_missing_is_named_with_what_to_install(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for label in ("benign", "malignant", "normal"):
        (data / label).mkdir(parents=True)
        for number in range(1, 6):
            picture = cv2.imencode(".png", np.full((64, 64), 50 * number, np.uint8))[1].tobytes()
            (data / label / f"{label} ({number}).png").write_bytes(picture)
    (data / "dataset.json").write_text(json.dumps({"synthetic": True}))
    wanted = "which is not installed here; run: pip install 'busi-kd[host]'\n"
    done = _without(("torch",), "train", "teacher", data, "--out", tmp_path / "run")
    assert (done.returncode, done.stderr) == (2, f"busi-kd: 'busi-kd train' needs the package torch, {wanted}")
    assert not (tmp_path / "run").exists()
    convert = ["convert", tmp_path / "student", "--data", data, "--out", tmp_path / "bundles"]
    done = _without(("torch", "tensorflow"), *convert)
    assert (done.returncode, done.stderr) == (2, f"busi-kd: 'busi-kd convert' needs the package torch, {wanted}")
    done = _without(("cv2",), "device", "run", "--bundle", tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "busi-kd: 'busi-kd device' needs the package cv2, which is not installed here; run: pip install 'busi-kd'\n"
    )


def test_a_pi_that_has_the_device_alone_says_so(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "device", tmp_path / "device")
    for group in ("train", "convert", "demo"):
        # -S: no site-packages, where an editable install would lead back to this checkout.
        command = [sys.executable, "-S", "-m", "device.main", group, "--help"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={})
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"busi-kd: 'busi-kd {group}' is not part of this installation, which has device/ alone; "
            "run it on the host.\n"
        )


def test_a_missing_module_of_busi_kd_itself_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(main.GROUPS, "device", ("device.no_such_module", ""))
    with pytest.raises(ModuleNotFoundError, match=r"device\.no_such_module"):
        main.main(["device"])
