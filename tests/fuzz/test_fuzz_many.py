"""How many cases there are; many more of them on demand."""

import os
import subprocess
import sys
from pathlib import Path

import damage
import pytest

HERE = Path(__file__).parent
MODULES = sorted(path.stem for path in HERE.glob("test_fuzz_*.py") if path != Path(__file__))


def test_there_are_at_least_two_thousand_cases():
    damage.PLANNED.clear()
    for name in MODULES:
        sys.modules.pop(name, None)
        __import__(name)
    assert sum(damage.PLANNED) >= 2_000


@pytest.mark.slow
def test_ten_times_as_many_of_fresh_randomness_hold(root):
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", str(HERE)]
    ran = subprocess.run(command, cwd=root, env={**os.environ, "FINETRACK_FUZZ": "10"}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:]
