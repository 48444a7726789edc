"""The plots: which there are, what is in them, and that they can stand in one page."""

import re
from xml.etree import ElementTree

from insightface_cakd.report.curves import read_curves
from insightface_cakd.report.plots import PANELS, draw_panels
from tests.evaluate.runs import write_run


def draw(**runs):
    return dict((panel.title, svg) for panel, svg in draw_panels(runs))


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_every_scalar_of_a_run_is_in_a_plot(tmp_path):
    drawn = draw(student=read_curves(write_run(tmp_path, distilled=True)))
    generated = ("distill/raw/similarity/", "distill/raw/images_per_second/")  # of generated faces: test_synthetic.py
    assert list(drawn) == [panel.title for panel in PANELS if panel.tags[0] not in generated]
    assert "student: cosine" in words(drawn["Raw terms"])
    # the margin is weighted by 1, and what the terms are measured against
    assert "student: margin" in words(drawn["Weighted terms"])
    assert "images/s" in words(drawn["Throughput"])


def test_the_losses_and_anchors_of_cakd_have_plots_of_their_own(tmp_path):
    drawn = draw(student=read_curves(write_run(tmp_path, distilled=True)))
    shown = {title: words(drawn[title]) for title in ("Attention loss", "Feature loss", "Anchors")}
    assert "student: urfm_anchor" in shown["Anchors"]
    assert "student: prompt_anchor" in shown["Anchors"]
    assert "cosine" not in shown["Attention loss"].replace("1 - cosine", "")
    assert "student" in shown["Feature loss"]


def test_a_run_without_a_teacher_has_no_plots_of_terms(tmp_path):
    assert list(draw(alone=read_curves(write_run(tmp_path)))) == [
        "Verification accuracy",
        "Training loss",
        "Learning rate",
        "Throughput",
    ]


def test_runs_share_a_plot_and_differ_in_colour():
    svg = draw(teacher={"train/loss": [(0, 2.0), (1, 1.0)]}, student={"train/loss": [(0, 3.0), (1, 2.0)]})[
        "Training loss"
    ]
    assert "teacher" in words(svg)
    assert "student" in words(svg)
    assert {"#1f77b4", "#ff7f0e"} <= set(re.findall(r"stroke: (#\w{6})", svg))


def test_nothing_logged_gives_no_plots():
    assert draw(student={}, teacher={"train/loss": [], "another/tag": [(0, 1.0)]}) == {}


def test_terms_are_on_a_logarithmic_axis_unless_a_value_is_zero_or_all_are_alike():
    positive = draw(student={"distill/raw/kd": [(0, 0.001), (1, 1000.0)]})["Raw terms"]
    zero = draw(student={"distill/raw/kd": [(0, 0.0), (1, 1000.0)]})["Raw terms"]
    alike = draw(student={"distill/raw/kd": [(0, 800.0), (1, 1000.0)]})["Raw terms"]
    assert "1000" in words(zero)
    assert "1000" in words(alike)
    assert "1000" not in words(positive)


def test_one_point_and_a_value_that_is_not_finite_can_be_drawn():
    drawn = draw(student={"train/loss": [(0, 1.0)], "train/learning_rate": [(0, 1.0), (1, float("nan")), (2, 0.5)]})
    assert len(drawn) == 2


def test_the_elements_of_different_plots_have_different_ids(tmp_path):
    curves = read_curves(write_run(tmp_path, distilled=True))
    ids = [name for svg in draw(student=curves).values() for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_a_plot_is_to_an_id_of_its_own(tmp_path):
    for svg in draw(student=read_curves(write_run(tmp_path, distilled=True))).values():
        ids = set(re.findall(r'\bid="([^"]+)"', svg))
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) <= ids


def test_equal_curves_give_equal_text():
    curves = {"train/loss": [(0, 2.0), (1, 1.0)]}
    assert draw(student=curves) == draw(student=curves)


def test_a_title_cannot_carry_markup():
    svg = draw(**{"<script>alert(1)</script>": {"train/loss": [(0, 2.0)]}})["Training loss"]
    assert "<script" not in svg
    assert "<script>alert(1)</script>" in words(svg)
