"""The columns of the score tables, each with what it says."""

import pyarrow as pa

_KEY = {
    "experiment": (pa.string(), "experiment of params.yaml"),
    "split": (pa.string(), "train, val or test"),
}
_ROW = {
    **_KEY,
    "variant": (pa.string(), "row of an ablation, or an association without appearance"),
    "seed": (pa.int64(), "seed of the Re-ID training; 0 where nothing is trained"),
}
_FINGERPRINT = {"fingerprint": (pa.string(), "key of provenance.parquet: settings, versions, times")}
_PERCENT = {
    "HOTA": "higher-order tracking accuracy, mean over 19 thresholds, percent",
    "DetA": "detection accuracy part of HOTA, percent",
    "AssA": "association accuracy part of HOTA, percent",
    "LocA": "localisation accuracy, percent",
    "MOTA": "1 - (FP + FN + IDSW) / GT, percent",
    "MOTP": "mean IoU of matched boxes, percent",
    "IDF1": "F1 of identity-consistent boxes, percent",
    "IDP": "identity precision, percent",
    "IDR": "identity recall, percent",
}
_COUNT = {
    "CLR_TP": "matched boxes",
    "CLR_FP": "boxes that match nothing",
    "CLR_FN": "people not found",
    "IDSW": "identity switches",
    "MT": "people followed for at least 80 % of their time",
    "PT": "people followed for 20 to 80 %",
    "ML": "people followed for less than 20 %",
    "Frag": "interrupted followings",
    "Dets": "boxes of the tracker that count",
    "GT_Dets": "annotated boxes that count",
    "IDs": "identities of the tracker",
    "GT_IDs": "people",
    "frames": "length of the sequence",
}


def _schema(columns: dict[str, tuple[pa.DataType, str]]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"doc": doc}) for name, (kind, doc) in columns.items()])


TRACKING = _schema(
    {
        **_ROW,
        "evaluator": (pa.string(), "trackeval, or motmetrics (ByteTrack's convention)"),
        "overrides": (pa.bool_(), "whether ByteTrack's settings of single sequences were used"),
        "sequence": (pa.string(), "a sequence, or COMBINED for all"),
        **{name: (pa.float64(), doc) for name, doc in _PERCENT.items()},
        **{name: (pa.int64(), doc) for name, doc in _COUNT.items()},
        "HOTA_alpha": (pa.list_(pa.float64()), "HOTA at localisation thresholds 0.05 to 0.95, percent"),
        **_FINGERPRINT,
    }
)
REID = _schema(
    {
        **_ROW,
        "protocol": (pa.string(), "loo: all other boxes; gap: no near frames of the same person; first: first boxes"),
        "rank1": (pa.float64(), "queries whose nearest box is the same person, percent"),
        "rank5": (pa.float64(), "queries with the same person among the nearest five, percent"),
        "mAP": (pa.float64(), "mean average precision, percent"),
        "queries": (pa.int64(), "queries that have a positive"),
        "gallery": (pa.int64(), "boxes compared with"),
        "gap": (pa.int64(), "frames around a query in which its person is left out; null under other protocols"),
        **_FINGERPRINT,
    }
)
DETECTION = _schema(
    {
        **_KEY,
        "AP50": (pa.float64(), "average precision at IoU 0.5, percent"),
        "AP": (pa.float64(), "average precision, mean over IoU 0.5 to 0.95, percent"),
        "recall": (pa.float64(), "share of people found at IoU 0.5 by detections above the score threshold, percent"),
        "precision": (pa.float64(), "share of those detections that are people, percent"),
        "images": (pa.int64(), "images of annotated sequences"),
        **_FINGERPRINT,
    }
)
CURVES = _schema(
    {
        **_ROW,
        "curve": (pa.string(), "detector or reid training, or precision over recall"),
        "x": (pa.float64(), "epoch, or recall in percent"),
        "name": (pa.string(), "part of the loss, or precision"),
        "y": (pa.float64(), "its mean over the epoch, or the precision in percent"),
    }
)
MOMENTS = _schema(
    {
        **_ROW,
        "variant": (pa.string(), "which keeps the person's identity"),
        "loser": (pa.string(), "variant that gives the person another identity meanwhile"),
        "loser_seed": (pa.int64(), "its seed"),
        "sequence": (pa.string(), "name of the sequence"),
        "person": (pa.int64(), "annotated number of the person"),
        "last": (pa.int64(), "last frame in which the loser gives the old identity, from 1"),
        "first": (pa.int64(), "first frame in which it gives the new one"),
        "before": (pa.int64(), "the loser's identity until then"),
        "after": (pa.int64(), "the loser's identity from then on"),
        "kept": (pa.int64(), "the identity that is kept"),
        "span": (pa.int64(), "frames in which it is on the person, without another between"),
        **_FINGERPRINT,
    }
)
PROVENANCE = _schema(
    {
        **_FINGERPRINT,
        "experiment": (pa.string(), "experiment of params.yaml"),
        "variant": (pa.string(), "row of an ablation, an association, or the detector"),
        "seed": (pa.int64(), "seed of the Re-ID training"),
        "params": (pa.string(), "resolved settings, JSON"),
        "revision": (pa.string(), "Git revision, `+` where files differed from it"),
        "packages": (pa.string(), "versions of Python and of the packages that compute, JSON"),
        "workers": (pa.int64(), "workers of cluster.yaml"),
        "host": (pa.string(), "processor, cores and GPUs"),
        "seconds": (
            pa.string(),
            "wall seconds of each stage when it last ran, less where finished work was used again; JSON",
        ),
        "frames_per_second": (pa.float64(), "frames through the stage detect a second of those, its start included"),
    }
)

# Which column sets stand in which file; keys are file names in a scores folder and in reports/.
SCHEMAS = {
    "tracking": TRACKING,
    "reid": REID,
    "detection": DETECTION,
    "moments": MOMENTS,
    "curves": CURVES,
    "provenance": PROVENANCE,
}
