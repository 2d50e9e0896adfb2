"""What the mask losses compare."""

import torch

from d2video.modeling.criterion import Matches
from d2video.modeling.matched_masks import matched_target_masks, run_branch


def matches_of(targets: list[int]) -> Matches:
    index = torch.tensor(targets, dtype=torch.int64)
    return Matches(torch.zeros_like(index), torch.zeros_like(index), index, index)


def test_target_masks_lie_in_the_upper_left_corner_of_the_canvas():
    masks = [torch.ones(1, 2, 3).bool(), torch.ones(0, 5, 1).bool(), torch.ones(2, 4, 1).bool()]
    found = matched_target_masks(masks, matches_of([2, 0]), (5, 3))
    assert found.shape == (2, 5, 3)
    assert found[0].nonzero().tolist() == [[y, 0] for y in range(4)]
    assert found[1].nonzero().tolist() == [[y, x] for y in range(2) for x in range(3)]
    assert matched_target_masks(masks, matches_of([]), (5, 3)).shape == (0, 5, 3)


def test_each_frame_of_an_object_is_a_target():
    """Object-major: frame t of object i of T frames is i·T + t."""
    masks = torch.rand(2, 3, 4, 5) > 0.5
    found = matched_target_masks([masks[:1], masks[1:]], matches_of([1, 5]), (4, 5))
    assert torch.equal(found, torch.stack([masks[0, 1], masks[1, 2]]))


def test_a_branch_runs_without_a_match():
    layer = torch.nn.Linear(1, 2)

    def branch(batch, rows):
        return layer((10.0 * batch + rows)[:, None])

    found = run_branch(branch, torch.tensor([1, 0]), torch.tensor([2, 3]))
    torch.testing.assert_close(found, layer(torch.tensor([[12.0], [3.0]])))
    empty = torch.zeros(0, dtype=torch.int64)
    found = run_branch(branch, empty, empty)
    assert found.shape == (0, 2)
    found.sum().backward()
    assert torch.equal(layer.weight.grad, torch.zeros(2, 1))
