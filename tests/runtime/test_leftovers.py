"""What killed writers leave is removed when their target is written again, and nothing else is."""

import os
import signal
import subprocess
import sys

import pytest

from insightface_cakd.errors import DataError
from insightface_cakd.runtime.atomic import replacing, require_new, work_folder, write_text
from insightface_cakd.runtime.leftovers import clear_leftovers, temporary_name

# Writes a folder and a scratch folder beside it, says so, and waits to be killed.
STOPPED = """
import sys, time
from insightface_cakd.runtime.atomic import replacing, work_folder
with replacing(sys.argv[1]) as temporary, work_folder(temporary) as scratch:
    temporary.mkdir()
    (temporary / "half").write_text("half")
    (scratch / "half").write_text("half")
    print("written", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing `out`."""
    process = subprocess.Popen([sys.executable, "-c", STOPPED, str(tmp_path / "out")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_a_killed_writer_left_goes_when_its_target_is_written_again(writer, tmp_path, capsys):
    (tmp_path / ".other.txt").write_text("mine")
    assert len(list(tmp_path.glob(".out.*.partial"))) == 2
    write_text(tmp_path / "out", "by another, meanwhile", DataError)
    assert len(list(tmp_path.glob(".out.*.partial"))) == 2
    assert capsys.readouterr().err == ""
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    write_text(tmp_path / "beside", "another target", DataError)
    assert len(list(tmp_path.glob(".out.*.partial"))) == 2
    write_text(tmp_path / "out", "whole", DataError)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.txt", "beside", "out"]
    said = capsys.readouterr().err
    assert said.startswith(f"note: {tmp_path}/.out.")
    assert said.endswith(".partial and 1 more: removed what a killed run left\n")


def test_a_folder_with_leftovers_only_counts_as_empty(writer, tmp_path, capsys):
    with pytest.raises(DataError, match="exists already"):
        require_new(tmp_path, DataError)
    writer.kill()
    writer.wait()
    require_new(tmp_path, DataError)
    assert list(tmp_path.iterdir()) == []
    assert "removed what a killed run left" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".out.node_7_example-12345.partial", ".out.12345.partial"])
def test_those_of_another_host_are_mentioned_and_stay(name, tmp_path, capsys):
    (tmp_path / name).write_text("half")
    write_text(tmp_path / "out", "whole", DataError)
    assert (tmp_path / name).read_text() == "half"
    assert capsys.readouterr().err.startswith(f"note: {tmp_path / name}: left by a run of another host")


def test_a_process_number_that_came_again_is_told_from_this_process(tmp_path, capsys):
    left = tmp_path / temporary_name("out")
    left.write_text("half")
    with replacing(tmp_path / "out") as temporary, work_folder(temporary):
        assert temporary == left
        assert "removed" in capsys.readouterr().err
        temporary.write_text("whole")
        clear_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
    assert os.listdir(tmp_path) == ["out"]


def test_the_temporary_path_of_a_block_is_written_to_directly(tmp_path):
    with replacing(tmp_path / "out") as temporary:
        write_text(temporary, "inner", DataError)
        assert os.listdir(tmp_path) == [temporary.name]
    assert (tmp_path / "out").read_text() == "inner"


def test_a_host_with_dots_and_dashes_knows_its_own(tmp_path):
    code = (
        "import socket, sys; socket.gethostname = lambda: 'node-7.example.org'\n"
        "from insightface_cakd.runtime.leftovers import temporary_name\n"
        "from insightface_cakd.runtime.atomic import write_text\n"
        "from pathlib import Path\n"
        "if sys.argv[1:]: write_text('out', 'whole', ValueError)\n"
        "else: Path(temporary_name('out')).write_text('half')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    for words in ([], ["again"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert "removed what a killed run left" in ran.stderr
    assert os.listdir(tmp_path) == ["out"]


def test_names_that_only_look_alike_are_left_alone(tmp_path):
    names = ["out.1.partial", ".out.partial", ".out.host-x.partial", ".out.host-1.partial.txt"]
    for name in names:
        (tmp_path / name).write_text("mine")
    clear_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    clear_leftovers(tmp_path / "missing")
