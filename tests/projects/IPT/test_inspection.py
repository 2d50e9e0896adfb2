"""Similarity of patches and the task queries against separate computations, and IPT's page."""

import pytest
import torch
import torch.nn.functional as F
from d2video.projects.ipt import inspection
from d2video.projects.ipt.contrastive import contrastive_loss
from d2video.projects.ipt.inspection import patch_features, query_changes

from d2video.utils.errors import UserError
from tests.helpers.looks import inspected, look_at, random_frames
from tests.projects.IPT.tiny import build


def random_image(height, width):
    return 255 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_similarities_are_cosines_of_the_features_of_the_loss():
    network, image = build().network, random_image(12, 21)
    found = patch_features(network, image, 1)
    assert (found.rows, found.columns) == ([0], [0, 9])  # as patches overlap by 3 pixels
    patches = torch.stack([image[:, :, :12], image[:, :, 9:]])
    _, features = network(patches, 1)
    every = features.flatten(0, 1)
    cosines = F.cosine_similarity(every[:, None], every, dim=-1).view(2, 16, 2, 16)
    close = {"rtol": 0, "atol": 1e-5}  # sums of 36 products in float32
    torch.testing.assert_close(found.of_tokens(1), cosines[1, :, 1], **close)
    torch.testing.assert_close(found.of_patches(), cosines.mean((1, 3)), **close)
    # Equation 6 of the paper for two images.
    d = cosines.double()
    loss = sum(d[j, :, 1 - j].exp().log().mean() - d[j, :, j].mean() for j in (0, 1)) / 2
    torch.testing.assert_close(contrastive_loss(features).double(), loss, **close)

    # Pixel 14, 7 is in row 2 and column 1 of the second patch's tokens.
    assert found.place(14.5, 7.2) == (1, 2 * 4 + 1)
    over = found.over_image(1, 9)
    maps = cosines[1, 9].view(2, 4, 4).repeat_interleave(3, 1).repeat_interleave(3, 2)
    assert over.shape == (12, 21)
    torch.testing.assert_close(over[:, :9], maps[0, :, :9], **close)
    torch.testing.assert_close(over[:, 12:], maps[1, :, 3:], **close)
    shared = torch.stack([maps[0, :, 9:], maps[1, :, :3]]).sort(0).values
    assert ((shared[0] - 1e-5 <= over[:, 9:12]) & (over[:, 9:12] <= shared[1] + 1e-5)).all()


@torch.no_grad()
def test_only_the_query_changes():
    """Against a network whose query has been replaced by the other task's."""
    network, patch = build().network, random_image(12, 12)
    changes = query_changes(network, patch, 1)
    assert [*changes] == ["derain", "sr_x2", "denoise_30"]
    own, features = network(patch[None], 1)
    assert torch.equal(changes["derain"].restored, own[0])
    assert changes["derain"].change == 0
    assert changes["sr_x2"].other is None  # another scale
    torch.testing.assert_close(changes["denoise_30"].other, network(patch[None], 2)[0][0])
    for name in ("sr_x2", "denoise_30"):
        kept = network.body.queries["derain"].clone()
        network.body.queries["derain"].copy_(network.body.queries[name])
        restored, changed = network(patch[None], 1)
        network.body.queries["derain"].copy_(kept)
        torch.testing.assert_close(changes[name].restored, restored[0])
        norm = (changed - features).square().sum().sqrt() / features.square().sum().sqrt()
        assert changes[name].change == pytest.approx(float(norm), rel=1e-4)
        assert changes[name].change > 0.01


def test_a_page(tmp_path):
    look = look_at(build("MODEL.IPT.TASK", "derain"), random_frames(1, 20, 24), tmp_path)
    sections = inspected(look)
    assert [*sections] == ["Similarity of patches", "What the task query changes"]
    assert {f"similarity_{i}" for i in range(3)} | {"patches"} < {*look.pictures}
    (table,) = sections["What the task query changes"].tables
    assert [row[1] for row in table.rows] == ["sr_x2", "denoise_30"] * (len(table.rows) // 2)
    assert {row[4] for row in table.rows[::2]} == {None}  # x2 makes another size
    assert all(row[4] > 0 for row in table.rows[1::2])


def test_a_page_of_one_task_and_one_patch(tmp_path):
    model = build("MODEL.IPT.TASKS", ["derain"])
    look = look_at(model, random_frames(1, 10, 12), tmp_path, points=[(11, 9)])
    sections = inspected(look)
    assert {*look.pictures} == {"similarity_0", "tokens_patch0"}
    assert "one task" in sections["What the task query changes"].notes[0]


def test_a_mistake_is_one_line(tmp_path, monkeypatch):
    frames = random_frames(1, 20, 24)
    with pytest.raises(UserError, match=r"names no task: set MODEL\.IPT\.TASK"):
        inspected(look_at(build(), frames, tmp_path))
    model = build("MODEL.IPT.TASK", "derain")
    with pytest.raises(UserError, match="point 24,3 is outside the frame"):
        inspected(look_at(model, frames, tmp_path, points=[(24, 3)]))
    monkeypatch.setattr(inspection, "_MOST_PATCHES", 5)
    with pytest.raises(UserError, match="24x20 pixels has 6 patches of 12: cut out a part"):
        inspected(look_at(model, frames, tmp_path))
