"""`python -m benchmarks cache`, with few keys."""

from tests.commands import benchmark


def test_it_opens_a_cache_and_looks_batches_up(tmp_path):
    ran = benchmark("cache", tmp_path / "cache", "--keys", 3000, "--batches", 3)
    assert ran.code == 0, ran.err
    assert [line.split("|")[1].strip() for line in ran.out.splitlines()[2:]] == [
        "open, nothing in memory",
        "look 128 images up, first time",
        "look 128 images up, again",
    ]
