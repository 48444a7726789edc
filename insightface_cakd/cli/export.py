"""`cakd export`, `cakd export-pack` and `cakd export-runtime`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from insightface_cakd.cli.options import NAME, STUDENT, Detector, Network, Output, Sets, Threads
from insightface_cakd.errors import ExportError


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("export")(_export)
    app.command("export-pack")(_pack)
    app.command("export-runtime")(_runtime)


def _export(
    run: Annotated[
        Path, typer.Argument(help="Output folder of a `cakd train`, .pt weights with --network, or a float32 .onnx.")
    ],
    out: Annotated[Path | None, typer.Argument(help="The .onnx to write.")] = None,
    network: Network = None,
    exporter: Annotated[
        Literal["legacy", "dynamo"],
        typer.Option(help="legacy: opset 13, for old consumers; dynamo: opset 18, optimised."),
    ] = "legacy",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="fp16: half the size; int8: a quarter of it, and faster on a CPU."),
    ] = "fp32",
    calibrate: Annotated[
        Path | None, typer.Option(help="Aligned faces for int8: folder with train.rec, folder of people, or .bin.")
    ] = None,
    sets: Sets = None,
    fast_prelu: Annotated[
        bool, typer.Option(help="PReLU as product and maximum: equal, faster on onnxruntime's CPU; int8 always.")
    ] = False,
    threads: Threads = 1,
    landmarks: Annotated[
        bool, typer.Option("--finds-landmarks", help="The weights find landmarks; a run of that task says so itself.")
    ] = False,
    width: Annotated[
        int | None, typer.Option(help="Take the first so many numbers of the embedding alone; see recipe nested.")
    ] = None,
    check: Annotated[str | None, typer.Option(hidden=True, help="Gone.")] = None,
) -> None:
    """Export a student to ONNX for InsightFace, and check it.

    The check runs it with onnxruntime at batch sizes 1, 2 and 32, and loads it with insightface.model_zoo. A run of `task: landmarks`
    becomes a landmark model of 192 x 192 raw pixels.

    Example: `cakd export work_dirs/student student.onnx`. A pack for FaceAnalysis: `cakd export-pack --help`.
    """
    if check is not None:
        raise ExportError(
            f"export {run} --check {check}: there is no --check any more; expected a second path to write. arcface_torch's own script "
            "applies the rules of the MFR challenge: cakd host run onnx_helper.py -- FOLDER --track cfat."
        )
    if out is None:
        raise ExportError(f"export {run}: where to write is not said; expected a second path, such as student.onnx.")
    from insightface_cakd.api.exporting import export

    print(
        export(
            run,
            out,
            network=network,
            precision=precision,
            exporter=exporter,
            calibrate=calibrate,
            sets=sets or (),
            fast_prelu=fast_prelu,
            threads=threads,
            width=width,
            landmarks=landmarks,
        )
    )


def _pack(
    student: Annotated[Path, STUDENT],
    detector: Detector,
    output: Output,
    name: Annotated[str, NAME],
    photos: Annotated[
        Path | None, typer.Option(help="Photos with faces; each embedding must be that of our own pipeline.")
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="A landmark model, as `cakd export` writes it; the pack then has no manifest.")
    ] = None,
) -> None:
    """Make a model pack of a student and a detector.

    The pack is put in place only after insightface.app.FaceAnalysis has loaded it. FaceAnalysis(name="my_pack", root="packs") finds it in
    packs/models/my_pack.

    Example: `cakd export-pack --student student.onnx --detector scrfd.onnx --output packs/models/my_pack --name my_pack`
    """
    from insightface_cakd.export.pack import make_pack

    print(make_pack(student, detector, output, name, photos, landmarks).summary())


def _runtime(
    runtime: Annotated[
        Literal["ncnn", "openvino"],
        typer.Argument(help="Needs the extra of its name: pip install 'insightface-cakd[ncnn]'."),
    ],
    student: Annotated[Path, typer.Argument(help="The recogniser, as `cakd export` wrote it.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    sets: Sets = None,
    threads: Threads = 1,
) -> None:
    """Convert a student to the files of another runtime.

    They are put in place only after a comparison with onnxruntime.

    Example: `cakd export-runtime ncnn student.onnx student_ncnn --sets lfw.bin`
    """
    from insightface_cakd.export.runtimes.make import RUNTIMES, export_runtime

    print(export_runtime(student, RUNTIMES[runtime], out, sets or (), threads).summary())
