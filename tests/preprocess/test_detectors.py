"""Other face detectors: their raw outputs are planted in ONNX files, and come out as the faces that were meant."""

import dataclasses
import hashlib

import numpy as np
import pytest

from dfd.core.errors import DfdError
from dfd.preprocess.crop import CropOptions, crop_image
from dfd.preprocess.detectors import detector_for
from dfd.preprocess.onnx_faces import ONNX, cells
from tests.conftest import draw_head

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BOX = np.array([100.0, 60.0, 180.0, 164.0])  # of 320 x 256 pixels
POINTS = np.array([[122, 98], [158, 98], [140, 120], [126, 140], [154, 140]], float)
SIZES = ((16, 32), (64, 128), (256, 512))


def nearest(height, width, stride):
    """The cell in which the face's middle lies."""
    places = cells(height, width, stride) * stride + stride / 2
    return int(np.abs(places - (BOX[:2] + BOX[2:]) / 2).sum(1).argmin())


def yunet(height, width, faces):
    found = {}
    for stride in (8, 16, 32):
        grid = cells(height, width, stride)
        tables = {"cls": np.zeros((len(grid), 1)), "obj": np.zeros((len(grid), 1)),
                  "bbox": np.zeros((len(grid), 4)), "kps": np.zeros((len(grid), 10))}  # fmt: skip
        for level, confidence, shift in faces:
            if level != stride:
                continue
            box, points, cell = BOX + shift, POINTS + shift, nearest(height, width, stride)
            middle = (box[:2] + box[2:]) / 2 / stride - grid[cell]
            tables["cls"][cell], tables["obj"][cell] = confidence, confidence
            tables["bbox"][cell] = [*middle, *np.log((box[2:] - box[:2]) / stride)]
            tables["kps"][cell] = (points / stride - grid[cell]).ravel()
        found |= {f"{name}_{stride}": table[None] for name, table in tables.items()}
    return dict(sorted(found.items()))


def scrfd(height, width, faces):
    scores, boxes, marks = [], [], []
    for stride in (8, 16, 32):
        grid = np.repeat(cells(height, width, stride), 2, 0) * stride
        score, reach, points = np.zeros((len(grid), 1)), np.zeros((len(grid), 4)), np.zeros((len(grid), 10))
        for level, confidence, shift in faces:
            if level != stride:
                continue
            box, cell = BOX + shift, 2 * nearest(height, width, stride) + 1  # the second of two anchors
            score[cell] = confidence
            reach[cell] = np.concatenate([grid[cell] - box[:2], box[2:] - grid[cell]]) / stride
            points[cell] = ((POINTS + shift - grid[cell]) / stride).ravel()
        scores.append(score)
        boxes.append(reach)
        marks.append(points)
    return {str(number): table for number, table in enumerate([*scores, *boxes, *marks])}


def retinaface(height, width, faces, softmax=True):
    box_of, classes, points_of = [], [], []
    for stride, sizes in zip((8, 16, 32), SIZES, strict=True):
        grid = np.repeat(cells(height, width, stride) + 0.5, 2, 0) * stride
        box, chance, points = np.zeros((len(grid), 4)), np.zeros((len(grid), 1)), np.zeros((len(grid), 10))
        for level, confidence, shift in faces:
            if level != stride:
                continue
            cell, moved = 2 * nearest(height, width, stride), BOX + shift
            middle, sides = (moved[:2] + moved[2:]) / 2, moved[2:] - moved[:2]
            chance[cell] = confidence
            box[cell] = [*((middle - grid[cell]) / 0.1 / sizes[0]), *(np.log(sides / sizes[0]) / 0.2)]
            points[cell] = ((POINTS + shift - grid[cell]) / 0.1 / sizes[0]).ravel()
        box_of.append(box)
        classes.append(np.concatenate([1 - chance, chance], 1))
        points_of.append(points)
    told = np.concatenate(classes)
    told = told if softmax else np.log(told.clip(1e-6, None)) + 3
    return {"loc": np.concatenate(box_of)[None], "conf": told[None], "landm": np.concatenate(points_of)[None]}


