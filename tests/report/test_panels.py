"""The plots: which there are, what is in them, and that they can stand in one page."""

import re
from xml.etree import ElementTree

from insightface_cakd.report.colours import DARK, LIGHT, PALETTE, Colours
from insightface_cakd.report.curves import read_curves
from insightface_cakd.report.panels import PANELS, draw_panels
from insightface_cakd.report.plots import drawn
from tests.evaluate.runs import write_run


def draw(**runs):
    colours = Colours(runs)
    drawings = draw_panels(runs).drawings
    return {one.title: drawn(one, colours, f"p{number}") for number, one in enumerate(drawings)}


def line(*values):
    return list(enumerate(values))


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_every_scalar_of_a_run_is_in_a_plot(tmp_path):
    shown = draw(student=read_curves(write_run(tmp_path, distilled=True)))
    generated = ("distill/raw/similarity/", "distill/raw/images_per_second/")  # of generated faces: test_synthetic.py
    expected = [panel.title for panel in PANELS if panel.tags[0] not in generated]
    assert [title.partition(", ")[0] for title in shown if ":" not in title] == [t for t in expected if ":" not in t]
    # a panel of several names in one run says the run once, one of a single name says the name
    assert "Weighted terms, student" in shown
    assert "Raw terms, cosine" in shown
    assert "Verification accuracy, dev" in shown
    # the margin is weighted by 1, and what the terms are measured against
    assert {"margin", "cosine", "urfm_feature"} <= set(words(shown["Weighted terms, student"]).split())
    assert "images/s" in words(shown["Throughput"])


def test_no_curve_is_drawn_twice(tmp_path):
    """A term with a plot of its own, or of weight 1, is not among the raw ones; nor is the margin, which has no weight."""
    curves = {
        "distill/raw/cosine": line(3.0, 2.0, 1.0),
        "distill/weighted/cosine": line(192.0, 128.0, 64.0),
        "distill/raw/mse": line(5.0, 4.0, 3.0),
        "distill/weighted/mse": line(5.0, 4.0, 3.0),
        "distill/raw/urfm_feature": line(9.0, 8.0, 7.0),
        "distill/raw/margin": line(30.0, 20.0, 10.0),
    }
    shown = draw(student=curves)
    assert list(shown) == ["Raw terms, cosine", "Feature loss", "Weighted terms, student"]


def test_the_losses_and_anchors_of_cakd_have_plots_of_their_own(tmp_path):
    shown = draw(student=read_curves(write_run(tmp_path, distilled=True)))
    anchors = words(shown["Anchors, student"])
    assert "urfm_anchor" in anchors
    assert "prompt_anchor" in anchors
    assert "cosine" not in words(shown["Attention loss"])
    assert "student" in words(shown["Feature loss"])


def test_a_run_without_a_teacher_has_no_plots_of_terms(tmp_path):
    assert list(draw(alone=read_curves(write_run(tmp_path)))) == [
        "Verification accuracy, dev",
        "Training loss",
        "Learning rate",
        "Throughput",
    ]


def test_runs_share_a_plot_and_a_run_has_one_colour_on_all_plots():
    curves = {"train/loss": line(2.0, 1.5, 1.0), "train/learning_rate": line(0.3, 0.2, 0.1)}
    shown = draw(teacher=curves, student=curves, other={"train/learning_rate": line(0.2, 0.1, 0.0)})
    for svg, runs in ((shown["Training loss"], 2), (shown["Learning rate"], 3)):
        assert [run in words(svg) for run in ("teacher", "student", "other")] == [True, True, runs == 3]
        assert set(re.findall(r"stroke: (#\w{6})", svg)) & set(PALETTE) == set(PALETTE[:runs])


def test_terms_of_a_single_run_have_colours_that_no_run_has():
    terms = {f"distill/weighted/{name}": line(3.0, 2.0, 1.0) for name in ("a", "b")}
    svg = draw(teacher={"train/loss": line(2.0, 1.5, 1.0)}, student=terms)["Weighted terms, student"]
    assert set(re.findall(r"stroke: (#\w{6})", svg)) & set(PALETTE) == set(PALETTE[2:4])


def contrast(one, other):
    """Return the contrast of two colours by WCAG 2."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_colour_can_be_seen_by_day_and_by_night():
    assert contrast("#ffffff", "#000000") == 21
    assert min(contrast(colour, page) for colour in PALETTE for page in (LIGHT, DARK)) >= 3
    assert len(set(PALETTE)) == len(PALETTE)


def test_axes_and_words_have_the_colour_of_the_text_around():
    svg = draw(student={"train/loss": line(2.0, 1.5, 1.0)})["Training loss"]
    assert "currentColor" in svg
    assert not {"#000000", "#ffffff"} & set(re.findall(r"#[0-9a-f]{6}", svg))


def test_who_does_not_see_a_plot_is_told_its_ends():
    svg = draw(student={"train/loss": line(2.0, 1.5, 1.25)})["Training loss"]
    assert 'role="img" aria-label="Training loss: student from 2 at step 0 to 1.25 at step 2."' in svg


def test_nothing_logged_gives_no_plots():
    assert draw(student={}, teacher={"train/loss": [], "another/tag": line(1.0, 1.0, 1.0)}) == {}


def test_too_few_points_give_no_curve():
    found = draw_panels({"student": {"train/loss": line(1.0, 2.0), "train/learning_rate": line(1.0, 2.0, 3.0)}})
    assert [one.title for one in found.drawings] == ["Learning rate"]
    assert found.too_short == ("Training loss",)


def test_terms_are_on_a_logarithmic_axis_unless_a_value_is_zero_or_all_are_alike():
    positive, zero, alike = (
        draw(student={"distill/raw/kd": line(first, 1000.0, 1000.0)})["Raw terms, kd"] for first in (0.001, 0.0, 800.0)
    )
    assert "1000" in words(zero)
    assert "1000" in words(alike)
    assert "1000" not in words(positive)


def test_a_value_that_is_not_finite_can_be_drawn():
    assert len(draw(student={"train/learning_rate": line(1.0, float("nan"), 0.5)})) == 1


def test_the_elements_of_different_plots_have_different_ids(tmp_path):
    curves = read_curves(write_run(tmp_path, distilled=True))
    ids = [name for svg in draw(student=curves).values() for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_a_plot_is_to_an_id_of_its_own(tmp_path):
    for svg in draw(student=read_curves(write_run(tmp_path, distilled=True))).values():
        ids = set(re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) <= ids


def test_equal_curves_give_equal_text():
    curves = {"train/loss": line(2.0, 1.5, 1.0)}
    assert draw(student=curves) == draw(student=curves)


def test_a_title_cannot_carry_markup():
    svg = draw(**{"<script>alert(1)</script>": {"train/loss": line(2.0, 1.0, 0.5)}})["Training loss"]
    assert "<script" not in svg
    assert "<script>alert(1)</script>" in words(svg)
