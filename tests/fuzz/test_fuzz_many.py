"""How many cases there are. `FINETRACK_FUZZ=10 pytest tests/fuzz` draws ten times as many, each time others."""

import sys
from pathlib import Path

import damage

HERE = Path(__file__).parent
MODULES = sorted(path.stem for path in HERE.glob("test_fuzz_*.py") if path != Path(__file__))


def test_there_are_at_least_two_thousand_cases():
    damage.PLANNED.clear()
    for name in MODULES:
        sys.modules.pop(name, None)
        __import__(name)
    assert sum(damage.PLANNED) >= 2_000
