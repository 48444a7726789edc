"""Reading against bare decoding: who is compared with whom, and that every kind reads what it says."""

from itertools import count

import pytest

from benchmarks.reading import BY_TWO, DECODERS, Taken, bench_reading, equal_to_mxnet, jpegs, reading_table, take
from insightface_cakd.errors import DataError
from tests.data.record_files import image_record, insightface_set, jpeg, write_set


def test_two_workers_are_compared_with_two_processes_that_decode():
    least = {name: Taken(50e-6, 50e-6) for name in DECODERS}
    least["OpenCV, BGR"] = Taken(40e-6, 40e-6)
    least |= {"reader": Taken(44e-6, 48e-6), BY_TWO: Taken(50e-6, 25e-6), "loader": Taken(60e-6, 40e-6)}
    lines = reading_table(least, {"Pillow": 3}, 4).splitlines()
    cells = {line[0]: line[1:] for line in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}
    assert cells["reader"] == ["44.0 us", "1.10", "20,833", ""]
    assert cells[BY_TWO] == ["50.0 us", "1.00", "40,000", ""]
    assert cells["loader"] == ["60.0 us", "1.20", "25,000", ""]
    assert cells["Pillow"] == ["50.0 us", "1.25", "20,000", "3 of 4"]


def test_the_first_images_are_not_counted():
    given = []

    def start():
        for number in count():
            given.append(number)
            yield 512

    taken = take(start, images=1000)
    assert len(given) == 2 + 2
    assert 0 < taken.wall < 1


def test_every_decoder_is_compared_with_all_images(tmp_path):
    found = jpegs(insightface_set(tmp_path, [2, 3]), most=4)
    assert len(set(found)) == 4
    assert set(found) <= {jpeg(key) for key in range(1, 6)}
    assert equal_to_mxnet(found) == {name: 4 for name in DECODERS if name != "OpenCV, BGR"}


def test_images_that_are_no_jpeg_are_refused(tmp_path):
    folder = write_set(tmp_path, {key: image_record(key, key, b"png") for key in (0, 1)})
    with pytest.raises(DataError, match=r"holds images that are no JPEG"):
        jpegs(folder, 2)


@pytest.mark.slow
def test_all_kinds_are_measured(tmp_path):
    said = bench_reading(insightface_set(tmp_path, [8, 8]), images=64, batch=8, repeats=1)
    kinds = [line.split("|")[1].strip() for line in said.splitlines()[2:]]
    assert kinds[:5] == list(DECODERS)
    assert kinds[5:8] == ["reader", "loader, 0 workers, as bytes", "loader, 0 workers, as floats"]
    assert kinds[-3:] == [BY_TWO, "loader, 2 workers, as bytes", "loader, 2 workers, as floats"]
