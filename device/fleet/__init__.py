"""What a clinic's network is told of a unit, by a process of its own: the judging daemon has no network and keeps none.

Only what `allowed.py` names ever leaves; paho-mqtt and prometheus_client (the extra `fleet`) are imported here alone.
"""

import importlib.util

from device.errors import UserError

NEEDED = {"paho": "paho-mqtt", "prometheus_client": "prometheus-client"}


def need_extra() -> None:
    """Raise UserError, which says what to install, where a package of the extra `fleet` is missing."""
    for module, package in NEEDED.items():
        if importlib.util.find_spec(module) is None:
            raise UserError(f"this needs the package {package}, which is not here; run: pip install 'busi-kd[fleet]'")
