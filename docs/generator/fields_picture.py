"""The README's picture of CAKD's local centres: `python -m docs.generator.fields_picture quickstart/distilled`.

It is what `cakd show urfm` draws of a run of `cakd quickstart`, at half the size.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from docs.generator import ROOT
from insightface_cakd.show.picture import save_picture
from insightface_cakd.show.run import look, open_run, show_fields

PICTURE = ROOT / "docs/pictures/fields.png"
COLOURS = 256


def main(run: Path) -> None:
    """Draw the picture of a run."""
    opened = open_run(run, torch.device("cpu"))
    with TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.png"
        save_picture(show_fields(opened, look(opened)), whole)
        with Image.open(whole) as image:
            half = image.convert("RGB").resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    half.quantize(COLOURS).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
