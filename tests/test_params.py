import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import params
from pipeline.commands.plan import SECTIONS
from pipeline.sources import ROOT

DESCRIBED = [name for name, value in params.load(ROOT / "params.yaml").items() if "data" in value]


@dataclass(frozen=True)
class Inner:
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: found {self.share}, expected 0 to 1. Correct it.")


@dataclass(frozen=True)
class Outer:
    count: int
    rate: float | Literal["own"]
    name: str | None
    is_on: bool
    size: tuple[int, int]
    levels: tuple[str, ...]
    kind: Literal["a", "b", 1]
    one: Inner
    many: dict[str, Inner]


RIGHT: dict[str, Any] = {
    "count": 3,
    "rate": 2,
    "name": None,
    "is_on": True,
    "size": [1, 2],
    "levels": ["x", "y"],
    "kind": "a",
    "one": {"share": 1},
    "many": {"first": {"share": 0.25}},
}


def outer(**changes: Any) -> Any:
    return params.parse({**RIGHT, **changes}, Outer, where="params.yaml:e.s")


def write(folder: Path, text: str) -> Path:
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    return folder / "params.yaml"


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def outcome(call: Callable[[], Any]) -> tuple[Any, str | None]:
    """What a call gives, or the message with which it refuses."""
    try:
        return call(), None
    except ValueError as error:
        return None, str(error)


def test_a_section_becomes_its_dataclass_with_all_that_is_nested() -> None:
    assert outer() == Outer(3, 2.0, None, True, (1, 2), ("x", "y"), "a", Inner(1.0), {"first": Inner(0.25)})
    assert isinstance(outer().rate, float)
    assert isinstance(outer().one.share, float)


@pytest.mark.parametrize("experiment", DESCRIBED)
@pytest.mark.parametrize("name", SECTIONS)
def test_every_shipped_section_is_read_as_its_dataclass(experiment: str, name: str) -> None:
    assert isinstance(params.section(experiment, name, SECTIONS[name], path=ROOT / "params.yaml"), SECTIONS[name])


def test_the_experiments_that_run_are_described() -> None:
    assert set(params.experiments(ROOT / "params.yaml")) <= set(DESCRIBED)


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_a_missing_key_is_named_with_both_lists(name: str) -> None:
    given_keys = {key: value for key, value in RIGHT.items() if key != name}
    message = refusal(lambda: params.parse(given_keys, Outer, where="p:s"))
    assert message.startswith(f"p:s: keys are {sorted(given_keys)}, expected {sorted(RIGHT)}; missing ['{name}']. ")


def test_an_unknown_key_is_named_with_both_lists() -> None:
    message = refusal(lambda: outer(speed=1))
    assert message.startswith(f"params.yaml:e.s: keys are {sorted([*RIGHT, 'speed'])}, expected {sorted(RIGHT)}; ")
    assert "unknown ['speed']" in message


def test_keys_that_are_no_strings_are_unknown_keys() -> None:
    assert "unknown [3, None]" in refusal(lambda: params.parse({**RIGHT, 3: 1, None: 2}, Outer, where="p"))


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("count", 1.0, "e.s.count: found 1.0, expected int"),
        ("count", True, "e.s.count: found True, expected int"),
        ("count", "3", "e.s.count: found '3', expected int"),
        ("rate", True, "e.s.rate: found True, expected float"),
        ("rate", "1e-4", "e.s.rate: found '1e-4', expected float"),
        ("rate", float("nan"), "e.s.rate: found nan, expected float"),
        ("rate", float("inf"), "e.s.rate: found inf, expected float"),
        ("rate", 10**400, "e.s.rate: found 1000"),
        ("name", 5, "e.s.name: found 5, expected str"),
        ("is_on", 1, "e.s.is_on: found 1, expected bool"),
        ("is_on", None, "e.s.is_on: found None, expected bool"),
        ("size", [1], "e.s.size: found 1 values, expected 2"),
        ("size", [1, 2, 3], "e.s.size: found 3 values, expected 2"),
        ("size", [1, 2.5], "e.s.size[1]: found 2.5, expected int"),
        ("levels", "xy", "e.s.levels: found 'xy', expected tuple[str, ...]"),
        ("levels", ["x", 1], "e.s.levels[1]: found 1, expected str"),
        ("kind", "c", "e.s.kind: found 'c', expected one of ['a', 'b', 1]"),
        ("kind", True, "e.s.kind: found True, expected one of ['a', 'b', 1]"),
        ("kind", ["a"], "e.s.kind: found ['a'], expected one of ['a', 'b', 1]"),
        ("one", 3, "e.s.one: found 3, expected a mapping of ['share']"),
        ("one", {"share": "x"}, "e.s.one.share: found 'x', expected float"),
        ("many", {"first": {"share": False}}, "e.s.many.first.share: found False, expected float"),
        ("many", {4: {"share": 1}}, "e.s.many: found 4, expected str"),
        ("many", [], "e.s.many: found [], expected dict[str, "),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place(name: str, value: Any, place: str) -> None:
    assert refusal(lambda: outer(**{name: value})).startswith(f"params.yaml:{place}")


def test_a_refused_alternative_names_every_possibility() -> None:
    message = refusal(lambda: outer(rate="other"))
    assert "found 'other', expected float." in message
    assert "found 'other', expected one of ['own']" in message
    assert outer(rate="own").rate == "own"


