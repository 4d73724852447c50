"""Where an experiment's scores come from, as tables: settings, versions, machine, seconds."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipeline.reports.results import Cell, Column, ResultsTable

_KEY = ("experiment", "variant", "seed")


def settings_tables(provenance: pa.Table) -> list[ResultsTable]:
    """Tables for one experiment's rows of scores.PROVENANCE: what differs, where it was computed, what is shared.

    A setting is shared if all rows that depend on it have the same value; there is a table a section of params.yaml.
    """
    rows = provenance.to_pylist()
    settings = [_flat(json.loads(row["params"])) for row in rows]
    names = [name for name in dict.fromkeys(name for one in settings for name in one) if name not in _KEY]
    differing = [name for name in names if len({one[name] for one in settings if name in one}) > 1]
    shared = {name: next(one[name] for one in settings if name in one) for name in names if name not in differing}
    own = [
        [row["fingerprint"], row["variant"], row["seed"], *(one.get(name, "") for name in differing)]
        for row, one in zip(rows, settings, strict=True)
    ]
    sections: dict[str, dict[str, str]] = {}
    for name, value in shared.items():
        section, _, rest = name.partition(".")
        sections.setdefault(section, {})[rest] = value
    return [
        _table("Rows", "What differs between rows.", ["fingerprint", "variant", "seed", *differing], own),
        _table("Origin", "Where and with what the scores were computed.", ["what", "value"], _origin(rows)),
        *(_table(f"Settings: {name}", "", ["setting", "value"], values.items()) for name, values in sections.items()),
    ]


def _origin(rows: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    """Revision, machine, versions and seconds; each once where rows agree."""
    for row in rows:
        yield "revision", row["revision"] or "unknown"
        yield "host", row["host"]
        yield from ((f"version of {name}", value) for name, value in _flat(json.loads(row["packages"])).items())
        yield from ((f"seconds of {name}", value) for name, value in _flat(json.loads(row["seconds"])).items())


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one of dotted names; values as text.

    >>> _flat({"reid": {"seeds": [0, 1], "sampler": "sgs"}})
    {'reid.seeds': '[0, 1]', 'reid.sampler': 'sgs'}
    """
    result: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            result |= _flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return result


def _table(title: str, caption: str, names: list[str], rows: Iterable[Iterable[Any]]) -> ResultsTable:
    """A table of text; rows that repeat are shown once."""
    unique = dict.fromkeys(tuple(str(value) for value in row) for row in rows)
    cells = [[Cell.named(value) for value in row] for row in unique]
    return ResultsTable(title, caption, [Column(name, is_number=False) for name in names], cells)
