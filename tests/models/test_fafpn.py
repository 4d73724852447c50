import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.fafpn import FAFPN, FAM, FPN, RB, Sum, enlarge, warp


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(x=st.integers(-3, 3), y=st.integers(-3, 3), height=st.integers(2, 9), width=st.integers(2, 7))
def test_a_flow_of_whole_pixels_shifts_the_map_by_exactly_that(x, y, height, width):
    maps = random(2, 3, height, width)
    flow = torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).expand(2, 2, height, width)
    padded = F.pad(maps, (3, 3, 3, 3))
    expected = padded[:, :, 3 + y : 3 + y + height, 3 + x : 3 + x + width]
    assert torch.allclose(warp(maps, flow), expected, atol=1e-5)


def test_half_a_pixel_of_flow_is_the_mean_of_two_neighbours():
    maps = random(1, 2, 5, 6)
    flow = torch.zeros(1, 2, 5, 6)
    flow[:, 0] = 0.5
    expected = (maps[..., :-1] + maps[..., 1:]) / 2
    assert torch.allclose(warp(maps, flow)[..., :-1], expected, atol=1e-5)


def test_an_axis_of_one_pixel_does_not_move():
    maps = random(2, 3, 1, 1)
    assert torch.allclose(warp(maps, torch.full((2, 2, 1, 1), 5.0)), maps)


def test_warping_half_precision_maps_keeps_their_type_and_place():
    maps = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 1, 4, 64).to(torch.bfloat16)
    assert torch.equal(warp(maps, torch.zeros(1, 2, 4, 64, dtype=torch.bfloat16)), maps)


@pytest.mark.parametrize("coarse", [(4, 2), (3, 3), (8, 4), (1, 1)])
def test_fam_begins_as_the_sum_of_fpn(coarse):
    fine, deep = random(5, 8, 8, 4), random(5, 8, *coarse, seed=1)
    assert torch.allclose(FAM(8)(fine, deep), Sum()(fine, deep), atol=1e-5)


def test_the_first_two_flow_channels_move_the_coarse_map_and_the_others_the_fine_one():
    fam = FAM(1).eval()
    fine, deep = random(1, 1, 6, 5), random(1, 1, 6, 5, seed=1)
    fam.flow = Constant(torch.tensor([1.0, 0.0, 0.0, -1.0]))
    moved = F.pad(deep, (0, 1))[..., 1:] + F.pad(fine, (0, 0, 1, 0))[..., :-1, :]
    assert torch.allclose(fam(fine, deep), moved, atol=1e-5)


class Constant(torch.nn.Module):
    def __init__(self, flow: torch.Tensor) -> None:
        super().__init__()
        self.values = flow

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.values.view(1, 4, 1, 1).expand(len(maps), 4, *maps.shape[2:])


def test_flow_learns_from_the_first_step():
    fam = FAM(4)
    fam(random(3, 4, 8, 4), random(3, 4, 4, 2, seed=1)).square().sum().backward()
    assert fam.flow[-1].weight.grad.abs().sum() > 0


def test_enlarging_keeps_corners():
    coarse = random(1, 1, 3, 2)
    large = enlarge(coarse, torch.zeros(1, 1, 7, 5))
    assert torch.equal(large[..., [0, 0, -1, -1], [0, -1, 0, -1]], coarse[..., [0, 0, -1, -1], [0, -1, 0, -1]])


@pytest.mark.parametrize(("in_channels", "channels"), [(3, 8), (8, 8), (5, 1), (1, 6)])
def test_rb_gives_the_channels_asked_for_and_nothing_negative(in_channels, channels):
    found = RB(in_channels, channels)(random(2, in_channels, 5, 4))
    assert found.shape == (2, channels, 5, 4)
    assert (found >= 0).all()


def test_rb_without_its_residual_is_the_unified_input_rectified():
    block = RB(3, 8).eval()
    torch.nn.init.zeros_(block.residual[-1].weight)
    maps = random(2, 3, 5, 4)
    assert torch.equal(block(maps), F.relu(block.unify(maps)))


def levels(targets: int, sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, ...]:
    return tuple(random(targets, 3 + i, *size, seed=i) for i, size in enumerate(sizes))


necks = st.sampled_from([FPN, FAFPN, lambda *shape: FAFPN(*shape, align=False)])


@settings(max_examples=20, deadline=None)
@given(
    build=necks,
    targets=st.integers(0, 3),
    sizes=st.lists(st.tuples(st.integers(2, 6), st.integers(2, 5)), min_size=1, max_size=4),
)
def test_any_number_of_levels_of_any_size_gives_two_maps_of_the_finest_size(build, targets, sizes):
    neck = build(tuple(range(3, 3 + len(sizes))), 8, 6)
    mask, reid = neck(levels(targets, sizes))
    assert mask.shape == (targets, 6, *sizes[0])
    assert reid.shape == (targets, 8, *sizes[0])


@pytest.mark.parametrize("align", [True, False])
def test_alignment_changes_nothing_at_initialisation(align):
    torch.manual_seed(0)
    plain = FAFPN((3, 4), 8, 6, align=False).eval()
    neck = FAFPN((3, 4), 8, 6, align=align).eval()
    neck.load_state_dict(plain.state_dict(), strict=False)
    maps = levels(2, [(8, 4), (4, 2)])
    for found, expected in zip(neck(maps), plain(maps), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_fpn_is_a_sum_of_pointwise_convolutions():
    neck = FPN((3, 4, 5), 8, 6)
    fine, middle, coarse = levels(2, [(8, 4), (4, 2), (2, 1)])
    a, b, c = (lateral(level) for lateral, level in zip(neck.laterals, (fine, middle, coarse), strict=True))
    joined = a + enlarge(b + enlarge(c, b), a)
    for found, expected in zip(neck((fine, middle, coarse)), (neck.mask(joined), neck.reid(joined)), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_without_mask_channels_no_weight_lies_unused():
    neck = FAFPN((3, 4), 8, 0)
    mask, reid = neck(levels(2, [(8, 4), (4, 2)]))
    assert mask.shape == (2, 0, 8, 4)
    reid.sum().backward()
    assert all(weight.grad is not None for weight in neck.parameters())


def test_no_target_leaves_batch_statistics_finite():
    neck = FAFPN((3, 4), 8, 6)
    neck(levels(0, [(8, 4), (4, 2)]))
    assert all(buffer.isfinite().all() for buffer in neck.buffers())


def test_a_missing_level_is_refused():
    with pytest.raises(ValueError, match="zip"):
        FPN((3, 4), 8, 6)(levels(2, [(8, 4)]))


def test_f_reid_has_both_signs_unless_it_is_rectified():
    torch.manual_seed(0)
    levels = (torch.rand(2, 3, 8, 4), torch.rand(2, 4, 4, 2))
    _, linear = FAFPN((3, 4), 8, 6)(levels)
    _, rectified = FAFPN((3, 4), 8, 6, rectify=True)(levels)
    assert linear.min() < 0
    assert rectified.min() == 0
