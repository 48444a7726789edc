"""The picture of a result: students of the evidence on both verification sets, as SVG."""

import json
from collections.abc import Iterator
from statistics import mean

from docs.generator import ROOT

# Runs of the evidence, one a seed, and what they were taught on.
EVIDENCE = ROOT / "benchmarks/evidence"
STUDENTS = {
    "three_seeds/*/alone": "alone, 5,338 labelled faces",
    "cnn_small/*/labelled": "taught, the same faces",
    "three_seeds/*/both": "taught, 10,797 further faces",
}
WIDTH, LEFT, TOP, ROW, LEAST, MOST, STEP = 720, 230, 58, 34, 86, 98, 2
# Readable on white and on black.
COLOURS = ("#3b82f6", "#d97706")
GREY = "#808894"
STYLE = f"text {{ font: 14px sans-serif; fill: {GREY} }} .value {{ font-weight: bold }}"


def result_picture() -> str:
    """Return the picture; its numbers are the means over the runs' `result.json`."""
    measured = {runs: _means(runs) for runs in STUDENTS}
    sets = list(next(iter(measured.values())))
    height = TOP + ROW * len(STUDENTS) + 34
    said = "; ".join(
        f"{STUDENTS[name]}: " + ", ".join(f"{100 * found[one]:.2f} % on {one}" for one in sets)
        for name, found in measured.items()
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title said">',
        f'<title id="title">Accuracy of one small network, alone and taught</title><desc id="said">{said}</desc>',
        f"<style>{STYLE}</style>",
        *_axis(height),
    ]
    for column, (name, colour) in enumerate(zip(sets, COLOURS, strict=True)):
        x = LEFT + 160 * column
        lines.append(f'<circle cx="{x}" cy="20" r="6" fill="{colour}"/><text x="{x + 12}" y="25">{name}</text>')
    for row, (name, found) in enumerate(measured.items()):
        y = TOP + ROW * row + ROW / 2
        lines.append(f'<text x="{LEFT - 14}" y="{y + 5}" text-anchor="end">{STUDENTS[name]}</text>')
        lines += _dots([100 * found[one] for one in sets], y)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _means(runs: str) -> dict[str, float]:
    """Return the accuracy on each set, a mean over the seeds."""
    found = [json.loads(path.read_text("utf-8"))["accuracy"] for path in EVIDENCE.glob(f"{runs}/result.json")]
    return {name: mean(one[name] for one in found) for name in found[0]}


def _at(accuracy: float) -> float:
    return round(LEFT + (WIDTH - LEFT - 60) * (accuracy - LEAST) / (MOST - LEAST), 1)


def _axis(height: int) -> Iterator[str]:
    for accuracy in range(LEAST, MOST + 1, STEP):
        x = _at(accuracy)
        yield f'<line x1="{x}" x2="{x}" y1="{TOP - 12}" y2="{height - 26}" stroke="{GREY}" stroke-opacity="0.3"/>'
        yield f'<text x="{x}" y="{height - 8}" text-anchor="middle">{accuracy} %</text>'


def _dots(accuracies: list[float], y: float) -> Iterator[str]:
    """Yield a dot for each set, and its number on the outer side."""
    for number, (accuracy, colour) in enumerate(zip(accuracies, COLOURS, strict=True)):
        x, outer = _at(accuracy), 1 if accuracy == max(accuracies) and accuracy != accuracies[number - 1] else -1
        anchor = "start" if outer > 0 else "end"
        yield f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"/>'
        yield f'<text class="value" x="{x + 11 * outer}" y="{y + 5}" text-anchor="{anchor}">{accuracy:.1f}</text>'
