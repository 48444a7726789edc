"""The report: one page that needs nothing else, and the table in plain text."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest
from torch.utils.tensorboard import SummaryWriter

from insightface_cakd.errors import EvaluationError, RunError
from insightface_cakd.report.result import Gallery, Picture, Section, Tile
from insightface_cakd.report.run_report import Report, write_report
from insightface_cakd.runtime.run_folder import RunFolder
from tests.data.record_files import disk_full_after
from tests.evaluate.runs import write_run

ROWS = [
    {"model": "teacher", "accuracy": "91.00 %", "seconds": "120"},
    {"model": "student alone", "accuracy": "80.17 %", "seconds": "31"},
    {"model": "student + distillation", "accuracy": "83.00 %", "seconds": "40"},
    {"model": "difference", "accuracy": "+2.83 points"},
]


class Page(HTMLParser):
    """Collects the tags, the text outside pictures, and checks that tags close in order."""

    VOID = ("meta", "br", "path", "use", "rect")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "svg" not in self.open and "style" not in self.open:
            self.text += f" {data.strip()}"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("report")
    runs = {
        "student alone": write_run(folder / "alone"),
        "student + distillation": write_run(folder / "distilled", distilled=True),
    }
    write_report(
        folder / "report.html", Report("cakd: A < B", "Gains <2> points.", ROWS, runs, ["checked & found <equal>"])
    )
    return (folder / "report.html").read_text(encoding="utf-8")


def test_its_tags_close(page):
    assert Page(page).open == []


def test_it_needs_no_other_file_and_runs_nothing(page):
    assert not {"script", "link", "img", "iframe"} & set(Page(page).tags)
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_a_table_wider_than_the_page_scrolls_by_itself(page):
    assert ".wide { overflow-x: auto;" in page
    tables = re.findall(r'<div class="wide" role="region" aria-label="[^"]+" tabindex="0"><table', page)
    assert page.count("<table") == len(tables) > 0


def test_it_begins_with_the_verdict_and_readers_aloud_can_use_it(page):
    assert page.index("<h1>") < page.index('<p class="verdict">Gains &lt;2&gt; points.</p>') < page.index("<table")
    assert '<html lang="en">' in page
    assert "<th>" not in page, "every heading of a table says whether it is of a column or a row"
    for row in ROWS:
        assert f'<th scope="row">{row["model"]}</th>' in page
    assert page.count("<svg") == len(re.findall(r'<svg [^>]*role="img" aria-label="[^"]{20,}"', page))


def test_a_page_without_a_verdict_has_no_empty_one(tmp_path):
    write_report(tmp_path / "report.html", Report("t", "", ROWS))
    assert 'class="verdict"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_words_stand_on_the_left_and_numbers_on_the_right(tmp_path):
    rows = [
        {"model": "a", "set": "lfw", "TAR": "-", "95 %": "[1.00, 2.00]"},
        {"model": "b", "set": "cfp", "TAR": "3.1"},
    ]
    write_report(tmp_path / "report.html", Report("t", "", rows))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<td class="text">lfw</td><td>-</td><td>[1.00, 2.00]</td>' in page


def test_it_shows_the_result_table_the_notes_and_the_curves(page):
    shown = Page(page)
    for row in ROWS:
        assert all(cell in shown.text for cell in row.values())
    assert "cakd: A < B" in shown.text
    assert "checked & found <equal>" in shown.text
    assert shown.tags.count("svg") == shown.tags.count("figure") == 10


def test_a_section_has_its_table_and_its_picture_in_the_page_itself(tmp_path):
    png = b"\x89PNG < not an image >"
    picture = Picture(png, ["All <9> centres.", "Then more."], "Nine maps")
    section = Section("Fields & prompts", [{"teacher": "alone", "dev": "83.50 %"}], picture=picture)
    write_report(tmp_path / "report.html", Report("t", "", ROWS, sections=[section, Section("Empty")]))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    shown = Page(page)
    assert shown.open == []
    for said in ("Fields & prompts", "83.50 %", "All <9> centres. Then more.", "Empty"):
        assert said in shown.text
    ((source, alt),) = re.findall(r'<img src="([^"]*)" alt="([^"]*)"', page)
    assert alt == "Nine maps"
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == png
    assert shown.tags.count("img") == shown.tags.count("figure") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_a_gallery_has_each_face_with_its_words(tmp_path):
    gallery = Gallery(
        "False accepts", "Different <people>.", [Tile((b"one", b"two"), "dev: 0.700", "Two faces: 0.700")]
    )
    write_report(tmp_path / "report.html", Report("t", "", ROWS, sections=[Section("Pairs", galleries=[gallery])]))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" alt="([^"]*)"', page)
    assert [(base64.b64decode(jpeg), alt) for jpeg, alt in found] == [(b"one", "Two faces: 0.700"), (b"two", "")]
    assert "Different &lt;people&gt;." in page


def test_a_curve_of_too_few_points_is_named_and_not_drawn(tmp_path):
    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step in range(2):
            writer.add_scalar("accuracy/dev", 0.5, step)
        for step in range(4):
            writer.add_scalar("train/loss", 0.5, step)
    write_report(tmp_path / "report.html", Report("t", "", ROWS, {"student": tmp_path / "run"}))
    shown = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert shown.tags.count("svg") == 1
    assert "of fewer than 3 points and so not drawn: Verification accuracy." in shown.text


def test_it_shows_the_facts_of_each_run_side_by_side(page):
    text = " ".join(Page(page).text.split())
    for fact in (
        "network cnn_tiny cnn_tiny",
        "seed 2048 2048",
        "teacher vit_tiny",
        "teacher accuracy before step 1 91.00 %",
        "teacher licence not stated",
        "terms 64 x cosine",
        "accuracy, dev 83.00 % 83.00 %",
        "insightface_cakd 0.1.0, python 3.11, torch 2.15.0",
        "CPU cores",
    ):
        assert fact in text
    assert "ab" * 32 in text
    assert '"weight": 64.0' in text  # the recipe as it was resolved


def test_a_student_above_its_teacher_is_told(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    teacher = {"name": "vit_tiny", "sha256": None, "accuracy": None, "licence": None, "sets": {"dev": 0.832}}
    RunFolder(run).write({"teacher": teacher})
    (run / "result.json").write_text(json.dumps({"accuracy": {"dev": 0.87}}))
    write_report(tmp_path / "report.html", Report("t", "", ROWS, {"student": run}))
    text = " ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).text.split())
    assert "student: dev: student 87.00 %, teacher 83.20 %: the student ends above its teacher" in text
    assert "teacher accuracy, dev 83.20 %" in text


def test_a_run_that_logged_nothing_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    write_report(tmp_path / "report.html", Report("t", "", ROWS, {"student <1>": tmp_path / "empty"}))
    assert "No TensorBoard events: student <1>." in Page((tmp_path / "report.html").read_text(encoding="utf-8")).text


def test_a_run_that_does_not_exist(tmp_path):
    with pytest.raises(EvaluationError, match="report: .*nowhere, of 'student', is no folder; expected the output"):
        write_report(tmp_path / "report.html", Report("t", "", ROWS, {"student": tmp_path / "nowhere"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "said"), [("{", "not JSON"), ("[1]", "holds a list; expected an object")])
def test_a_damaged_run(tmp_path, content, said):
    run = write_run(tmp_path / "run")
    (run / "run.json").write_text(content)
    with pytest.raises(RunError, match=f"run.json: {said}"):
        write_report(tmp_path / "report.html", Report("t", "", ROWS, {"student": run}))
    assert not (tmp_path / "report.html").exists()


def test_a_full_disk_leaves_the_former_report(tmp_path):
    (tmp_path / "report.html").write_text("former")
    with (
        disk_full_after(100),
        pytest.raises(
            EvaluationError, match=r"report .*report.html: cannot be written \(File too large\); nothing was"
        ),
    ):
        write_report(tmp_path / "report.html", Report("t", "", ROWS))
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "former"
