"""`finetrack send`: what the trials of a sweep read, to a storage from which a cluster's jobs take it."""

from pipeline.storage import Storage
from pipeline.sweeps import stored


def run(sweep: str, to: str) -> int:
    """Store the inputs of a sweep of params.yaml; what is there already is not sent again.

    Raises:
        ValueError: the sweep is refused, its experiment is not finished, or the storage cannot take it.
    """
    paths = stored.send(sweep, Storage(to))
    print(f"{to}: {len(paths)} inputs of sweep {sweep}")
    return 0
