"""The MFR challenge's format check: each rule, and the verdict of upstream's own check."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from insightface_cakd.errors import ExportError
from insightface_cakd.export.mfr import MfrVerdict, check_mfr

# How upstream's sentences begin, by our names of the rules.
UPSTREAM = {
    "None": None,
    "max time cost": None,
    "load onnx failed": "loads",
    "length of input_shape": "input rank",
    "number of output": "one output",
    "too small onnx": "nodes",
    "input-size": "input size",
    "invalid weight": "weights",
    "batch result": "finite",
    "raised": "batch",
    "the shape of the feature": "embedding rank",
    "max feat dim": "embedding width",
    "crop.txt": "crop.txt",
    "pixel_norm.txt": "pixel_norm.txt",
}


def recogniser(
    path, batch="batch", shape=(3, 112, 112), width=8, nodes=8, outputs=1, weight=np.float32, reshape=0, nan=0
):
    """Write a recogniser of channel means times a matrix, behind as many nodes as asked."""
    steps = [helper.make_node("Identity", [f"x{i}" if i else "data"], [f"x{i + 1}"]) for i in range(nodes - 3)]
    mean = [helper.make_node("ReduceMean", [f"x{nodes - 3}"], ["means"], axes=[2, 3], keepdims=0)]
    last = [
        helper.make_node("Cast", ["matrix"], ["wide"], to=1),
        helper.make_node("MatMul", ["means", "wide"], ["out"]),
    ]
    matrix = np.full((3, width), np.nan if nan else 1, weight)
    initial = [numpy_helper.from_array(matrix, "matrix")]
    names = ["out", *(f"more{i}" for i in range(1, outputs))]
    more = [helper.make_node("Identity", ["out"], [name]) for name in names[1:]]
    if reshape:
        initial.append(numpy_helper.from_array(np.array([1, -1] if reshape == 2 else [-1], np.int64), "shape"))
        more.append(helper.make_node("Reshape", ["out", "shape"], ["rows"]))
        names = ["rows"]
    if reshape == 2:
        initial.append(numpy_helper.from_array(np.ones((width, 4), np.float32), "square"))
        more.append(helper.make_node("MatMul", ["rows", "square"], ["last"]))
        names = ["last"]
    graph = helper.make_graph(
        [*steps, *mean, *last, *more],
        "means",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        initial,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


CASES = {
    "fine": ({}, None),
    "fixed batch that runs free": ({"batch": 1}, None),
    "one of many batches": ({"reshape": 2}, "batch"),
    "two outputs": ({"outputs": 2}, "one output"),
    "few nodes": ({"nodes": 7}, "nodes"),
    "other size": ({"shape": (3, 128, 128)}, "input size"),
    "half weights": ({"weight": np.float16}, "weights"),
    "not finite": ({"nan": 1}, "finite"),
    "flat": ({"reshape": 1}, "embedding rank"),
    "wide": ({"width": 600}, "embedding width"),
}


@pytest.mark.parametrize(("changes", "rule"), CASES.values(), ids=CASES)
def test_every_rule(tmp_path, changes, rule):
    recogniser(tmp_path / "model.onnx", **changes)
    before = sorted(tmp_path.iterdir())
    assert check_mfr(tmp_path).rule == rule
    assert sorted(tmp_path.iterdir()) == before


def test_a_truncated_file(tmp_path):
    path = recogniser(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:200])
    assert check_mfr(path).rule == "loads"


@pytest.mark.parametrize(("track", "rule"), [("ms1m", "embedding width"), ("glint", None), ("unconstrained", None)])
def test_tracks_differ_in_the_width(tmp_path, track, rule):
    assert check_mfr(recogniser(tmp_path / "model.onnx", width=600), track).rule == rule


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("crop.txt", "0\n0\n112\n112\n112\n112\n", None),
        ("crop.txt", "0\n0\n112\n112\n128\n128\n", "input size"),
        ("crop.txt", "0\n0\n", "crop.txt"),
        ("pixel_norm.txt", "127.5\n128\n", None),
        ("pixel_norm.txt", "127.5\n", "pixel_norm.txt"),
    ],
)
def test_files_beside_the_model_count_on_cfat(tmp_path, name, text, rule):
    recogniser(tmp_path / "model.onnx")
    (tmp_path / name).write_text(text)
    assert check_mfr(tmp_path, "cfat").rule == rule
    assert check_mfr(tmp_path, "ms1m").rule is None


def test_the_last_file_of_a_folder_counts(tmp_path):
    recogniser(tmp_path / "a.onnx")
    recogniser(tmp_path / "b.onnx", outputs=2)
    assert check_mfr(tmp_path).summary().startswith(f"{tmp_path / 'b.onnx'}: fails the rule 'one output': 2 outputs")


def test_time_on_a_cpu_is_no_reason_to_fail(tmp_path):
    assert (
        MfrVerdict(tmp_path, None, "", 40.0, 15.0)
        .summary()
        .endswith("40.0 ms for a face here, the track allows 15 on its GPU: measure it there")
    )
    assert MfrVerdict(tmp_path, None, "", 4.0, 15.0).summary().endswith("passes; 4.0 ms for a face here")


def test_bad_questions(tmp_path):
    with pytest.raises(ExportError, match="holds no .onnx; expected a model"):
        check_mfr(tmp_path)
    with pytest.raises(ExportError, match="none.onnx: does not exist"):
        check_mfr(tmp_path / "none.onnx")
    with pytest.raises(ExportError, match="--track cfta: expected one of ms1m, .* Did you mean 'cfat'"):
        check_mfr(tmp_path, "cfta")


ASK = """
import sys
from onnx_helper import ArcFaceORT
for folder in sys.argv[1:]:
    try:
        said = ArcFaceORT(folder, cpu=True).check("cfat")
    except Exception:
        said = "raised"
    print("VERDICT", said)
"""


@pytest.mark.upstream
def test_upstream_s_own_check_says_the_same(arcface_torch, tmp_path):
    folders = []
    for number, (changes, _) in enumerate(CASES.values()):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        recogniser(folders[-1] / "model.onnx", **changes)
    own = [check_mfr(folder).rule for folder in folders]
    run = subprocess.run(
        [sys.executable, "-c", ASK, *map(str, folders)], cwd=arcface_torch, capture_output=True, text=True, check=True
    )
    said = [line.removeprefix("VERDICT ") for line in run.stdout.splitlines() if line.startswith("VERDICT ")]
    theirs = [next(rule for start, rule in UPSTREAM.items() if text.startswith(start)) for text in said]
    assert dict(zip(CASES, theirs, strict=True)) == dict(zip(CASES, own, strict=True))
