"""The model: does the daemon's choice load, is it signed, does it answer, and does it answer what it should?"""

import json
import math

from device.config.settings import ModelSettings
from device.doctor import Finding
from device.doctor.child import ask

TRIAL_S = 60.0
# Bundle -> its answer to device.doctor.trial.pattern, logits in the order of its classes. int8 through XNNPACK gives
# the same bytes on x86-64 and on the Pi's processors (docs/arm.md); tests/device holds it.
KNOWN: dict[str, tuple[float, ...]] = {
    "45dbcfba6a71": (1.007832, -0.742613, -1.140442),  # busi-ship
    "60691149d0ee": (2.009897, -2.101256, -2.101256),  # busi-two-heads
}


def try_model(settings: ModelSettings) -> Finding:
    """Try it in a process of its own: the interpreter trusts the file, and a wrong build of it ends the process."""
    whom = settings.whom()
    asked = {
        "bundle": None if settings.bundle is None else str(settings.bundle),
        "models": str(settings.models),
        "folders": [str(folder) for folder in whom.folders],
        "allow_unsigned": whom.allow_unsigned,
        "threads": settings.threads,
    }
    answer = ask(["-m", "device.doctor.trial", json.dumps(asked)], TRIAL_S)
    if answer.ended is not None:
        do = "Install busi-kd again; if it stays so, send this sentence to the makers."
        return Finding("model", "problem", f"the trial of the model failed: it {answer.ended}.", do)
    return judge(json.loads(answer.out))


def judge(said: dict) -> Finding:
    """What device.doctor.trial.run said -> the finding."""
    if "refused" in said:
        do = "Install a model that is signed by a trusted key (busi-kd device models install DIR), or set [model]."
        return Finding("model", "problem", said["refused"], do)
    what = f"{said['name']} {said['id']} ({said['variant']}, {said['origin']})"
    numbers = [*said["logits"], *said["black"]]
    if not all(map(math.isfinite, numbers)):
        return Finding("model", "problem", f"{what} answers no finite number.", "Convert or install the model again.")
    if said["logits"] == said["black"]:
        do = "Convert or install the model again."
        return Finding("model", "problem", f"{what} answers a pattern and a black frame alike.", do)
    known = KNOWN.get(said["id"])
    if known is not None and max(abs(a - b) for a, b in zip(known, said["logits"])) > (said["step"] or 0.0):
        shown = ", ".join(f"{z:.2f}" for z in said["logits"])
        do = f"Its verdicts are not to be trusted here: install busi-kd again, with the pinned {said['interpreter']}."
        return Finding("model", "problem", f"{what} answers the test pattern with {shown}, not as it should.", do)
    if said["notes"]:
        return Finding("model", "note", " ".join(said["notes"]), "Install a signed model, or set [model].")
    if not said["delegates"]:
        do = "It works, but slowly: install the pinned ai-edge-litert, and see that /sys is mounted."
        return Finding("model", "note", f"{what}: XNNPACK is not used by {said['interpreter']}.", do)
    if said["synthetic"]:
        do = "For demonstration only: install a model that was trained on real pictures."
        return Finding("model", "note", f"{what} was trained on phantoms, which show nobody.", do)
    right = "answers the test pattern as it should" if known is not None else "answers; no known answer is on record"
    says = f"{what}, signed by {said['signed_by']}, {right}, in {said['ms']:.1f} ms, through XNNPACK."
    return Finding("model", "ok", says)
