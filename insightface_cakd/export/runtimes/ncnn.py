"""Tencent's ncnn, a runtime for phones, with its own converter pnnx."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from insightface_cakd.data.images import FACE_SIZE
from insightface_cakd.export.runtimes.runtime import EmbedOne, Runtime

PARAM, BIN = ".ncnn.param", ".ncnn.bin"
INPUT, OUTPUT = "in0", "out0"


def convert(onnx: Path, folder: Path, stem: str) -> None:
    """Write `stem.ncnn.param` and `stem.ncnn.bin` with float32 weights."""
    import pnnx

    # pnnx writes a dozen files next to its input.
    with tempfile.TemporaryDirectory() as place:
        shutil.copyfile(onnx, Path(place) / "net.onnx")
        command = [pnnx.EXEC_PATH, "net.onnx", f"inputshape=[1,3,{FACE_SIZE},{FACE_SIZE}]", "fp16=0"]
        ran = subprocess.run(command, cwd=place, capture_output=True, text=True, errors="replace", check=False)
        made = [Path(place) / f"net{ending}" for ending in (PARAM, BIN)]
        if ran.returncode or not all(file.is_file() for file in made):
            said = (ran.stderr + ran.stdout).strip().splitlines() or ["nothing"]
            raise RuntimeError(f"pnnx ended with {ran.returncode} and said: {said[-1]}")
        for file, ending in zip(made, (PARAM, BIN), strict=True):
            shutil.copyfile(file, folder / f"{stem}{ending}")


def load(folder: Path, stem: str, threads: int) -> EmbedOne:
    """Load the files, and return a function that embeds one face."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(folder / f"{stem}{PARAM}")) or net.load_model(str(folder / f"{stem}{BIN}")):
        raise RuntimeError("ncnn does not load what pnnx wrote")

    def embed(face: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        image = np.ascontiguousarray(face[0])  # ncnn keeps a pointer to this array
        extractor.input(INPUT, ncnn.Mat(image))
        failed, found = extractor.extract(OUTPUT)
        if failed:
            raise RuntimeError(f"ncnn computes no {OUTPUT} (code {failed})")
        return np.array(found)[None]

    return embed


NCNN = Runtime("ncnn", ("ncnn", "pnnx"), (PARAM, BIN), INPUT, OUTPUT, convert, load)
