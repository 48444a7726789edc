"""The picture of two faces says what the verdict says."""

import pytest

from insightface_cakd.evaluate.pairs.verdict import Threshold, Verdict
from insightface_cakd.show.verdict import COLOURS, draw_verdict
from tests.data.record_files import picture


def texts(verdict, names=("a.jpg", "b.jpg")):
    figure = draw_verdict([picture(1), picture(2)], names, verdict)
    figure.draw_without_rendering()
    edge = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent()
        assert edge.x0 <= box.x0 < box.x1 <= edge.x1, f"{text.get_text()} is cut off"
        assert edge.y0 <= box.y0 < box.y1 <= edge.y1, f"{text.get_text()} is cut off"
    return [text.get_text() for text in figure.texts], figure


@pytest.mark.parametrize(
    ("limit", "said"), [(0.3, "similarity 0.500: same person"), (0.7, "similarity 0.500: different people")]
)
def test_similarity_verdict_and_threshold(limit, said):
    found, figure = texts(Verdict(0.5, Threshold(limit)))
    assert found == [said, f"| threshold {limit:.3f}: given by hand"]
    assert figure.texts[0].get_color() == COLOURS[limit < 0.5]
    assert [axes.get_xlabel() for axes in figure.axes[:2]] == ["a.jpg", "b.jpg"]


def test_without_a_threshold_it_says_so():
    assert texts(Verdict(-0.25))[0] == ["similarity -0.250", "no threshold, so no verdict"]


def test_long_names_and_origins_stay_inside():
    origin = (
        "accepts at most 0.001 of the 3000 different pairs of a_set_with_a_long_name_2026.bin, and 94.00 % of the same"
    )
    found, figure = texts(Verdict(0.5, Threshold(0.3, origin)), ("x" * 80, "y"))
    assert found[1].replace("\n", " ").endswith(origin)
    assert figure.axes[0].get_xlabel() == "..." + "x" * 36
