"""An engine on a Ray cluster: calls in, results out. Ray places them, we count how often a call's worker died.

Arrays never travel: a call carries locations and small values, and its result is a small summary. Every node must
see the inputs and the run directory under the same paths, and have the same coreset installed.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from coreset.engine.errors import InputError, ResourceError, TaskFailedError
from coreset.engine.stage import Needs

T = TypeVar("T")
ATTEMPTS = 3
"""A call whose worker or node dies this often is given up."""
LOCAL = "local"
"""The address that stands for a cluster of this machine's own, which ends with the command."""
ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray reads it when it is imported: at 0, all that it opens on any system listens to this machine only."""
IDLE_SECONDS = 600
"""A worker of a cluster of our own stays so long for the next call: its model stays loaded."""


class on_ray:  # noqa: N801  an engine is called like the function `in_process`
    """An engine of a Ray cluster's workers, used until `close`; at most two calls a worker are under way.

    Args:
        address: of a running cluster, as `ray.init` takes it (`auto`, `HOST:6379`, `ray://HOST:10001`); or `local`,
            which starts one on this machine's loopback address, without a dashboard, and ends it with `close`
        workers: calls that run at a time; None for as many as the cluster has processors

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
        TaskFailedError: A call's workers died `ATTEMPTS` times. The run can be resumed.
        ResourceError: No node has the processors, memory or devices that a call needs.
    """

    def __init__(self, address: str, workers: int | None = None) -> None:
        self._ray = connected(address, workers)
        self.workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    @property
    def memory(self) -> int:
        """Bytes that the cluster offers for work."""
        return int(self._ray.cluster_resources().get("memory", 0))

    def __call__(self, calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:
        """Yield each call's result as it comes."""
        ray, left = self._ray, iter(calls)
        self._check(needs)
        asked = {"num_cpus": 1, "num_gpus": needs.gpus, "memory": needs.memory, "max_retries": 0}
        make = ray.remote(made).options(**asked)
        here = (os.getcwd(), tuple(sys.path))
        window = min(needs.concurrency or 2 * self.workers, 2 * self.workers)
        under_way: dict[Any, tuple[bytes, int]] = {}
        try:
            while True:
                while len(under_way) < window and (call := next(left, None)) is not None:
                    text = pickle.dumps(call)
                    under_way[make.remote(text, *here)] = (text, 1)
                if not under_way:
                    return
                done, _ = ray.wait(list(under_way), num_returns=1)
                text, attempt = under_way.pop(done[0])
                try:
                    result = ray.get(done[0])
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:  # the worker or its node is gone, or the memory was
                    if attempt == ATTEMPTS:
                        raise given_up(error) from error
                    under_way[make.remote(text, *here)] = (text, attempt + 1)
                else:
                    yield result
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        self._ray.shutdown()

    def _check(self, needs: Needs) -> None:
        """Refuse what no node can ever run: Ray would wait for such a node for ever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = {"GPU": needs.gpus, "memory": needs.memory}
        if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
            most = max((node.get("memory", 0) for node in nodes), default=0)
            raise ResourceError(
                f"No node of the Ray cluster has {needs.memory / 2**30:.2f} GiB of memory and {needs.gpus:g} device(s) "
                f"for one task; the largest offers {most / 2**30:.2f} GiB: lower --memory, or raise --workers."
            )


def connected(address: str, workers: int | None) -> Any:  # noqa: ANN401  Ray has no types for its module
    """Ray, connected to a cluster.

    Raises:
        InputError: It is not installed, or nothing answers at the address.
    """
    if address == LOCAL:
        os.environ[ONE_MACHINE] = "0"
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray: pip install 'coreset[ray]'.") from error
    quietly: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    own: dict[str, Any] = {
        "address": LOCAL,  # without it, Ray would join any cluster that it finds on this machine
        "num_cpus": workers,
        "include_dashboard": False,
        "_system_config": {
            "idle_worker_killing_time_threshold_ms": 1000 * IDLE_SECONDS,
            "worker_niceness": 0,  # as urgent as processes would be; Ray's own workers give way to everything else
        },
    }
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do anyway from its next version on
    try:
        ray.init(**(own if address == LOCAL else {"address": address}), **quietly)
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
        said = str(error).strip().splitlines()
        reason = said[0] if said else type(error).__name__
        raise InputError(
            f"--ray {address}: no Ray cluster answers there ({reason}); `--ray local` starts one."
        ) from error
    return ray


def made(call: bytes, folder: str, path: tuple[str, ...]) -> Any:  # noqa: ANN401  what the call returns
    """Make a pickled call of ours in a worker, as if the worker were the command's own process.

    Locations may be relative to the command's folder, and its modules are found where the command found them.
    """
    if os.getcwd() != folder:
        os.chdir(folder)
    sys.path += [place for place in path if place not in sys.path]
    return pickle.loads(call)()  # noqa: S301  made by the command that started this call, a line above in its process


def given_up(error: Exception) -> TaskFailedError:
    """What is said of a call whose workers died again and again."""
    return TaskFailedError(
        f"Workers died {ATTEMPTS} times at the same work ({type(error).__name__}), perhaps for lack of memory; run the "
        f"same command with fewer --workers or more --memory to continue."
    )