def write(path, outputs, size=("h", "w")):
    """Write a graph that answers so, whatever it is shown."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(table.astype(np.float32), name))
        for name, table in outputs.items()
    ]
    given = helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [1, 3, *size])
    taken = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, list(t.shape)) for n, t in outputs.items()]
    graph = helper.make_graph(nodes, "faces", [given], taken)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


FACES = [(16, 0.95, 0.0), (8, 0.8, 2.0), (32, 0.3, 40.0)]  # a face, the same once more, and nothing to be sure of
KINDS = {"yunet": yunet, "scrfd": scrfd, "retinaface": retinaface}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fixed", [False, True])
def test_faces_come_out_as_they_were_meant(kind, fixed, tmp_path):
    """A free input is filled up to a multiple of 32; a fixed one of twice the size makes the picture grow."""
    picture = np.zeros((250, 320, 3), np.uint8)
    path = write(tmp_path / "d.onnx", KINDS[kind](256, 320, FACES), (256, 320) if fixed else ("h", "w"))
    (faces,) = ONNX[kind](path).detect([picture])
    np.testing.assert_allclose(faces.boxes, BOX[None], atol=1e-3)
    np.testing.assert_allclose(faces.landmarks, POINTS[None], atol=1e-3)
    assert faces.confidences == pytest.approx([0.95])
    (faces,) = ONNX[kind](path).detect([np.zeros((500, 640, 3), np.uint8)]) if fixed else [faces.scaled(2)]
    np.testing.assert_allclose(faces.boxes, 2 * BOX[None], atol=2e-3)


def test_a_retinaface_without_its_softmax(tmp_path):
    path = write(tmp_path / "d.onnx", retinaface(256, 320, FACES, softmax=False))
    (faces,) = ONNX["retinaface"](path).detect([np.zeros((256, 320, 3), np.uint8)])
    assert faces.confidences == pytest.approx([0.95])


def test_a_large_picture_is_looked_at_small(tmp_path):
    path = write(tmp_path / "d.onnx", yunet(512, 640, FACES))
    (faces,) = ONNX["yunet"](path).detect([np.zeros((1024, 1280, 3), np.uint8)])
    np.testing.assert_allclose(faces.boxes, 2 * BOX[None], atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_found_and_a_graph_of_another_kind(kind, tmp_path):
    path = write(tmp_path / "d.onnx", KINDS[kind](256, 320, []))
    assert len(ONNX[kind](path).detect([np.zeros((256, 320, 3), np.uint8)])[0].boxes) == 0
    other = write(tmp_path / "other.onnx", {"logits": np.zeros((1, 2))})
    with pytest.raises(DfdError, match=r"other\.onnx answers otherwise than"):
        ONNX[kind](other).detect([np.zeros((256, 320, 3), np.uint8)])
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(DfdError, match=r"text\.onnx cannot be read as an ONNX graph"):
        ONNX[kind](tmp_path / "text.onnx")


def test_crops_know_the_file_that_found_the_faces(tmp_path):
    path = write(tmp_path / "d.onnx", yunet(256, 320, FACES))
    options = CropOptions(detector="yunet", detector_weights=str(path))
    assert options.detector_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    moved = path.rename(tmp_path / "elsewhere.onnx")
    assert CropOptions(detector="yunet", detector_weights=str(moved)).hash == options.hash
    assert options.hash != CropOptions().hash
    assert options.looks_hash != CropOptions().looks_hash
    assert CropOptions().hash == "bb6eb228"  # crops of before this was a choice are found again
    assert CropOptions().looks_hash == "3c48675c"
    crops = crop_image(draw_head(), CropOptions(detector="yunet", detector_weights=str(moved)), detector_for(
        "yunet", str(moved), None))  # fmt: skip
    assert crops.table["confidence"][0] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"detector": "yunett"}, r"crops\.detector=yunett \(did you mean 'yunet'\?\): take one of mtcnn"),
        ({"detector": "scrfd"}, r"crops\.detector=scrfd needs its ONNX file: crops\.detector_weights="),
        ({"detector": "yunet", "detector_weights": "/nowhere/d.onnx"}, "/nowhere/d.onnx: no such file"),
        ({"detector_weights": "/nowhere/d.onnx"}, "mtcnn brings its own weights"),
        ({"detector": ["mtcnn"]}, r"crops\.detector=\['mtcnn'\]"),  # from a checkpoint that was tampered with
        ({"detector": "yunet", "detector_weights": 7}, "anything but text"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    with pytest.raises(DfdError, match=words):
        CropOptions(**options)


def test_on_another_machine_the_file_is_named_by_the_environment(tmp_path, monkeypatch):
    path = write(tmp_path / "d.onnx", yunet(256, 320, FACES))
    told = dataclasses.asdict(CropOptions(detector="yunet", detector_weights=str(path)))  # as a checkpoint tells it
    moved = path.rename(tmp_path / "elsewhere.onnx")
    options = CropOptions(**told)
    with pytest.raises(DfdError, match="set DFD_DETECTOR_WEIGHTS=/path"):
        options.look_for_weights()
    monkeypatch.setenv("DFD_DETECTOR_WEIGHTS", str(moved))
    options.look_for_weights()
    assert len(options.face_detector().detect([draw_head()])[0].boxes) == 1
    other = write(tmp_path / "other.onnx", yunet(256, 320, []))
    monkeypatch.setenv("DFD_DETECTOR_WEIGHTS", str(other))
    with pytest.raises(DfdError, match="is another yunet"):
        options.look_for_weights()


def test_the_mtcnn_of_facenet_pytorch_finds_the_same_face():
    pytest.importorskip("facenet_pytorch")
    head = draw_head()
    ours, theirs = (CropOptions(detector=kind).face_detector().detect([head])[0] for kind in ("mtcnn", "facenet"))
    np.testing.assert_allclose(theirs.boxes[0], ours.boxes[0], atol=8)
    np.testing.assert_allclose(theirs.landmarks[0], ours.landmarks[0], atol=8)
