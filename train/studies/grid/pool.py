"""Independent pieces of work on Ray: worker processes of this machine, or of a cluster."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from device.errors import UserError
from train.interrupts import sigterm_as_interrupt

STORE = 100 * 2**20  # bytes of shared memory: items and results are some hundred kilobytes

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, bool], R]  # (item, whether another machine than the driver's runs it) -> result


@dataclass(frozen=True)
class Failure:
    """Why a piece of work gave no result. trace: Python's own words when nobody foresaw it."""

    sentence: str
    trace: str | None = None


def here(items: Sequence[T], work: Work) -> Iterator[tuple[T, R | Failure]]:
    """One after the other in this process, without Ray. Only a UserError is a Failure; any other fault is raised."""
    for item in items:
        try:
            yield item, work(item, False)
        except UserError as error:
            yield item, Failure(str(error))


def on_ray(
    items: Sequence[T], work: Work, workers: int | None, address: str | None, gpu: float = 0.0
) -> Iterator[tuple[T, R | Failure]]:
    """Each item with its result, as they finish; started in their order, so many at a time as there are workers.

    workers: None for one per core. address: of a running cluster; without it a small Ray of this machine alone is
    started, which listens to this machine alone, and ended. gpu: share of a GPU that each piece of work takes.

    A worker that dies (killed, out of memory) has its item tried once more by another. The generator must be closed,
    or run to its end: that ends Ray, and with it whatever still runs. Raises UserError when the cluster does not
    answer, KeyboardInterrupt on SIGINT and SIGTERM.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody
    import ray
    from ray.exceptions import RayError

    with _ray(workers, address, gpu):
        remote = ray.remote(num_cpus=1, num_gpus=gpu, max_retries=1)(_attempt)
        node = ray.get_runtime_context().get_node_id()
        waiting = list(reversed(items))
        running: dict[Any, T] = {}
        while waiting or running:
            while waiting and len(running) < (workers or int(ray.cluster_resources().get("CPU", 1))):
                item = waiting.pop()
                running[remote.remote(work, item, node)] = item
            (ready,), _ = ray.wait(list(running), num_returns=1)
            item = running.pop(ready)
            try:
                found = ray.get(ready)
            except RayError as error:
                found = _failure(error)
            yield item, found


def _attempt(work: Work, item: T, driver: str) -> R | Failure:
    import ray

    try:
        return work(item, ray.get_runtime_context().get_node_id() != driver)
    except UserError as error:
        return Failure(str(error))


def _failure(error: Exception) -> Failure:
    from ray.exceptions import RayTaskError

    if isinstance(error, RayTaskError):
        trace = str(error).strip()
        return Failure(f"{trace.splitlines()[-1]}; this was not foreseen, its trace is above.", trace)
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Failure(f"its worker process died twice ({type(error).__name__}: {first}); look at the machine's memory.")


@contextmanager
def _ray(workers: int | None, address: str | None, gpu: float) -> Iterator[None]:
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    # Sockets lie in this folder, and the system takes no path of more than 107 characters for them: not $TMPDIR.
    with tempfile.TemporaryDirectory(prefix="busi-kd-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        try:
            if address:
                _knock(address)
                ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            else:
                ray.init(
                    address="local",
                    num_cpus=workers or os.cpu_count(),
                    object_store_memory=STORE,
                    _temp_dir=folder,
                    _node_ip_address="127.0.0.1",
                    **quiet,
                )
        except (OSError, RuntimeError, ValueError) as error:
            where = f"--address {address}" if address else "this machine"
            why = " ".join(str(error).split())[:200]
            raise UserError(f"{where}: Ray did not start ({why}); check the address, or say --workers 0.") from error
        try:
            if gpu and not ray.cluster_resources().get("GPU"):
                raise UserError(f"--gpu {gpu}: Ray sees no GPU here; leave the option away.")
            with sigterm_as_interrupt():  # Ray's own answer leaves with an exit status of its own
                yield
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError when nobody listens at HOST:PORT: Ray itself would ask for many minutes, and ignore Ctrl-C."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
