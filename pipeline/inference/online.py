"""One frame at a time through the trained models: an image in, its detections and their embeddings out."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64

from pipeline import params
from pipeline.data.frames import Image, InputConvention, letterbox, network_input
from pipeline.data.prefetch import prefetched
from pipeline.inference.detect import Postprocess, postprocess
from pipeline.inference.features import Features, target_features
from pipeline.inference.heads import load_head
from pipeline.inference.sequences import load_detector
from pipeline.models.checkpoint import read_weights
from pipeline.models.darknet import SIZES, Size
from pipeline.models.yolox import YOLOX, level_channels, load_checkpoint

PERSON = 0  # the class of people in COCO's order and of models of one class
Input = Float[torch.Tensor, "1 3 input_height input_width"]


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame and what was found in it, in pixels of the frame; rows that are not described have zeros."""

    image: Image
    boxes: Float64[np.ndarray, "boxes 4"]
    scores: Float64[np.ndarray, " boxes"]
    embeddings: Float[np.ndarray, "boxes dim"] | None


@dataclass(frozen=True, eq=False)
class Detector:
    """A detector with how its input is made: `input_size` is (height, width) in pixels."""

    model: YOLOX
    size: Size
    convention: InputConvention
    input_size: tuple[int, int]
    person_class: int

    @classmethod
    def of_folder(cls, folder: Path) -> "Detector":
        """A model folder, whose card says the rest.

        Raises:
            ValueError: the folder is not whole, or holds another model.
        """
        model, card = load_detector(folder)
        return cls(model, card["size"], card["convention"], tuple(card["input_size"]), card["person_class"])

    @classmethod
    def of_checkpoint(
        cls, path: Path, *, size: Size, convention: InputConvention, input_size: tuple[int, int]
    ) -> "Detector":
        """A checkpoint of ByteTrack, Megvii or this project; what the file does not say is given, never guessed.

        Raises:
            ValueError: the file holds no YOLOX of this size, or the input has sides that are no multiples of 32.
        """
        if size not in SIZES or any(side < 1 or side % 32 for side in input_size):
            raise ValueError(
                f"{path}: size {size!r} with input {input_size}, expected one of {list(SIZES)} with height and width "
                "in multiples of 32. Take those that it was trained with."
            )
        classes = len(read_weights(path).get("head.cls_preds.0.bias", [PERSON]))
        model = YOLOX.build(size, classes)
        load_checkpoint(model, path)
        return cls(model.eval(), size, convention, input_size, PERSON)


class Watcher:
    """A detector and, where there is one, the Re-ID head trained on its features; both frozen, on one device."""

    def __init__(self, detector: Detector, reid: Path | None, settings: Postprocess) -> None:
        """Take a detector, and a Re-ID head from its model folder.

        Raises:
            ValueError: the head's folder is not whole, holds another model, or the head is for other features.
        """
        self._settings = settings
        self._input_size, self._convention = detector.input_size, detector.convention
        self._person_class = detector.person_class
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = detector.model.fused()
        self._network = model.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._head = None if reid is None else _Head(reid, detector.size, self._device)

    def watch(self, images: Iterable[Image], min_score: float) -> Generator[Seen, None, None]:
        """What is seen in each image; detections scoring more than `min_score` are described.

        One thread reads the next image meanwhile: memory does not grow with the number of images.
        """
        for image, network_image, ratio in prefetched((self._read(image) for image in images), ahead=1):
            yield self._see(image, network_image, ratio, min_score)

    def _read(self, image: Image) -> tuple[Image, Input, float]:
        fitted, ratio = letterbox(image, self._input_size)
        planes = torch.from_numpy(network_input(fitted, self._convention))[None]
        return image, planes.contiguous(memory_format=torch.channels_last), ratio

    @torch.inference_mode()
    def _see(self, image: Image, network_image: Input, ratio: float, min_score: float) -> Seen:
        network_image = network_image.to(self._device)
        prediction = self._network(network_image)[0]
        boxes, scores = postprocess(prediction, self._settings, person_class=self._person_class)
        embeddings = None
        if self._head is not None:
            embeddings = self._head.describe(self._network, network_image, boxes, scores > min_score)
        return Seen(image, boxes / ratio, scores, embeddings)


class _Head:
    """A Re-ID head and the features that it was trained on."""

    def __init__(self, folder: Path, size: Size, device: torch.device) -> None:
        self._model, card = load_head(folder)
        self._model.to(device)
        self._features = params.parse(card.get("features"), Features, where=f"{folder}: features")
        given = [level_channels(level, size) for level in self._features.levels]
        if list(card["in_channels"]) != given:
            raise ValueError(
                f"{folder}: trained on maps of {card['in_channels']} channels, expected {given}, which a YOLOX {size} "
                "has. Give the detector that it was trained with."
            )

    def describe(
        self,
        detector: YOLOX,
        image: Input,
        boxes: Float64[np.ndarray, "boxes 4"],
        chosen: Bool[np.ndarray, " boxes"],
    ) -> Float[np.ndarray, "boxes dim"]:
        """Embeddings of the chosen boxes, which are in the network's pixels; zeros for the others."""
        embeddings = np.zeros((len(boxes), self._model.head.dim), np.float32)
        if chosen.any():
            targets = torch.from_numpy(boxes[chosen].astype(np.float32)).to(image.device)
            index = torch.zeros(len(targets), dtype=torch.int64, device=image.device)
            levels = target_features(detector, image, targets, index, self._features)
            if self._features.precision == "half":  # as they were stored for training
                levels = tuple(level.half() for level in levels)
            embeddings[chosen] = self._model(tuple(level.float() for level in levels)).descriptor.cpu().numpy()
        return embeddings
