"""Choose the experiments that `dvc repro` runs, and link data and the like to them (`make repro ...`)."""

import argparse
import hashlib
import json
import os
import re
import sys
from pathlib import Path

from pipeline import params
from pipeline.tables import write_text

# A comment behind it is kept. `dvc exp run -S` writes the list as a line each.
_LINE = re.compile(r"^experiments:(?:[ \t]*\[[^\]\r\n]*\]|(?:\r?\n[ \t]*-[ \t][^\r\n]*)+)", re.MULTILINE)
_CARD = "links.json"
_OTHERS = ("detections", "embeddings")  # links of their own in an experiment's data folder


def choose_experiments(names: list[str], *, path: Path = params.PARAMS) -> str:
    """Set the line `experiments:` of params.yaml, all else kept to the byte, and say what changed.

    Raises:
        ValueError: an experiment has no section, or there is no such line.
    """
    _refuse_unknown(names, path)
    text = path.read_bytes().decode("utf-8")
    found = _LINE.findall(text)
    if len(found) != 1:
        raise ValueError(f"{path}: found {len(found)} lines `experiments: [...]`, expected one. Mend the file.")
    line = f"experiments: [{', '.join(names)}]"
    before = found[0]
    if before == line:
        return f"{path}: {line} (unchanged)"
    write_text(_LINE.sub(lambda _: line, text), path)
    return f"{path}: {' '.join(before.split())} -> {line}"


def _refuse_unknown(names: list[str], path: Path) -> None:
    known = sorted(name for name, value in params.load(path).items() if isinstance(value, dict) and "data" in value)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"EXPERIMENTS: found {unknown}, expected some of {known}. Correct the names.")


def link_data(
    root: Path,
    *,
    source: Path | None = None,
    detections: Path | None = None,
    embeddings: Path | None = None,
    weights: Path | None = None,
) -> list[str]:
    """Link what is given below an experiment's data folder `root`, and say what was linked.

    The folders of `source` (`train`, `test`, ...; not hidden ones) become links in `root`, `detections` and
    `embeddings` become links of those names and `weights` the one file of `root/weights/`. Links of an earlier choice
    are replaced, those that a new `source` has no folder for are removed; files and folders stay.

    Raises:
        ValueError: what is given is not there, or a file or folder is in the way.
    """
    links: list[tuple[Path, Path]] = []
    if source is not None:
        entries = _existing(source, "SOURCE", folder=True).iterdir()
        folders = sorted(path for path in entries if path.is_dir() and not path.name.startswith("."))
        if not folders:
            raise ValueError(
                f"SOURCE: {source} holds no folders, expected such as train/ with sequences. Correct the path."
            )
        links += [(root / path.name, path) for path in folders]
    if detections is not None:
        links.append((root / "detections", _existing(detections, "DETECTIONS", folder=True)))
    if embeddings is not None:
        links.append((root / "embeddings", _existing(embeddings, "EMBEDDINGS", folder=True)))
    if weights is not None:
        links.append((root / "weights" / weights.name, _existing(weights, "WEIGHTS", folder=False)))
    if links and root.is_symlink():
        raise ValueError(
            f"{root}: is a link to {root.readlink()}, expected a folder to put links into. Remove the link."
        )
    stale = _stale(root, [link for link, _ in links]) if source is not None else []
    for link, target in links:
        _replace_link(link, target)
    for link in stale:
        link.unlink()
    return [f"{link} removed, SOURCE has none" for link in stale] + [f"{a} -> {b.resolve()}" for a, b in links]


def note_links(root: Path) -> None:
    """Write what the linked folders of an experiment's data hold into `root/links.json`, by names, sizes and times.

    DVC looks at a link to a file and at a data folder that is a link itself, but into no linked folder within one: this
    file stands for them, so that another choice, or other files behind a link, run the experiment again.
    """
    if not root.is_dir() or root.is_symlink():
        return
    card, links = root / _CARD, sorted(path for path in root.iterdir() if path.is_symlink() and path.is_dir())
    text = json.dumps({link.name: _listed(link) for link in links}, indent=2) + "\n"
    if not links:
        card.unlink(missing_ok=True)
    elif not card.is_file() or card.read_text(encoding="utf-8") != text:
        write_text(text, card)


def _listed(folder: Path) -> str:
    """Digest of the names, sizes and times of all files below a folder, through links."""
    lines, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(name for name in folders if os.path.realpath(Path(place, name)) not in seen)
        for path in (Path(place, name) for name in sorted(files)):
            stat = path.stat() if path.exists() else path.lstat()
            lines.append(f"{path.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n")
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _stale(root: Path, wanted: list[Path]) -> list[Path]:
    """Links to folders of an earlier SOURCE; given detections and embeddings are other choices, and stay."""
    found = sorted(root.iterdir()) if root.is_dir() else []
    return [path for path in found if path.is_symlink() and path not in wanted and path.name not in _OTHERS]


def _existing(path: Path, name: str, *, folder: bool) -> Path:
    if not (path.is_dir() if folder else path.is_file()):
        raise ValueError(f"{name}: {path} is no {'folder' if folder else 'file'}. Correct the path.")
    return path


def _replace_link(link: Path, target: Path) -> None:
    pointed = os.path.abspath(target)  # noqa: PTH100 - a link to a link is meant to stay one
    if pointed == os.path.abspath(link):  # noqa: PTH100
        return  # what is given lies there already
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.parent.name == "weights":
        for other in link.parent.iterdir():
            if other.is_symlink():
                other.unlink()
    if link.is_symlink():
        link.unlink()
    if link.exists():
        raise ValueError(f"{link}: is there already and is no link, expected nothing. Move it away.")
    link.symlink_to(pointed)


def main() -> None:
    """Parse `make repro`'s variables and do as they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=str.split, default=None)
    for name in ("source", "detections", "embeddings", "weights"):
        parser.add_argument(f"--{name}", type=Path, default=None)
    given = vars(parser.parse_args())
    names = given.pop("experiments")
    try:
        if any(given.values()):
            names = names or params.experiments()
            if len(names) != 1:
                raise ValueError(
                    f"EXPERIMENTS: found {names}, expected one for SOURCE, DETECTIONS, EMBEDDINGS or WEIGHTS. Name it."
                )
            _refuse_unknown(names, params.PARAMS)
            for line in link_data(Path("data") / names[0], **given):
                print(line)
        for name in names or params.experiments():
            note_links(Path("data") / name)
        if names:
            print(choose_experiments(names))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
