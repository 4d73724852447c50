"""Others' YOLOX checkpoints: ByteTrack's and Megvii's files into our model.

Nothing read here can run code: `.pth` files are opened with `weights_only`, and only NumPy's scalars, which
Megvii's files may carry beside the weights (`best_ap`), are allowed in addition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.models.darknet import SIZES
from pipeline.models.folder import load_model, read_safetensors

_CLASS_LAYERS = "head.cls_preds."


@dataclass(frozen=True)
class LoadReport:
    """Names of the weights that a checkpoint gave, and of those left alone because it has another shape."""

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]


def load_checkpoint(model: nn.Module, path: Path | str, *, strict: bool = True) -> LoadReport:
    """Fill a YOLOX with a checkpoint of ByteTrack, Megvii or this project (file or model folder).

    With `strict=False` the file may know other classes: its class-prediction layers are then skipped and the
    model keeps its own. Neither the input convention nor the classes' names are in such files.

    Raises:
        ValueError: the file is missing, cut short or holds no weights, or the weights are of another model.
    """
    path, wanted = Path(path), model.state_dict()
    found = read_weights(path)
    other = {name for name in wanted.keys() | found.keys() if _shape(wanted, name) != _shape(found, name)}
    classes_only = all(name.startswith(_CLASS_LAYERS) and name in wanted for name in other)
    if other and not (classes_only and not strict):
        raise ValueError(f"{path}: {_difference(found, wanted, other, classes_only=classes_only)}")
    model.load_state_dict({name: x for name, x in found.items() if name not in other}, strict=False)
    return LoadReport(tuple(n for n in wanted if n not in other), tuple(n for n in wanted if n in other))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth`, `.pth.tar` or `.safetensors` file or a model folder by name, on the CPU.

    Raises:
        ValueError: the file is missing, cut short, would run code, or holds no weights.
    """
    if path.is_dir():
        return load_model(path)[0]
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected a checkpoint. Correct the path or download it.")
    content = read_safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    weights = content.get("model", content) if isinstance(content, dict) else content
    if not (isinstance(weights, dict) and weights and all(_is_weight(*one) for one in weights.items())):
        raise ValueError(
            f"{path}: found a {type(weights).__name__} that maps no names to finite tensors, "
            "expected a state dict or one under 'model'. Choose another file."
        )
    return dict(weights)


def _torch(path: Path) -> Any:
    scalar: Any = np.float64(0).__reduce__()[0]
    # Pickles name the scalars' constructor by its module, which NumPy 2 renamed.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = (type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64))
    try:
        with torch.serialization.safe_globals([*((scalar, name) for name in names), np.dtype, *kinds]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its instructions come to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: torch cannot read it ({reason}), expected a checkpoint of plain tensors. "
            "Download it again if it may be cut short; otherwise choose a file of weights only."
        ) from error


def _is_weight(name: object, x: object) -> bool:
    if not (isinstance(name, str) and isinstance(x, Tensor)) or x.layout is not torch.strided or x.is_meta:
        return False
    return bool(x.isfinite().all())


def _shape(weights: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return weights[name].shape if name in weights else None


def _difference(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], other: set[str], *, classes_only: bool
) -> str:
    looks, expected = _looks_like(found), _looks_like(wanted)
    if classes_only:
        return f"weights of {looks}, expected {expected}. Load with strict=False to keep fresh class layers."
    if looks != expected:
        return f"weights of {looks}, expected {expected}. Build that size or choose another checkpoint."
    example = min(other)
    return (
        f"{len(other)} tensors differ from {expected}'s, such as {example}: "
        f"found {_shape(found, example)}, expected {_shape(wanted, example)}. Choose another checkpoint."
    )


def _looks_like(weights: Mapping[str, Tensor]) -> str:
    """What model the weights are of, read from the stem's width, dark2's blocks and the class layer."""
    stem = weights.get("backbone.backbone.stem.conv.conv.weight")
    classes = weights.get(f"{_CLASS_LAYERS}0.bias")
    if stem is None or classes is None:
        return f"no YOLOX ({len(weights)} tensors, the first {next(iter(weights))})"
    blocks = sum(f"backbone.backbone.dark2.1.m.{i}.conv1.conv.weight" in weights for i in range(9))
    depthwise = "backbone.backbone.dark2.0.dconv.conv.weight" in weights
    signature = (len(stem), blocks, depthwise)
    sizes = {(int(64 * m.width), max(round(3 * m.depth), 1), m.depthwise): size for size, m in SIZES.items()}
    name = sizes.get(signature, f"of another size (width {len(stem) / 64:g}, {blocks} blocks)")
    return f"YOLOX {name}, classes: {len(classes)}"
