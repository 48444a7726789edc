"""One line about teacher and student: what was reached, and what to do where the teacher is the weaker one."""

from insightface_cakd.report.teaching import against_teacher, distilled_below, weak_teacher


def test_a_student_below_its_teacher_is_told_with_both_numbers():
    line = against_teacher({"lfw": 0.99, "agedb_30": 0.95}, {"lfw": 0.98, "cfp_fp": 0.9})
    assert line == "lfw: student 98.00 %, teacher 99.00 %"
    assert against_teacher({"lfw": 0.99}, {"cfp_fp": 0.9}) is None
    assert against_teacher({}, {"lfw": 0.9}) is None


def test_a_student_above_its_teacher_is_told_what_to_do():
    line = against_teacher({"lfw": 0.832}, {"lfw": 0.87})
    assert line is not None
    assert line.startswith(
        "lfw: student 87.00 %, teacher 83.20 %: the student ends above its teacher, which may have held it back."
    )
    assert "Use a better teacher" in line
    assert "\n" not in line


def test_a_teacher_below_the_student_alone_is_said_before_the_run():
    assert weak_teacher(0.9, 0.9) is None
    assert "the teacher (83.20 %) is below the student alone (87.00 %)" in str(weak_teacher(0.832, 0.87))


def test_a_recipe_that_costs_accuracy_is_told_why():
    assert distilled_below("cosine", 0.0, 0.8, 0.9) is None
    weak = distilled_below("cosine", -0.038, 0.832, 0.87)
    assert str(weak).startswith(
        "cosine: -3.80 points against the student alone; the teacher (83.20 %) is below the student alone"
    )
    strong = distilled_below("cosine", -0.01, 0.99, 0.87)
    assert "though its teacher (99.00 %) is above it (87.00 %). Lower the weights of its terms" in str(strong)
    assert "Measure its teacher with `cakd doctor`: one below 87.00 % holds" in str(
        distilled_below("x", -0.01, None, 0.87)
    )
