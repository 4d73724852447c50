"""A head comes back from its folder as it was saved, or is refused with the folder's name."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.inference.heads import load_head
from pipeline.models.folder import save_model
from pipeline.models.reid import FineTrackReID, ReIDHead

HEAD = ReIDHead(channels=8, mask_per_head=4, parts=2, part_dim=4, global_dim=8)
CARD: dict[str, Any] = {"kind": "reid", "head": asdict(HEAD), "in_channels": [6, 6]}


def saved(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    card = {name: value for name, value in (CARD | changes).items() if value is not None}
    save_model(folder, FineTrackReID(HEAD, (6, 6)).state_dict(), card)
    return folder


def test_a_head_embeds_after_loading_as_before(tmp_path: Path) -> None:
    folder = saved(tmp_path / "head")
    torch.manual_seed(0)
    before = FineTrackReID(HEAD, (6, 6)).eval()
    levels = (torch.rand(3, 6, 8, 4), torch.rand(3, 6, 4, 2))
    model, card = load_head(folder)
    assert card == CARD
    assert torch.equal(model(levels).descriptor, before(levels).descriptor)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "yolox"}, "head: holds 'yolox', expected 'reid'. Give"),
        ({"kind": None}, "head: holds None, expected 'reid'"),
        ({"head": None}, "head: head: found None, expected a mapping of"),
        ({"head": {"neck": "fpn"}}, "head: head: keys are .'neck'., expected .*missing"),
        ({"in_channels": None}, "head: in_channels: found None"),
        ({"in_channels": [6, 7]}, "head: the weights are not the card's: .*size mismatch"),
    ],
)
def test_a_folder_that_is_no_heads_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_head(saved(tmp_path / "head", **changes))
