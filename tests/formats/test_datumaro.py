"""Datumaro's JSON as CVAT writes it: a round trip, and what is wrong."""

import json

import pytest

from d2video.formats.datumaro import read_datumaro
from d2video.formats.faults import Fault, LeftOut
from d2video.formats.geometry.rle import encode_masks
from tests.helpers.cvat_xml import drawable, outline
from tests.helpers.findings import one_line
from tests.helpers.true_labels import (
    CLASSES,
    HEIGHT,
    WIDTH,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)


def annotation(each, kind):
    attributes = {"occluded": each.occluded, "track_id": each.track, "keyframe": True}
    if each.crowd:
        attributes["is_crowd"] = True
    shape = {"bbox": [float(n) for n in each.box]}
    if kind == "polygon":
        shape = {"points": [float(n) for point in outline(each.mask) for n in point]}
    elif kind == "mask":
        (code,) = encode_masks(each.mask[None])
        shape = {"rle": {"counts": code["counts"].decode(), "size": code["size"]}}
    others = {"id": 0, "group": 0, "z_order": 0, "label_id": CLASSES.index(each.category)}
    return {"type": kind, "attributes": attributes, **others, **shape}


def write(folder, video, kind, path="frame_{:06d}.PNG", **others):
    items = [
        {
            "id": f"frame_{frame:06d}",
            "annotations": [annotation(each, kind) for each in video.in_frame(frame)],
            "attr": {"frame": frame},
            "image": {"path": path.format(frame), "size": [HEIGHT, WIDTH]},
        }
        for frame in range(video.num_frames)
    ]
    names = [{"name": name, "parent": "", "attributes": []} for name in CLASSES]
    value = {"info": {}, "categories": {"label": {"labels": names}}, "items": items, **others}
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "annotations" / "default.json").write_text(json.dumps(value))
    return value


@pytest.mark.parametrize("kind", ["bbox", "polygon", "mask"])
@pytest.mark.parametrize("footage", ["images", "others", "video"])
def test_round_trip(tmp_path, kind, footage):
    """Exact: outlines on pixel edges are the masks."""
    video = true_videos()[1]
    video = drawable(video) if kind == "polygon" else video
    root = tmp_path / video.name
    if footage == "images":
        write(root, video, kind)
        write_images(video, root / "images" / "default", "frame_{:06d}.PNG")
    elif footage == "others":  # whose suffix the file does not say
        write(root, video, kind, path="")
        write_images(video, root / "images" / "default", "frame_{:06d}.jpg")
    else:
        write(root, video, kind, path="")
        write_video(video, root / "clip.mp4")
    found = []
    read = read_datumaro(str(root), found.append)
    assert not any(isinstance(each, Fault) for each in found)
    assert_equal(read, [video], masks=kind != "bbox", occlusion=True)
    assert read.classes == [*CLASSES]


def test_other_types_are_counted(tmp_path):
    video = true_videos()[1]
    value = write(tmp_path, video, "bbox")
    value["items"][0]["annotations"] += [{"type": "label", "label_id": 0}, {"type": "points"}]
    write(tmp_path, video, "bbox", items=value["items"])
    write_images(video, tmp_path / "images" / "default", "frame_{:06d}.PNG")
    found = []
    read_datumaro(str(tmp_path), found.append)
    text = " ".join(str(each) for each in found if isinstance(each, LeftOut))
    assert "1 of type label" in text
    assert "1 of type points" in text


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"categories": []}, "is not in Datumaro's format"),
        ({"categories": {"label": {}}}, "'labels' must be a list"),
        ({"items": [{"id": "a"}]}, "item a: its image, null, has no size"),
        (
            {"items": [{"id": "a", "image": {"size": [9, 9]}, "annotations": 3}]},
            "item a: its annotations are not a list",
        ),
        ({"items": []}, "lists no images"),
    ],
)
def test_faults_are_one_line(tmp_path, changed, part):
    write(tmp_path, true_videos()[1], "bbox", **changed)
    with one_line(part):
        read_datumaro(str(tmp_path))
