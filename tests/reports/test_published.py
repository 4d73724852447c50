import pytest

from pipeline.reports.published import published

BOXES = {"MOT17": 564228, "MOT20": 517426}  # of the test sets; MOT17's three copies of each sequence


@pytest.fixture(scope="module")
def values() -> dict[tuple, float]:
    rows = published().to_pylist()
    return {(row["table"], row["dataset"], row["method"], row["metric"]): row["value"] for row in rows}


def gains(values: dict, table: int, dataset: str, method: str, over: str, metrics: tuple[str, ...]) -> list[float]:
    return [round(values[table, dataset, method, m] - values[table, dataset, over, m], 1) for m in metrics]


def test_every_number_of_the_six_tables_is_there_once() -> None:
    rows = published().to_pylist()
    keys = [tuple(row[name] for name in ("table", "row", "dataset", "split", "method", "metric")) for row in rows]
    assert len(set(keys)) == len(keys)
    # Rows times columns, less the dashes: HOTA of four rows, FP, FN and IDs of one; two and one of MOT20.
    counts = {1: 23 * 6 - 4 - 3 + 11 * 6 - 2 - 3, 2: 7 * 5, 3: 3 * 2, 4: 4 * 2, 5: 4 * 2, 6: 4 * 3}
    assert {table: sum(key[0] == table for key in keys) for table in range(1, 7)} == counts


@pytest.mark.parametrize("dataset", ["MOT17", "MOT20"])
def test_mota_follows_from_the_errors_of_its_row_except_mtracks(values: dict, dataset: str) -> None:
    checked = []
    for table, found, method, metric in values:
        if (table, found, metric) == (1, dataset, "CLR_FP"):
            errors = sum(values[1, dataset, method, name] for name in ("CLR_FP", "CLR_FN", "IDSW"))
            off = abs(100 * (1 - errors / BOXES[dataset]) - values[1, dataset, method, "MOTA"]) > 0.051
            checked.append(method)
            assert off == (method == "MTrack"), method
    assert len(checked) == {"MOT17": 22, "MOT20": 10}[dataset]


@pytest.mark.parametrize(
    ("table", "dataset", "method", "over", "metrics", "stated"),
    [
        (1, "MOT17", "FineTrack", "ByteTrack", ("HOTA", "IDF1"), [1.2, 2.2]),
        (1, "MOT20", "FineTrack", "ByteTrack", ("HOTA", "IDF1"), [2.3, 3.8]),
        (2, "DanceTrack", "FineTrack", "ByteTrack", ("HOTA",), [5.0]),
        (3, "MOT17", "finetrack", "sequential", ("rank1", "mAP"), [2.6, 5.1]),
        (3, "MOT17", "shuffle", "sequential", ("rank1", "mAP"), [1.2, 3.7]),
        (3, "MOT17", "finetrack", "shuffle", ("rank1", "mAP"), [1.4, 1.4]),
        (4, "MOT17", "finetrack", "baseline", ("rank1", "mAP"), [4.0, 11.4]),
        (4, "MOT17", "fafpn", "baseline", ("rank1", "mAP"), [3.5, 7.8]),
        (4, "MOT17", "finetrack", "mpmg", ("rank1", "mAP"), [2.5, 6.1]),
        (4, "MOT17", "mpmg", "baseline", ("rank1", "mAP"), [1.5, 5.3]),
        (4, "MOT17", "finetrack", "fafpn", ("rank1", "mAP"), [0.5, 3.6]),
        (5, "MOT17", "fafpn", "fafpn-nofam", ("rank1", "mAP"), [0.1, 0.3]),
        (5, "MOT17", "finetrack", "finetrack-nofam", ("rank1", "mAP"), [0.3, 0.7]),
        (6, "MOT17", "finetrack", "baseline", ("MOTA", "IDF1", "IDSW"), [1.5, 3.3, 115 - 253]),
    ],
)
def test_gains_are_those_of_the_papers_text(
    values: dict, table: int, dataset: str, method: str, over: str, metrics: tuple, stated: list
) -> None:
    assert gains(values, table, dataset, method, over, metrics) == stated


def test_the_one_gain_that_the_text_states_differently_is_noted(values: dict) -> None:
    assert gains(values, 2, "DanceTrack", "FineTrack", "ByteTrack", ("IDF1",)) == [5.9]
    notes = {(row["method"], row["metric"]): row["note"] for row in published().to_pylist() if row["table"] == 2}
    assert "5.6 in the abstract" in notes["FineTrack", "IDF1"]


def test_a_variant_that_stands_in_two_tables_has_the_same_numbers_in_both(values: dict) -> None:
    for metric in ("rank1", "mAP"):
        assert len({values[table, "MOT17", "finetrack", metric] for table in (3, 4, 5)}) == 1
        assert values[4, "MOT17", "fafpn", metric] == values[5, "MOT17", "fafpn", metric]


def test_every_note_reached_a_row() -> None:
    notes = [(row["table"], row["method"], row["metric"]) for row in published().to_pylist() if row["note"]]
    assert notes == [
        (1, "MTrack", "MOTA"),
        (2, "FineTrack", "IDF1"),
        (6, "baseline", "MOTA"),
        (6, "fafpn", "IDSW"),
        (6, "mpmg", "IDSW"),
    ]
