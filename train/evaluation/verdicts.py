"""What the device's verdicts are worth: abstention and operating point included."""

import numpy as np

from device.bundle import Estimate
from device.decide import ABSTAIN
from train.data.busi import CLASSES
from train.evaluation.intervals import drawn_counts, share, with_interval


def measure_verdicts(
    said: np.ndarray, targets: np.ndarray, groups: np.ndarray, repeats: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """What the device's verdicts are worth, abstention and operating point included, intervals as in `measure`.

    said: (N,) verdict labels of device.decide. Shares 0..1: `verdict_coverage` not abstained; `verdict_accuracy` right
    among those; `malignant_called` and `malignant_missed` of the malignant pictures (the rest: abstained);
    `benign_called_malignant` of the benign ones.
    """
    truth = np.array(CLASSES)[targets]
    answered, malignant, benign = said != ABSTAIN, truth == "malignant", truth == "benign"
    events = {
        "verdict_coverage": (answered, np.ones_like(answered)),
        "verdict_accuracy": (said == truth, answered),
        "malignant_called": (said == "malignant", malignant),
        "malignant_missed": (answered & (said != "malignant"), malignant),
        "benign_called_malignant": (said == "malignant", benign),
    }
    counts, once = drawn_counts(groups, repeats, seed), np.ones((1, len(said)))
    return {
        name: with_interval(share(event, among, once)[0], share(event, among, counts))
        for name, (event, among) in events.items()
    }
