"""Embeddings of other Re-ID models, for detections that are given: NumPy arrays or Parquet tables."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Float32

from pipeline import tables
from pipeline.data.given import Given, load_array
from pipeline.folders import plain_name

_SUFFIXES = (".npy", ".parquet")
_WITHOUT_APPEARANCE = ("bytetrack", "sort")  # rows of the results that no embeddings can be
_LEAST_LENGTH = 1e-12  # of a vector that has a direction


def read_embeddings(
    folder: Path, given: Mapping[str, Given], detections: Path | None
) -> dict[str, dict[str, Float32[np.ndarray, "rows dim"]]]:
    """The embeddings of every model and sequence there, of unit length, in the rows of the detections' own files.

    `<folder>/<model>/<sequence>.npy` holds an array (rows, dim), `<sequence>.parquet` a column `embedding` of lists
    (others are not read): row k describes row k of that sequence in `detections`.

    Raises:
        ValueError: a file is of no sequence or no such array, or a row is not finite or zero; file and row are named.
    """
    loose = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    models = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if loose or not models:
        raise ValueError(
            f"{folder}: found {loose!r:.200} and {len(models)} folders, expected a folder for each Re-ID model. "
            "Put the files into one of the model's name."
        )
    for model in models:
        plain_name(model.name, where=f"{folder}: a model's folder")
        if model.name in _WITHOUT_APPEARANCE:
            raise ValueError(f"{model}: is a row without appearance, expected another name. Rename the folder.")
    return {model.name: _of_model(model, given, detections) for model in models}


def given_files(folder: Path, taken: Collection[str]) -> dict[str, Path]:
    """Each `<model>/seed0/detections.parquet` that `prepare` wrote into `folder`, by that name; says what they lack.

    Raises:
        ValueError: a model has a name that is `taken`.
    """
    files = {str(path.relative_to(folder)): path for path in sorted(folder.glob("*/*/detections.parquet"))}
    if clashing := sorted({name.split("/")[0] for name in files} & set(taken)):
        raise ValueError(
            f"embeddings of {clashing}: trained variants have these names, expected others than {sorted(taken)}. "
            "Rename the folders in embeddings/."
        )
    for name in files:
        print(f"{name}: given, of detections and not of annotated people: no rows of retrieval")
    return files


def _of_model(
    model: Path, given: Mapping[str, Given], detections: Path | None
) -> dict[str, Float32[np.ndarray, "rows dim"]]:
    files: dict[str, Path] = {}
    for path in sorted(path for path in model.iterdir() if path.suffix in _SUFFIXES):
        if path.stem not in given:
            raise ValueError(
                f"{path}: no sequence {path.stem!r:.200} in {detections}, expected one of {sorted(given)!r:.300}. "
                "Name the file for its sequence."
            )
        if path.stem in files:
            raise ValueError(f"{path}: {files[path.stem].name} is there too, expected one of them. Remove the other.")
        files[path.stem] = path
    found = {name: _of_file(path, len(given[name].rows), detections) for name, path in files.items()}
    widths = {name: values.shape[1] for name, values in found.items() if len(values)}
    first = next(iter(widths), None)
    for name, width in widths.items():
        if first and width != widths[first]:
            raise ValueError(
                f"{files[name]}: rows of {width} values, expected {widths[first]} as in {files[first].name}. "
                "Use one model for all."
            )
    width = widths[first] if first else 1
    return {name: values if len(values) else np.empty((0, width), np.float32) for name, values in found.items()}


def _of_file(path: Path, expected: int, detections: Path | None) -> Float32[np.ndarray, "rows dim"]:
    values = load_array(path) if path.suffix == ".npy" else _column(path)
    if values.ndim != 2 or values.shape[1] < 1 or values.dtype.kind != "f":
        raise ValueError(
            f"{path}: {values.dtype} of shape {values.shape}, expected real numbers (rows, dim). Save it again."
        )
    if len(values) != expected:
        raise ValueError(
            f"{path}: {len(values)} rows, expected {expected}, one for each of {path.stem} in {detections}, in its "
            "order. Describe every detection, or drop those without."
        )
    return _unit(path, values.astype(np.float64))


def _unit(path: Path, values: Float[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows dim"]:
    """The rows at unit length, which is how they are compared (Eq. 9 is a cosine)."""
    largest = np.abs(values).max(axis=1, keepdims=True)  # NaN stays NaN
    for bad, what in ((~np.isfinite(largest), "not finite"), (largest < _LEAST_LENGTH, "zero")):
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{path}: row {row} is {what}, expected an embedding. Describe that detection, or drop it."
            )
    scaled = values / largest  # first, so that no square overflows
    return (scaled / np.linalg.norm(scaled, axis=1, keepdims=True)).astype(np.float32)


def _column(path: Path) -> Float[np.ndarray, "rows dim"]:
    table = tables.read_any(path)
    if "embedding" not in table.column_names:
        raise ValueError(f"{path}: columns are {table.column_names}, expected also 'embedding'. Write it.")
    column = table["embedding"].combine_chunks()
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if not (is_list or pa.types.is_fixed_size_list(column.type)) or not pa.types.is_floating(column.type.value_type):
        raise ValueError(
            f"{path}: column 'embedding' is {column.type}, expected lists of real numbers. Write it again."
        )
    flat = column.flatten()
    lengths = set(column.value_lengths().to_pylist()) if is_list else {column.type.list_size}
    if column.null_count or flat.null_count or len(lengths - {None}) > 1:
        raise ValueError(
            f"{path}: lists of {sorted(map(str, lengths))!r:.200} values, expected one length, no null. Fill them."
        )
    width = next(iter(lengths), 1) or 1
    return flat.to_numpy(zero_copy_only=False).reshape(-1, width)
