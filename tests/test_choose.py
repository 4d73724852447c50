import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipeline import choose, params

PARAMS = """# what runs  \r
experiments: [synthetic]   # chosen by `make repro`\r

shared: {x: &x {a: 1, b: [1, 2]}}
  # experiments: [old]
synthetic: {data: *x, "quoted": 'é'}
mot17-half:
  data: {<<: *x, a: 2}
notes: {experiments: [none]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_bytes(PARAMS.encode())
    return tmp_path / "params.yaml"


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """What a user has: a dataset of two splits, detections and weights."""
    for name in ("train/A", "test/B", "detections"):
        (tmp_path / "given" / name).mkdir(parents=True)
    (tmp_path / "given" / "readme.txt").write_text("not a folder")
    (tmp_path / "given" / "weights.pth").write_bytes(b"1")
    (tmp_path / "given" / "other.pth").write_bytes(b"2")
    return tmp_path / "given"


def link(root: Path, given: Path, **what: str) -> list[str]:
    everything = {"source": None, "detections": None, "weights": None}
    return choose.link_data(root, **{**everything, **{name: given / path for name, path in what.items()}})


def test_one_line_of_the_parameters_changes_and_nothing_else(file: Path) -> None:
    before = file.read_bytes()
    said = choose.choose_experiments(["mot17-half", "synthetic"], path=file)
    assert said == f"{file}: experiments: [synthetic] -> experiments: [mot17-half, synthetic]"
    assert file.read_bytes() == before.replace(
        b"\nexperiments: [synthetic]   #", b"\nexperiments: [mot17-half, synthetic]   #"
    )
    assert params.experiments(file) == ["mot17-half", "synthetic"]


def test_the_shipped_parameters_change_in_one_line(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    text = (root / "params.yaml").read_text()
    copy.write_text(text + "\nanother: {data: {}}\n")
    choose.choose_experiments(["another", "synthetic"], path=copy)
    differing = [(a, b) for a, b in zip(text.splitlines(), copy.read_text().splitlines(), strict=False) if a != b]
    assert [b for _, b in differing] == ["experiments: [another, synthetic]"]
    assert yaml.safe_load(text) | {"experiments": None} == {
        name: value for name, value in yaml.safe_load(copy.read_text()).items() if name != "another"
    } | {"experiments": None}


def test_choosing_what_is_chosen_writes_nothing(file: Path) -> None:
    before = file.stat().st_mtime_ns
    assert choose.choose_experiments(["synthetic"], path=file).endswith("experiments: [synthetic] (unchanged)")
    assert file.stat().st_mtime_ns == before


def test_choosing_back_gives_the_same_bytes(file: Path) -> None:
    before = file.read_bytes()
    choose.choose_experiments(["mot17-half"], path=file)
    choose.choose_experiments(["synthetic"], path=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("names", [["mot17"], ["synthetic", "shared"], ["notes"], ["experiments"], []])
def test_a_name_without_a_section_is_refused(file: Path, names: list[str]) -> None:
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"EXPERIMENTS: found \[.*\], expected some of \['mot17-half', 'synthetic'\]"):
        choose.choose_experiments(names, path=file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("experiments: [synthetic,\n  synthetic]\n", "0 lines"),
        ("experiments: synthetic\n", "0 lines"),
        ("experiments: [synthetic]\nexperiments: [synthetic]\n", "'experiments' twice|2 lines"),
    ],
)
def test_a_list_in_another_form_is_refused_not_broken(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"{text}synthetic: {{data: {{}}}}\nb: {{data: {{}}}}\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=found):
        choose.choose_experiments(["b"], path=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["experiments:\n- synthetic\n- b\n", "experiments:\r\n  - synthetic\r\n"])
def test_the_list_as_dvc_writes_it_becomes_the_line_again(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    others = "synthetic: {data: {}}\nb: {data: {}}\n"
    path.write_bytes(f"{text}{others}".encode())
    said = choose.choose_experiments(["b"], path=path)
    assert said.startswith(f"{path}: experiments: - synthetic")
    assert path.read_bytes().decode().split() == f"experiments: [b]\n{others}".split()


def test_folders_detections_and_weights_become_links(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data" / "mot17"
    said = link(root, given, source=".", detections="detections", weights="weights.pth")
    assert (root / "train" / "A").is_dir()
    assert (root / "test").readlink() == given / "test"
    assert (root / "weights" / "weights.pth").read_bytes() == b"1"
    assert sorted(path.name for path in root.iterdir()) == ["detections", "test", "train", "weights"]
    assert f"{root / 'train'} -> {given / 'train'}" in said


def test_links_of_an_earlier_choice_are_replaced(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data"
    link(root, given, source=".", weights="weights.pth")
    (given / "new" / "train").mkdir(parents=True)
    link(root, given, source="new", weights="other.pth")
    assert (root / "train").readlink() == given / "new" / "train"
    assert [path.name for path in (root / "weights").iterdir()] == ["other.pth"]


def test_links_to_what_a_new_source_lacks_are_removed(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data"
    link(root, given, source=".", detections="detections", weights="weights.pth")
    (root / "train-notes").mkdir()
    (given / "new" / "train").mkdir(parents=True)
    said = link(root, given, source="new")
    assert f"{root / 'test'} removed, SOURCE has none" in said
    assert sorted(path.name for path in root.iterdir()) == ["detections", "train", "train-notes", "weights"]
    assert (root / "weights" / "weights.pth").is_file()


def test_detections_or_weights_alone_remove_no_link(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data"
    link(root, given, source=".")
    link(root, given, weights="weights.pth")
    assert (root / "test" / "B").is_dir()


def test_hidden_folders_are_not_linked(tmp_path: Path, given: Path) -> None:
    (given / ".cache").mkdir()
    link(tmp_path / "data", given, source=".")
    assert not (tmp_path / "data" / ".cache").exists()


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "train").symlink_to(tmp_path / "gone")
    link(root, given, source=".")
    assert (root / "train" / "A").is_dir()


@pytest.mark.parametrize("name", ["train", "detections", "weights/weights.pth"])
def test_files_and_folders_are_never_replaced(tmp_path: Path, given: Path, name: str) -> None:
    root = tmp_path / "data"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("precious")
    with pytest.raises(ValueError, match=r"is there already and is no link, expected nothing. Move it away"):
        link(root, given, source=".", detections="detections", weights="weights.pth")
    assert (root / name).read_text() == "precious"


def test_giving_what_is_linked_already_keeps_it(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data"
    link(root, given, source=".", weights="weights.pth")
    choose.link_data(root, source=root, detections=None, weights=root / "weights" / "weights.pth")
    assert (root / "train").readlink() == given / "train"
    assert (root / "weights" / "weights.pth").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"source": "none"}, "SOURCE: .*none is no folder"),
        ({"source": "readme.txt"}, "SOURCE: .* is no folder"),
        ({"source": "detections"}, "SOURCE: .* holds no folders, expected such as train/"),
        ({"detections": "none"}, "DETECTIONS: .*none is no folder"),
        ({"weights": "none"}, "WEIGHTS: .*none is no file"),
        ({"weights": "train"}, "WEIGHTS: .*train is no file"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, given: Path, what: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        link(tmp_path / "data", given, **what)
    assert not (tmp_path / "data").exists()


def test_nothing_is_put_into_a_folder_that_is_itself_a_link(tmp_path: Path, given: Path) -> None:
    (tmp_path / "data").symlink_to(given)
    with pytest.raises(ValueError, match=r"is a link to .*, expected a folder to put links into. Remove the link"):
        link(tmp_path / "data", given, detections="detections")
    assert sorted(path.name for path in given.iterdir()) == sorted(
        ["train", "test", "detections", "readme.txt", "weights.pth", "other.pth"]
    )


@pytest.fixture
def command(file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`python -m pipeline.choose` in the folder of `file`."""
    monkeypatch.chdir(file.parent)

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["choose", *arguments])
        choose.main()

    return call


