"""The only reader of params.yaml: a section of an experiment becomes the frozen dataclass that means it."""

import dataclasses
import reprlib
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from pipeline.folders import plain_name

T = TypeVar("T")
PARAMS = Path("params.yaml")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlevel = 3


def section(experiment: str, name: str, cls: Any, *, path: Path = PARAMS) -> Any:
    """Read `<experiment>.<name>` of params.yaml as a `cls`, every field given and nothing else.

    A dotted name reads a part of a section as its type alone, so that a stage need not know the rest.

    Raises:
        ValueError: the file, experiment or section is missing, a key is unknown or missing, or a value has another
            type than its field; the message names the place and, for keys, both lists.
    """
    return parse(raw_section(experiment, name, path=path), cls, where=f"{path}:{experiment}.{name}")


def raw_section(experiment: str, name: str, *, path: Path = PARAMS) -> Any:
    """Read `<experiment>.<name>` of params.yaml as plain YAML values."""
    everything = load(path)
    if experiment not in everything:
        raise ValueError(
            f"{path}: experiments described are {sorted(set(everything) - {'experiments'})}, "
            f"expected also {experiment!r}. Add a section of that name or correct `experiments:`."
        )
    chosen, where = everything[experiment], f"{path}:{experiment}"
    for key in name.split("."):
        if not isinstance(chosen, Mapping) or key not in chosen:
            found = _sorted(chosen) if isinstance(chosen, Mapping) else type(chosen).__name__
            raise ValueError(f"{where}: keys are {found}, expected also {key!r}. Add it.")
        chosen, where = chosen[key], f"{where}.{key}"
    return chosen


def experiments(path: Path = PARAMS) -> list[str]:
    """The experiments that `dvc repro` runs."""
    return parse(load(path).get("experiments"), list[str], where=f"{path}:experiments")


def load(path: Path = PARAMS) -> dict[str, Any]:
    """Everything in params.yaml as plain YAML values.

    Raises:
        ValueError: no such file, not YAML, a key twice, or not a mapping of plain names.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected the parameters. Run from the repository's root.")
    try:
        everything = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except Exception as error:  # a value that is none of its kind (a date, a tag) raises whatever its conversion does
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}. Mend the file.") from error
    if not isinstance(everything, dict) or not all(isinstance(name, str) for name in everything):
        found = _shown(list(everything)) if isinstance(everything, dict) else type(everything).__name__
        raise ValueError(f"{path}: found {found}, expected a mapping of named sections. Mend the file.")
    for name in everything:
        plain_name(name, where=f"{path}: a section")
    return everything


def parse(value: Any, wanted: Any, *, where: str) -> Any:
    """Turn plain YAML values into `wanted`: a dataclass, tuple, list, dict, literal, optional or scalar type.

    An int is taken where a float is wanted, which must be finite; nothing else is converted. `where` opens every
    message. Keys that are text become names of files and folders, so they must be plain.

    >>> parse([1, 2], tuple[float, ...], where="params.yaml:x")
    (1.0, 2.0)

    Raises:
        ValueError: `value` is not a `wanted`.
    """
    origin, arguments = get_origin(wanted), get_args(wanted)
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return _parse_dataclass(value, wanted, where=where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _parse_first(value, [a for a in arguments if a is not type(None)], where=where)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in arguments):
            raise ValueError(f"{where}: found {_shown(value)}, expected one of {list(arguments)}. Correct the value.")
        return value
    if origin in (tuple, list) and isinstance(value, list):
        if origin is tuple and Ellipsis not in arguments:
            if len(value) != len(arguments):
                raise ValueError(f"{where}: found {len(value)} values, expected {len(arguments)}. Correct the list.")
            return tuple(
                parse(v, a, where=f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, arguments, strict=True))
            )
        return origin(parse(v, arguments[0], where=f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        keys = [
            parse(plain_name(k, where=where) if isinstance(k, str) else k, arguments[0], where=where) for k in value
        ]
        return {k: parse(v, arguments[1], where=f"{where}.{k}") for k, v in zip(keys, value.values(), strict=True)}
    if wanted is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if wanted is not float and type(value) is wanted:
        return value
    name = wanted.__name__ if isinstance(wanted, type) and origin is None else str(wanted)
    raise ValueError(f"{where}: found {_shown(value)}, expected {name}. Correct the value.")


def _parse_first(value: Any, alternatives: list[Any], *, where: str) -> Any:
    reasons = []
    for wanted in alternatives:
        try:
            return parse(value, wanted, where=where)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(" Or: ".join(reasons))


def _parse_dataclass(value: Any, cls: type[T], *, where: str) -> T:
    hints = get_type_hints(cls)
    wanted = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: found {_shown(value)}, expected a mapping of {wanted}. Correct the section.")
    unknown, missing = _sorted(set(value) - set(wanted)), _sorted(set(wanted) - set(value))
    if unknown or missing:
        raise ValueError(
            f"{where}: keys are {_sorted(value)}, expected {sorted(wanted)}"
            f"{'; unknown ' + str(unknown) if unknown else ''}{'; missing ' + str(missing) if missing else ''}. "
            "Correct the section."
        )
    fields = {name: parse(value[name], hints[name], where=f"{where}.{name}") for name in wanted}
    try:
        return cls(**fields)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


class _Loader(yaml.SafeLoader):
    """YAML in which a mapping names each key once: of two the last would win silently."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def _shown(value: Any) -> str:
    """A value for a message: aliases can make a short file's values huge."""
    try:
        return _SHORT.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _sorted(keys: Iterable[Any]) -> list[Any]:
    """YAML's keys in order: they need not be strings."""
    return sorted(keys, key=str)
