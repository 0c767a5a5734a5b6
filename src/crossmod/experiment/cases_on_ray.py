"""The cases of a list, translated on a Ray cluster: each where there is room, their rows as they come."""

from collections.abc import Callable, Iterator, Sequence

from crossmod.experiment.on_ray import Connection
from crossmod.inference.batch.table import Case, Row

# A case whose machine was lost is begun anew; nothing of it was written.
TRIES = 3


def cases_on_ray(
    address: str | None = None, gpus: float = 0.0
) -> Callable[[Callable[[Case], Row], Sequence[Case]], Iterator[Row]]:
    """What `translate_list` takes as `spread`. All machines must see the same folders under the same paths.

    Args:
        address: of the cluster, such as `auto`; None: a Ray of this machine alone.
        gpus: of each case; 0.25 lets four share one.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    connection = Connection(address)

    def spread(do: Callable[[Case], Row], cases: Sequence[Case]) -> Iterator[Row]:
        ray = connection.open()
        # Ray takes functions by their name, which a partial has not.
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=TRIES)(lambda case: do(case))
        held = {task.remote(case): case for case in cases}
        try:
            while held:
                (done, *_), _ = ray.wait(list(held))
                case = held.pop(done)
                try:
                    yield ray.get(done)
                except ray.exceptions.RayError as error:
                    words = str(error).strip().splitlines()[0]
                    yield Row(case.name, "failed", 0.0, case.output, sentences=(f"Its worker was lost: {words}",))
        finally:
            connection.close(list(held))

    return spread