def test_what_a_dataclass_itself_refuses_is_named_with_its_place() -> None:
    message = refusal(lambda: outer(many={"first": {"share": 1}, "second": {"share": 1.5}}))
    assert message == "params.yaml:e.s.many.second: share: found 1.5, expected 0 to 1. Correct it."


def test_a_missing_experiment_or_key_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path, "experiments: [a]\na: {data: {x: 1}}\n")
    assert refusal(lambda: params.raw_section("b", "data", path=path)).startswith(
        f"{path}: experiments described are ['a'], expected also 'b'. "
    )
    assert refusal(lambda: params.raw_section("a", "reid", path=path)) == (
        f"{path}:a: keys are ['data'], expected also 'reid'. Add it."
    )
    assert refusal(lambda: params.raw_section("a", "data.y", path=path)).startswith(f"{path}:a.data: keys are ['x'], ")
    assert refusal(lambda: params.raw_section("a", "data.x.z", path=path)).startswith(f"{path}:a.data.x: keys are int")


def test_a_dotted_name_reads_a_part_of_a_section(tmp_path: Path) -> None:
    path = write(tmp_path, "a: {data: {evaluate: [val]}}\n")
    assert params.section("a", "data.evaluate", tuple[str, ...], path=path) == ("val",)


def test_anchors_carry_shared_values(tmp_path: Path) -> None:
    path = write(tmp_path, "shared: {x: &x {share: 0.5}}\na: {one: {<<: *x, share: 1}, two: *x}\n")
    assert params.section("a", "one", Inner, path=path) == Inner(1.0)
    assert params.section("a", "two", Inner, path=path) == Inner(0.5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: [1,", "not YAML"),
        ("- a\n", "found list, expected a mapping"),
        ("", "found NoneType, expected a mapping"),
        ("a: {}\n1: {}\n", "found ['a', 1], expected a mapping of named sections"),
        ("a: 2020-13-45\n", "not YAML: month must be in 1..12"),
        ("? [a]\n: 1\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str, found: str) -> None:
    path = write(tmp_path, text)
    assert refusal(lambda: params.load(path)).startswith(f"{path}: {found}")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    assert refusal(lambda: params.load(tmp_path / "params.yaml")).startswith(f"{tmp_path / 'params.yaml'}: not YAML")


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    assert "no such file, expected the parameters. Run from" in refusal(lambda: params.load(tmp_path / "params.yaml"))


def test_experiments_must_be_a_list_of_names(tmp_path: Path) -> None:
    assert refusal(lambda: params.experiments(write(tmp_path, "experiments: a\n"))).endswith(
        "params.yaml:experiments: found 'a', expected list[str]. Correct the value."
    )
    assert "found None" in refusal(lambda: params.experiments(write(tmp_path, "a: {}\n")))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=3)
    | st.just("own")
    | st.just(datetime.date(2020, 1, 1))
    | st.binary(max_size=2)
)
keys = st.sampled_from([*RIGHT, "share"]) | st.integers(0, 2) | st.none() | st.booleans() | st.text(max_size=2)
values = st.recursive(scalars, lambda x: st.lists(x, max_size=3) | st.dictionaries(keys, x, max_size=3), max_leaves=8)
almost = st.builds(lambda name, value: {**RIGHT, name: value}, st.sampled_from(list(RIGHT)), values)
WANTED: list[Any] = [
    Outer,
    Inner,
    int,
    float,
    str,
    bool,
    float | Literal["own"],
    tuple[int, int],
    tuple[float, ...],
    list[str],
]
WANTED += [dict[str, Inner], dict[int, float], Inner | None, int | str, Literal["own", 0], *SECTIONS.values()]


@settings(deadline=None)
@given(value=values | almost, wanted=st.sampled_from(WANTED))
def test_any_value_is_read_as_wanted_or_refused_with_its_place(value: Any, wanted: Any) -> None:
    found, message = outcome(lambda: params.parse(value, wanted, where="place"))
    is_wanted = found is None or not isinstance(wanted, type) or type(found) is wanted
    assert message.startswith("place") if message is not None else is_wanted


@settings(deadline=None)
@given(st.text(alphabet="ab:[]{}-,&* \n'\"#!|>%@?0x1.e2_", max_size=30))
def test_any_text_is_a_mapping_or_refused_with_its_file(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = write(tmp_path_factory.getbasetemp(), text)
    found, message = outcome(lambda: params.load(path))
    assert message.startswith(f"{path}: ") if message is not None else isinstance(found, dict)


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: {b: 1, b: 2}\n"])
def test_a_key_that_comes_twice_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert " twice" in refusal(lambda: params.load(path))


@pytest.mark.parametrize("text", ["a: !!timestamp x\n", "a: !!bool x\n", "a: !!int ''\n", "[" * 2000])
def test_a_value_that_the_yaml_reader_fails_on_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert refusal(lambda: params.load(path)).startswith(f"{path}: not YAML")


def test_a_key_that_could_be_no_file_name_is_refused() -> None:
    assert refusal(lambda: params.parse({"../x": 1}, dict[str, int], where="here")).startswith("here: found '../x'")
