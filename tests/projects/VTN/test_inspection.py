"""The class token's attention against a separate computation, and VTN's page."""

import pytest
import torch
from d2video.projects.vtn.inspection import class_attention, run_video

from d2video.utils.errors import UserError
from tests.helpers.looks import inspected, look_at, random_frames
from tests.projects.VTN.tiny import build


@torch.no_grad()
def test_attention_of_the_class_token_is_an_explicit_softmax():
    """Of frames 2 and 3, which have one number, the second is not seen."""
    model = build()
    torch.manual_seed(1)
    features = torch.randn(1, 6, model.frame_encoder.width)
    index = torch.tensor([[0, 2, 4, 4, 6, 8]])
    encoder = model.temporal_encoder
    attention = class_attention(model, features, index)
    assert attention.shape == (2, 4, 7)
    padding = torch.tensor([[False, False, False, False, True, False, False]])
    x = encoder.embeddings(encoder.cls_token, model.projection(features), index, padding[:, 1:])
    for layer, found in zip(encoder.layers, attention, strict=True):
        own = layer.attention
        q = own.query_global(x[0, :1]).unflatten(-1, (4, -1))
        k = own.key_global(x[0]).unflatten(-1, (4, -1))
        scores = torch.einsum("qhc,khc->hk", q, k) / q.shape[-1] ** 0.5
        expected = scores.masked_fill(padding, -torch.inf).softmax(-1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        x = layer(x, padding)


def test_the_frames_and_scores_are_those_of_the_stream():
    """Seven frames of which four features are kept at most: the stride doubles to 2."""
    model = build("resnet", "MODEL.VTN.STREAM_MAX_FRAMES", 4)
    frames = [torch.from_numpy(frame).permute(2, 0, 1) for frame in random_frames(7, 32, 40)]
    run = run_video(model, frames)
    *_, last = model.stream_video(iter(frames), (32, 40))
    assert torch.equal(run.scores, last["class_scores"])
    assert run.frame_index.tolist() == [0, 2, 4, 6]
    torch.testing.assert_close(run.attention.sum(-1), torch.ones(2, 4))
    assert run.attention.shape[-1] == 5


def test_a_page(tmp_path):
    look = look_at(build(), random_frames(9, 32, 40), tmp_path, first=2, layer=0)
    sections = inspected(look)
    assert [*sections] == [
        "Classes",
        "The frames that count most",
        "Attention of the class token",
    ]
    (table,) = sections["Classes"].tables
    assert sum(row[1] for row in table.rows) == pytest.approx(100)  # all five classes
    (chart,) = sections["Attention of the class token"].charts
    assert [x for x, _ in chart.series["layer 1"]] == [2, 3, 4, 5, 6, 7, 8]
    (by_layer,) = sections["Attention of the class token"].tables
    for row, points in zip(by_layer.rows, chart.series.values(), strict=True):
        assert (row[2], row[3]) == max(points, key=lambda point: point[1])
        assert row[1] + sum(y for _, y in points) == pytest.approx(100)


def test_a_layer_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match="layer 2 does not exist: the encoder has 0 to 1"):
        inspected(look_at(build(), random_frames(2, 32, 32), tmp_path, layer=2))
