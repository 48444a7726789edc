"""Pipes and devices are written through, links stay, and only ordinary files are replaced."""

import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from insightface_cakd.data.bins import read_bin, write_bin
from insightface_cakd.errors import DataError, RunError
from insightface_cakd.runtime.atomic import put, write_json, write_text, writing
from insightface_cakd.runtime.tensor_file import save_atomically
from tests.data.record_files import jpeg


@pytest.fixture
def full(tmp_path):
    """A copy of /dev/full, which is always full; skips where none can be made."""
    device = tmp_path / "full"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        device.open("wb").close()
    except (AttributeError, OSError):
        pytest.skip("devices cannot be made here; run as root to try them")
    return device


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {"a": 1}),
        lambda path: write_bin(path, [jpeg(1), jpeg(2)], [True]),
        lambda path: save_atomically({"a": 1}, path),
    ],
)
def test_a_full_device_is_one_line_and_stays_a_device(write, full, tmp_path):
    with pytest.raises((DataError, RunError), match=r"full: cannot be written \(No space left on device\)"):
        write(full)
    assert stat.S_ISCHR(full.lstat().st_mode)
    assert os.listdir(tmp_path) == ["full"]


def test_a_folder_cannot_go_into_a_device(full):
    def make_folder():
        with writing(full, DataError) as temporary:
            temporary.mkdir()

    with pytest.raises(DataError, match=r"full: cannot be written \(Not a directory\)"):
        make_folder()
    assert stat.S_ISCHR(full.lstat().st_mode)


def test_a_pipe_gets_the_content_and_stays(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_bin(pipe, [jpeg(1), jpeg(2)], [True])
    reader.join(timeout=20)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    (tmp_path / "copy.bin").write_bytes(got[0])
    assert read_bin(tmp_path / "copy.bin") == ([jpeg(1), jpeg(2)], [True])


def test_a_block_that_fails_writes_nothing_to_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def fail():
        with writing(pipe, DataError) as temporary:
            temporary.write_text("half")
            raise DataError("mine")

    with pytest.raises(DataError, match="^mine$"):
        fail()
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


@pytest.mark.parametrize("redirected", [False, True])
def test_stdout_gets_the_content_in_its_place(redirected, tmp_path):
    link, log = tmp_path / "stdout", tmp_path / "log"
    link.symlink_to("/proc/self/fd/1")
    if not link.exists():
        pytest.skip("this system has no /proc/self/fd")
    code = (
        "import sys; from insightface_cakd.runtime.atomic import write_json\n"
        "print('before'); write_json(sys.argv[1], [1]); print('\\nafter')"
    )
    command = [sys.executable, "-c", code, str(link)]
    if redirected:
        with log.open("wb") as file:
            subprocess.run(command, stdout=file, check=True)
        said = log.read_text()
    else:
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    assert said == "before\n[\n 1\n]\nafter\n"
    assert link.is_symlink()


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link.json", tmp_path / "there" / "real.json"
    link.symlink_to(target)
    for content in ([1], [2]):
        # The target is missing at first.
        write_json(link, content)
        assert link.is_symlink()
        assert json.loads(target.read_text()) == content
    assert os.listdir(tmp_path / "there") == ["real.json"]
    round_about = tmp_path / "loop"
    round_about.symlink_to(round_about)
    with pytest.raises(DataError, match=r"loop: cannot be written \(Too many levels of symbolic links\)"):
        write_text(round_about, "", DataError)


def test_a_finished_file_is_put_where_a_link_points(tmp_path):
    (tmp_path / "new").write_text("new")
    (tmp_path / "link").symlink_to("target")
    put(tmp_path / "new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_replaced_keeps_its_rights(tmp_path):
    private = tmp_path / "private.json"
    private.write_text("old")
    private.chmod(0o600)
    write_json(private, [1])
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
