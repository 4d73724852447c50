import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.mpmg import MPMG, PMG


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(mpmg: MPMG, maps: torch.Tensor, dim: int) -> torch.Tensor:
    """Section 3.3 word by word: every branch on its own, attention written out."""
    masks = []
    for branch, block in enumerate(maps.split(dim, dim=1)):

        def project(conv: torch.nn.Conv2d, block: torch.Tensor, branch: int = branch) -> torch.Tensor:
            width = conv.out_channels // mpmg.pmg.branches
            rows = slice(branch * width, (branch + 1) * width)
            return F.conv2d(block, conv.weight[rows], conv.bias[rows])

        query, key, value = (project(conv, block).flatten(2) for conv in (mpmg.pmg.query, mpmg.pmg.key, mpmg.pmg.value))
        attention = torch.softmax(query.transpose(1, 2) @ key / query.shape[1] ** 0.5, dim=2)
        attended = (value @ attention.transpose(1, 2)).view_as(block)
        masks.append(torch.sigmoid(project(mpmg.pmg.mask, block + attended)))
    return torch.cat(masks, dim=1)


@settings(max_examples=25, deadline=None)
@given(
    parts=st.integers(1, 16),
    dim=st.sampled_from([1, 2, 3, 8]),
    targets=st.integers(0, 3),
    size=st.tuples(st.integers(1, 6), st.integers(1, 5)),
)
def test_it_equals_separate_branches_with_attention_written_out(parts, dim, targets, size):
    torch.manual_seed(0)
    mpmg = MPMG(parts, dim)
    maps = random(targets, parts * dim, *size)
    found = mpmg(maps)
    assert found.shape == (targets, parts, *size)
    assert torch.allclose(found, reference(mpmg, maps, dim), atol=1e-5)


def test_masks_lie_strictly_between_zero_and_one():
    masks = MPMG(6, 8)(random(4, 48, 16, 8))
    assert ((masks > 0) & (masks < 1)).all()


def test_branches_share_no_parameter():
    mpmg = MPMG(3, 4)
    maps = random(2, 12, 4, 3)
    mpmg(maps)[:, 1].sum().backward()
    for conv in (mpmg.pmg.query, mpmg.pmg.key, mpmg.pmg.value, mpmg.pmg.mask):
        gradient = conv.weight.grad.view(3, -1).abs().sum(dim=1)
        assert gradient[1] > 0
        assert gradient[0] == gradient[2] == 0


def test_a_branch_sees_only_its_own_block_of_channels():
    mpmg = MPMG(3, 4)
    maps, other = random(2, 12, 4, 3), random(2, 12, 4, 3, seed=1)
    other[:, 4:8] = maps[:, 4:8]
    assert torch.allclose(mpmg(other)[:, 1], mpmg(maps)[:, 1], atol=1e-6)


def test_targets_do_not_see_one_another():
    mpmg = MPMG(2, 4)
    maps = random(5, 8, 4, 3)
    assert torch.allclose(mpmg(maps)[2:3], mpmg(maps[2:3]), atol=1e-6)


def test_attention_carries_what_lies_elsewhere_in_the_target():
    pmg = PMG(4)
    maps, other = random(1, 4, 4, 3), random(1, 4, 4, 3)
    other[..., -1, -1] += 1
    assert not torch.equal(pmg(maps)[..., 0, 0], pmg(other)[..., 0, 0])


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 100])
def test_chunks_give_the_same_masks_and_gradients(chunk):
    torch.manual_seed(0)
    whole, parts = MPMG(3, 4), MPMG(3, 4, chunk=chunk)
    parts.load_state_dict(whole.state_dict())
    results = []
    for mpmg in (whole, parts):
        maps = random(8, 12, 4, 3).requires_grad_()
        masks = mpmg(maps)
        masks.square().sum().backward()
        results.append([masks, maps.grad, *(weight.grad for weight in mpmg.parameters())])
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_chunks_attend_to_a_few_targets_at_a_time():
    mpmg = MPMG(2, 4, chunk=3)
    seen = []
    mpmg.pmg.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    with torch.no_grad():
        mpmg(random(8, 8, 4, 3))
    assert seen == [3, 3, 2]
