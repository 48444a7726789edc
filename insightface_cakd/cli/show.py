"""`cakd show urfm` and `cakd show synthetic`."""

from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.cli.options import OUTPUT, Data, Device, Teacher


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(help="Look at what a run's method has learnt.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("urfm")(_urfm)
    group.command("synthetic")(_synthetic)
    app.add_typer(group, name="show")


def _urfm(
    run: Annotated[Path, typer.Argument(help="Output folder of a run whose recipe has `urfm`.")],
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--image", help="An aligned face of 112x112, once or more; faces of the run's data when not given."
        ),
    ] = None,
    output: Annotated[Path | None, OUTPUT] = None,
    teacher: Teacher = None,
    data: Data = None,
    device: Device = None,
) -> None:
    """Draw where each local centre of a run looks on the face.

    For student and teacher, before and after training; of several pairs of layers, for the first.
    The picture is a .png, .pdf or .svg, by default RUN/urfm.png.
    --teacher and --data name the present places of the run's teacher and data.

    Example: `cakd show urfm student --image face.jpg --output fields.pdf`
    """
    from insightface_cakd.runtime.devices import choose_device
    from insightface_cakd.show.picture import require_format, save_picture
    from insightface_cakd.show.run import look, open_run, show_fields

    path = output or run / "urfm.png"
    require_format(path)
    opened = open_run(run, choose_device(device), teacher)
    seen = look(opened, images or (), data)
    save_picture(show_fields(opened, seen), path)
    print("\n".join(seen.caption))
    print(f"picture: {path}")


def _synthetic(
    run: Annotated[Path, typer.Argument(help="Output folder of a run whose recipe has `task: synthetic`.")],
    output: Annotated[Path | None, OUTPUT] = None,
    teacher: Teacher = None,
    device: Device = None,
) -> None:
    """Draw the faces that a run's student finds hard and easy.

    Fresh faces of its generator, and those drawn again near them. The picture is a .png, .pdf or .svg, by default
    RUN/faces.png. --teacher names the present place of the run's teacher.

    Example: `cakd show synthetic student --output faces.png`
    """
    from insightface_cakd.runtime.devices import choose_device
    from insightface_cakd.show.picture import require_format, save_picture
    from insightface_cakd.show.synthetic import draw_sheet, look_at_faces

    path = output or run / "faces.png"
    require_format(path)
    sheet = look_at_faces(run, choose_device(device), teacher)
    save_picture(draw_sheet(sheet, "Hard and easy faces"), path)
    print("\n".join(sheet.caption))
    print(f"picture: {path}")
