"""The numbers that the paper prints: its Tables 1 to 6.

Metrics carry the names of this project's own tables. In Tables 3 to 6 a method is the variant that repeats it; in
Tables 1 and 2 it is the name that the paper prints. A dash is a number that the paper does not give.
"""

from collections.abc import Iterator

import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("table", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
    ]
)

# Table, data set and split, then the metrics, then a line a row.
_BLOCKS = """
1 MOT17 test           HOTA IDF1 MOTA CLR_FP CLR_FN IDSW
DAN                    39.3 49.5 52.4  25423 234592 8431
TubeTK                 48.0 58.6 63.0  27060 177483 4137
MOTR                      - 66.4 65.1  45486 149307 2049
CTracker               49.0 57.4 66.6  22284 160491 5529
MAT                    53.8 63.1 69.5  30660 138741 2844
QuasiDense             53.9 66.3 68.7  26589 146643 3378
TransTrack             54.1 63.5 75.2  50157  86442 3603
TransCenter            54.5 62.2 73.2  23112 123738 4614
GSDT                   55.2 66.5 73.2  26397 120666 3891
PermaTrackPr           55.5 68.9 73.8  28998 115104 3699
SOTMOT                    - 71.9 71.0  39537 118983 5184
FUFET                  57.9 68.0 76.2  32796  98475 3237
MTrack                    - 72.1 73.5  53361 101844 2028
FairMOT                59.3 72.3 73.7  27507 117477 3303
CSTrack                59.3 72.6 74.9  23847 114303 3567
SiamMOT                   - 72.3 76.3      -      -    -
ReMOT                  59.7 72.0 77.0  33204  93612 2853
Semi-TCL               59.8 73.2 73.3  22944 124980 2790
CorrTracker            60.7 73.6 76.5  29808  99510 3369
RelationTrack          61.0 74.7 73.8  27999 118623 1374
TransMOT               61.7 75.1 76.7  36231  93150 2346
ByteTrack              63.1 77.3 80.3  25491  83721 2196
FineTrack              64.3 79.5 80.0  21750  90096 1272

1 MOT20 test           HOTA IDF1 MOTA CLR_FP CLR_FN IDSW
MLT                    43.2 54.6 48.9  45660 216803 2187
TransTrack             48.5 59.4 65.0  27197 150197 3608
FairMOT                54.6 67.3 61.8 103440  88901 5243
Semi-TCL               55.3 70.1 65.2  61209 114709 4139
CSTrack                54.0 68.6 66.6  25404 144358 3196
GSDT                   53.6 67.5 67.1  31913 135409 3131
SiamMOT                   - 69.1 67.1      -      -    -
RelationTrack          56.5 70.5 67.2  61134 104597 4243
SOTMOT                    - 71.4 68.6  57064 101154 4209
ByteTrack              61.3 75.2 77.8  26249  87594 1223
FineTrack              63.6 79.0 77.9  24439  89012  980

2 DanceTrack test      HOTA IDF1 MOTA AssA DetA
CenterTrack            41.8 35.7 86.8 22.6 78.1
FairMOT                39.7 40.8 82.2 23.8 66.7
QuasiDense             45.7 44.8 83.0 29.2 72.1
TransTrack             45.5 45.2 88.4 27.5 75.9
TraDes                 43.3 41.2 86.2 25.4 74.5
ByteTrack              47.7 53.9 89.6 32.1 71.0
FineTrack              52.7 59.8 89.9 38.5 72.4

3 MOT17 val            rank1  mAP
sequential              89.7 56.7
shuffle                 90.9 60.4
finetrack               92.3 61.8

4 MOT17 val            rank1  mAP
baseline                88.3 50.4
mpmg                    89.8 55.7
fafpn                   91.8 58.2
finetrack               92.3 61.8

5 MOT17 val            rank1  mAP
fafpn-nofam             91.7 57.9
finetrack-nofam         92.0 61.1
fafpn                   91.8 58.2
finetrack               92.3 61.8

6 MOT17 val             MOTA IDF1 IDSW
baseline                75.5 77.8  253
fafpn                   76.0 78.9  459
mpmg                    76.4 79.7  451
finetrack               77.0 81.1  115
"""

# Where the paper contradicts itself: table, method, metric.
_NOTES = {
    (1, "MTrack", "MOTA"): "FP, FN and IDs of this row give 72.1",
    (2, "FineTrack", "IDF1"): "5.9 above ByteTrack here, 5.6 in the abstract and in section 4.2",
    (6, "fafpn", "IDSW"): "above the baseline although IDF1 is better",
    (6, "mpmg", "IDSW"): "above the baseline although IDF1 is better",
    (6, "baseline", "MOTA"): "evaluator not stated; below ByteTrack's own 76.6 (motmetrics) on the same split",
}


def published() -> pa.Table:
    """One row a (table, row, dataset, split, method, metric) of the paper, in its order.

    `row` counts from 1 within a data set of a table; percent where the paper prints percent; `split` `val` is the
    second halves of MOT17's training sequences. `note` says where the paper contradicts itself.
    """
    return pa.Table.from_pylist(list(_cells()), schema=SCHEMA)


def _cells() -> Iterator[dict]:
    for block in _BLOCKS.strip().split("\n\n"):
        header, *lines = block.splitlines()
        table, dataset, split, *metrics = header.split()
        for row, line in enumerate(lines, start=1):
            method, *values = line.split()
            for metric, value in zip(metrics, values, strict=True):
                if value != "-":
                    yield {
                        "table": int(table),
                        "row": row,
                        "dataset": dataset,
                        "split": split,
                        "method": method,
                        "metric": metric,
                        "value": float(value),
                        "note": _NOTES.get((int(table), method, metric), ""),
                    }
