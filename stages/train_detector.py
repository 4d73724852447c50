"""Train the detector on the frames of the train split and on single images of crowds.

Reads   frames, ground_truth   the train split's images and boxes
        weights                card of the weights to start from
Writes  out                    model folder: EMA weights, a card with the settings and the loss curve
        work                   a checkpoint of every epoch
Params  detector
"""

from functools import partial
from pathlib import Path

from pipeline import params, tables
from pipeline.cluster.session import settings as cluster
from pipeline.cluster.train import train
from pipeline.data.supplied import read_weights_card
from pipeline.entry import run
from pipeline.fingerprint import fingerprint
from pipeline.models.folder import load_model, save_model
from pipeline.sources import code_digest
from pipeline.storage import folders_of
from pipeline.training.detector import DetectorTraining, TrainingImages, train_detector
from pipeline.training.worker import refuse_uneven


def main(experiment: str, frames: Path, ground_truth: Path, weights: Path, work: Path, out: Path) -> None:
    """Train on all workers; a killed run goes on after its last finished epoch."""
    settings = params.section(experiment, "detector", DetectorTraining)

    initial = read_weights_card(weights)
    images = TrainingImages.of_splits(
        ("train", tables.CROWD), tables.read(frames, tables.FRAMES), tables.read(ground_truth, tables.GROUND_TRUTH)
    )
    if not images.paths:
        print("train_detector: the train split has no images, no detector is trained; detections must be given")
        save_model(out, {}, {"kind": "none"})
        return

    inputs = {"frames": frames, "ground_truth": ground_truth, "weights": weights}
    key = fingerprint(settings=settings, **inputs, code=code_digest("pipeline.training.detector"))
    folder = work / "detector" / key
    if not (folder / "model").exists():
        refuse_uneven(settings.batch, max(cluster().workers, 1), what="detector.batch")
        loop = partial(train_detector, images=images, settings=settings, initial=initial, folder=folder)
        read = [*folders_of(images.paths), *([initial] if initial else [])]
        train(loop, what="train_detector", total=settings.epochs, reads=read, makes=[folder])

    save_model(out, *load_model(folder / "model"))


if __name__ == "__main__":
    run(main)
