"""Reads what a run logged to TensorBoard as plain lists."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

Curve = list[tuple[int, float]]


def read_curves(folder: Path) -> dict[str, Curve]:
    """Read the curves of all event files in and below a folder.

    Returns tag -> [(step, value), ...], in the order of the steps; a missing folder gives no curves.

    Edge cases:
        A run that was stopped and resumed logs some steps twice: what was written last counts. An event file that ends
        in the middle of a record, as a killed run leaves it, is read up to there.
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for place in sorted({file.parent for file in folder.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(place), size_guidance={SCALARS: 0})
        events.Reload()
        for tag in events.Tags()[SCALARS]:
            points = found.setdefault(tag, {})
            for event in events.Scalars(tag):
                earlier = points.get(event.step)
                if earlier is None or earlier[0] <= event.wall_time:
                    points[event.step] = (event.wall_time, event.value)
    return {tag: [(step, points[step][1]) for step in sorted(points)] for tag, points in found.items()}