def test_the_command_links_and_chooses_and_says_so(
    command: Callable[..., None], given: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--experiments", "mot17-half", "--source", str(given))
    assert (file.parent / "data" / "mot17-half" / "train" / "A").is_dir()
    assert params.experiments(file) == ["mot17-half"]
    assert len(capsys.readouterr().out.splitlines()) == 4, "three folders and the line"


def test_the_command_without_arguments_does_nothing(
    command: Callable[..., None], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command()
    assert file.read_bytes() == PARAMS.encode()
    assert capsys.readouterr().out == ""


def test_links_without_a_name_go_to_the_one_experiment_chosen(command: Callable[..., None], given: Path) -> None:
    command("--weights", str(given / "weights.pth"))
    assert Path("data/synthetic/weights/weights.pth").is_symlink()


def test_links_need_one_experiment(command: Callable[..., None], given: Path) -> None:
    with pytest.raises(SystemExit, match=r"EXPERIMENTS: found \['mot17-half', 'synthetic'\], expected one for SOURCE"):
        command("--experiments", "mot17-half synthetic", "--source", str(given))


def test_a_misspelt_experiment_gets_no_folder(command: Callable[..., None], given: Path) -> None:
    with pytest.raises(SystemExit, match="EXPERIMENTS: found"):
        command("--experiments", "mot17-hlaf", "--source", str(given))
    assert not Path("data").exists()


def test_embeddings_become_a_link_that_another_source_leaves(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data" / "x"
    assert link(root, given, embeddings="detections") == [f"{root / 'embeddings'} -> {given / 'detections'}"]
    link(root, given, source=".")
    assert (root / "embeddings").is_symlink()


def test_a_card_stands_for_what_linked_folders_hold(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data" / "x"
    link(root, given, source=".", weights="weights.pth")
    choose.note_links(root)
    card, before = root / "links.json", (root / "links.json").read_bytes()
    assert set(json.loads(before)) == {"detections", "test", "train"}, "DVC sees through links to files itself"
    choose.note_links(root)
    assert card.read_bytes() == before
    (given / "train" / "A" / "gt.txt").write_text("1")
    choose.note_links(root)
    changed = card.read_bytes()
    assert changed != before
    os.utime(given / "train" / "A" / "gt.txt", (1, 1))
    choose.note_links(root)
    assert card.read_bytes() != changed
    for name in ("detections", "test", "train"):
        (root / name).unlink()
    choose.note_links(root)
    assert not card.exists()


def test_links_that_lead_in_a_circle_or_nowhere_are_listed(tmp_path: Path, given: Path) -> None:
    root = tmp_path / "data" / "x"
    (given / "train" / "loop").symlink_to(given / "train")
    (given / "train" / "gone").symlink_to(given / "nowhere")
    link(root, given, source=".")
    choose.note_links(root)
    assert set(json.loads((root / "links.json").read_text())) == {"detections", "test", "train"}


def test_a_data_folder_that_is_a_link_or_holds_none_gets_no_card(tmp_path: Path, given: Path) -> None:
    (tmp_path / "data").symlink_to(given)
    for root in (tmp_path / "data", given, tmp_path / "nowhere"):
        choose.note_links(root)
    assert not (given / "links.json").exists()
