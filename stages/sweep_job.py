"""Stage `sweep` as a job of a Ray cluster, where the repository is a temporary copy: all passes through a storage.

    finetrack send reid --to s3://bucket/finetrack
    ray job submit --working-dir . -- python -m stages.sweep_job --sweep reid --storage s3://bucket/finetrack
    finetrack collect s3://bucket/finetrack --into reports/sweeps/reid

Reads   storage   what `finetrack send` put there, and the trials that earlier jobs of the sweep finished
Writes  storage   trials as they end; reports/sweeps/<sweep>: trials.parquet, index.html
Params  sweeps.<sweep>, the whole experiment
"""

from pipeline.entry import run
from pipeline.storage import Storage
from pipeline.sweeps import stored
from stages.sweep import finish


def main(sweep: str, storage: str) -> None:
    """Try what no job has finished yet; a job that was killed is submitted again."""
    place, out = Storage(storage), stored.outcome(sweep)
    study = stored.prepared(sweep, place)
    keeper = stored.Keeper(study, place)
    finish(sweep, study, out, ended=keeper, storage=storage)
    keeper.put()
    place.put(out)
    print(f"stored; at home: finetrack collect '{storage}' --into {out}")


if __name__ == "__main__":
    run(main)
