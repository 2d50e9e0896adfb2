"""Every row of the table loads by its address, as the authors' file: the same names, far smaller tensors,
from a server that stands in for the official addresses. One detector has the official size.
"""

import io
import zipfile

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from d2video import model_zoo
from d2video.checkpoint import VideoCheckpointer, checkpoint_format, to_foreign
from d2video.config import load_cfg
from d2video.fetching import fetch, place, web_page
from d2video.model_zoo import ENTRIES, Entry, zoo
from d2video.projects import register_all
from d2video.structures import class_names_of
from d2video.utils.errors import UserError
from tests.helpers import hugging_face
from tests.helpers.file_server import FileServer, Reply
from tests.helpers.fresh_process import run_fresh
from tests.projects.IPT.tiny import NODE as IPT
from tests.projects.VTN.tiny import NODE as VTN
from tests.projects.VTN.tiny import VIT

register_all()
ROWS = {entry.config: entry for entry in ENTRIES if entry.config}
RESNET = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 4),
]


def transformer(node: str, width: int) -> list[object]:
    node = f"MODEL.{node}."
    return [
        *(f"{node}HIDDEN_DIM", width, f"{node}NUM_HEADS", 4, f"{node}DIM_FEEDFORWARD", 16),
        *(f"{node}ENC_LAYERS", 1, f"{node}DEC_LAYERS", 2),
    ]


# What makes the network of a config small, by the config's folder. Classes stay.
SMALL = {
    "DETR": [*RESNET, *transformer("DETR", 32)],
    "DeformableDETR": [*RESNET, *transformer("DETR", 32)],
    "VisTR": [*RESNET, *transformer("VISTR", 24)],
    "TrackFormer": [*RESNET, *transformer("TRACKFORMER", 96), "MODEL.TRACKFORMER.NUM_QUERIES", 7],
    "IPT": [
        *(f"{IPT}NUM_FEATURES", 4, f"{IPT}PATCH_SIZE", 12),
        *(f"{IPT}NUM_LAYERS", 1, f"{IPT}NUM_HEADS", 2),
    ],
    "VTN": [
        *(*VIT, f"{VTN}HIDDEN_DIM", 32, f"{VTN}NUM_LAYERS", 1, f"{VTN}NUM_HEADS", 4),
        *(f"{VTN}DIM_FEEDFORWARD", 48, f"{VTN}WINDOW", 4, f"{VTN}MLP_DIM", 24),
    ],
}


def built(entry: Entry, seed: int = 0, *opts: object) -> nn.Module:
    """The row's network with random parameters, small."""
    small = SMALL[entry.config.split("/")[0]]
    cfg = load_cfg(entry.config, [*entry.opts, "MODEL.DEVICE", "cpu", *small, *opts])
    torch.manual_seed(seed)
    model = build_model(cfg)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.randn(value.shape), alpha=0.1)
    return model


def official_file(entry: Entry, model: nn.Module) -> bytes:
    """What the authors would have saved of it."""
    state = model.state_dict()
    fmt = checkpoint_format(type(model).__name__, entry.format)
    foreign = to_foreign(state, state, fmt)
    buffer = io.BytesIO()
    torch.save({fmt.file_key: foreign} if fmt.file_key else foreign, buffer)
    return buffer.getvalue()


def publish(entry: Entry, content: bytes, server: FileServer) -> None:
    """Put the file where the row says it is."""
    address = entry.addresses[0]
    if entry.is_by_hand:
        place(address).parent.mkdir(parents=True)
        place(address).write_bytes(content)
        return
    if ".zip!/" in address:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(address.partition("!/")[2], content)
        content = buffer.getvalue()
    url = web_page(address)
    if address.startswith("gdrive://"):
        url = f"https://drive.google.com/uc?id={address.split('/')[2]}"
    server.replies[f"/{url.removeprefix('https://')}"] = Reply(
        content, Content_Type="application/x"
    )


@pytest.fixture
def internet(server, cache, monkeypatch) -> FileServer:
    """The server in place of all official addresses; random weights have no published hash."""
    monkeypatch.setenv("D2VIDEO_MIRROR", server.address)
    monkeypatch.setenv("D2VIDEO_CHECK_SHA256", "0")
    monkeypatch.setenv("HOME", str(cache.parent))
    return server


@pytest.mark.parametrize("config", ROWS)
def test_the_authors_file_loads_by_the_rows_address(
    config, internet, caplog, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # no data there
    entry = ROWS[config]
    theirs, ours = built(entry), built(entry, seed=1)
    publish(entry, official_file(entry, theirs), internet)
    with caplog.at_level("INFO"):
        VideoCheckpointer(ours, strict=True).load(model_zoo.get_checkpoint_url(config))
    assert (class_names_of(ours) or []) == entry.class_names
    assert "class names" not in caplog.text.lower()
    wanted = theirs.state_dict()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, wanted[name]), name


