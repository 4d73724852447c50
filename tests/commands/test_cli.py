"""What is typed, and what comes back."""

import resource
import subprocess
import sys

import pytest
import torch

from pipeline import cli

CALLS = ("fetch", "plan", "track", "score", "compare", "export", "submit")


def test_versions_of_all_that_computes_are_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    packages = ["torch", "ray", "dvc", "numpy", "opencv", "trackeval"]
    assert list(lines) == ["finetrack", "python", *packages, "platform", "cuda"]
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["cuda"].split(",")[0] == (torch.version.cuda or "no")


def test_what_is_not_installed_is_said_and_no_error(monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    monkeypatch.setattr(cli.metadata, "version", lambda name: int(name))
    monkeypatch.setattr(cli.metadata, "PackageNotFoundError", ValueError)
    lines = dict(line.split(" ", 1) for line in cli.versions().splitlines())
    assert lines["torch"] == "not installed"
    assert lines["cuda"].startswith("no,")


@pytest.mark.parametrize("call", [[], *([one] for one in CALLS)])
def test_help_is_there_everywhere_and_says_what_exit_codes_mean(call, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*call, "--help"])
    assert ended.value.code == 0
    assert "exit codes" in capsys.readouterr().out


def test_help_comes_at_once_and_imports_nothing_heavy():
    code = "import sys; from pipeline import cli; cli._parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "torch", "ray", "cv2", "pyarrow", "rich", "yaml"} & set(loaded) == set()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "pipeline.cli", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5  # seconds of a processor


@pytest.mark.parametrize("arguments", [[], ["dance"], ["score"], ["track", "--out"], ["score", "--half", "third"]])
def test_bad_usage_exits_2(arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("a: b, expected c. Do d."), 2, "a: b, expected c. Do d."),
        (OSError("disk full"), 1, "disk full"),
        (KeyboardInterrupt(), 1, "interrupted"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(monkeypatch, capsys, error, code, line):
    from pipeline.commands import submit

    def fail(**_: object) -> int:
        raise error

    monkeypatch.setattr(submit, "run", fail)
    assert cli.main(["submit", "--run", "runs/x"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"finetrack: {line}\n"


def test_the_console_script_returns_the_code():
    command = [sys.executable, "-m", "pipeline.cli", "score", "--gt", "nowhere", "--tracks", "nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("finetrack: nowhere")
    assert len(ended.stderr.splitlines()) == 1