@pytest.mark.parametrize("config", ROWS)
def test_without_network_each_row_is_one_line(config, cache, monkeypatch):
    monkeypatch.setenv("D2VIDEO_MIRROR", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    entry = ROWS[config]
    with pytest.raises(UserError) as error:
        fetch(model_zoo.get_checkpoint_url(config))
    message = str(error.value)
    assert "\n" not in message
    for part in (
        entry.page,
        entry.sha256,
        entry.file_name.split("/")[0] if not is_zip(entry) else "",
    ):
        assert part in message
    archive = entry.addresses[0].partition("!/")[0]
    assert str(place(archive).parent) in message


def is_zip(entry: Entry) -> bool:
    return ".zip!/" in entry.addresses[0]


def test_rows_have_what_a_person_needs():
    for entry in ENTRIES:
        assert entry.page.startswith("https://")
        assert entry.licence
        assert entry.task
        assert entry.config or entry.note
        if "dl.fbaipublicfiles.com" in entry.addresses[0]:
            assert f"-{entry.sha256}.pth" in entry.addresses[0]


@pytest.mark.parametrize("config", ["DETR/detr_R50_500ep"])
def test_a_file_on_the_hub_stands_in_for_a_missing_one(config, internet, monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("HF_ENDPOINT", internet.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    path = hugging_face.saved(hugging_face.hub_model("DetrForObjectDetection"), tmp_path / "hf")
    for name in ("model.safetensors", "config.json"):
        body = (path.parent / name).read_bytes()
        reply = Reply(body, ETag=f'"{len(body)}"', X_Repo_Commit="c" * 40)
        internet.replies[f"/facebook/detr-resnet-50/resolve/main/{name}"] = reply
    model = build_model(hugging_face.small_cfg(config))
    VideoCheckpointer(model, strict=True).load(model_zoo.get_checkpoint_url(config))
    assert "GET /dl.fbaipublicfiles.com/detr/detr-r50-e632da11.pth" in internet.asked


@pytest.mark.slow
def test_get_gives_a_trained_model_of_the_official_size(internet):
    entry = ROWS["DETR/detr_R50_500ep"]
    torch.manual_seed(0)
    theirs = build_model(load_cfg(entry.config, ["MODEL.DEVICE", "cpu"]))
    publish(entry, official_file(entry, theirs), internet)
    model = model_zoo.get(entry.config, trained=True, device="cpu")
    assert torch.equal(
        model.state_dict()["network.query_embed.weight"],
        theirs.state_dict()["network.query_embed.weight"],
    )
    assert model.class_names[:2] == ["person", "bicycle"]
    assert len(model.class_names) == 80
    assert model.training


def test_get_of_a_config_that_names_its_weights(internet, monkeypatch):
    config = "DETR/detr_R50_finetune"
    monkeypatch.setattr(zoo, "load_cfg", lambda name, opts: load_cfg(name, [*opts, *SMALL["DETR"]]))
    entry = ROWS["DETR/detr_R50_500ep"]
    theirs = built(entry)
    publish(entry, official_file(entry, theirs), internet)
    model = model_zoo.get(config, device="cpu")
    ours, wanted = model.state_dict(), theirs.state_dict()
    assert torch.equal(ours["network.query_embed.weight"], wanted["network.query_embed.weight"])
    assert not torch.equal(ours["network.class_embed.bias"], wanted["network.class_embed.bias"])
    assert class_names_of(model) is None


def test_get_of_a_config_without_weights(cache):
    model = model_zoo.get("DETR/detr_tiny_shapes.yaml", device="cpu")
    assert next(model.parameters()).device.type == "cpu"
    for call in (
        model_zoo.get_checkpoint_url,
        lambda name: model_zoo.get_config(name, trained=True),
    ):
        with pytest.raises(UserError, match="no weights are published for this config"):
            call("DETR/detr_tiny_shapes")
    with pytest.raises(UserError, match=r"did you mean DETR/detr_R50_500ep\.yaml"):
        model_zoo.get("DETR/detr_R50_500")


def test_the_calls_of_detectron2():
    for name in ("DETR/detr_R50_500ep", "DETR/detr_R50_500ep.yaml"):
        assert model_zoo.get_config_file(name).endswith("configs/DETR/detr_R50_500ep.yaml")
        assert model_zoo.get_checkpoint_url(name) == ROWS["DETR/detr_R50_500ep"].addresses[0]
        assert model_zoo.get_config(name).MODEL.WEIGHTS == ""
        assert model_zoo.get_config(name, trained=True).MODEL.WEIGHTS.endswith(
            "detr-r50-e632da11.pth"
        )


def test_a_row_brings_its_keys(internet):
    entry = ROWS["VTN/vtn_ViT_B_kinetics400"]
    publish(entry, b"weights", internet)
    cfg = model_zoo.get_config(entry.config, trained=True)
    assert (cfg.MODEL.VTN.POSITION_RULE, cfg.MODEL.VTN.MASK_REPEATS) == ("modulus", False)
    assert str(place(entry.addresses[0])) == cfg.MODEL.WEIGHTS
    assert model_zoo.get_config(entry.config).MODEL.VTN.POSITION_RULE != "modulus"


def test_a_password_in_the_address_of_weights_is_not_logged(internet, caplog):
    entry = ROWS["DETR/detr_R50_500ep"]
    model = built(entry)
    internet.replies["/w/m.pth"] = Reply(official_file(entry, model))
    address = internet.address.replace("//", "//me:secret@") + "/w/m.pth"
    with caplog.at_level("INFO"):
        VideoCheckpointer(model, strict=True).load(address)
        with pytest.raises(UserError) as error:
            VideoCheckpointer(nn.Linear(2, 2), strict=True).load(address)
    assert "m.pth: recognised as" in caplog.text
    assert "secret" not in caplog.text + str(error.value)


def test_the_table_is_whole_wherever_it_is_first_used():
    program = "from d2video import model_zoo; print(len(model_zoo.ENTRIES))"
    process = run_fresh("-c", program, imported=False)
    assert process.stdout.strip() == str(len(ENTRIES)), process.stderr
