"""Size and step of students: counts from the layers, times of four kinds of step."""

from torch import nn

from benchmarks.students import Step, products, student_steps, table


def test_products_are_those_of_every_place_that_a_kernel_visits():
    # 3x3 kernels of 3 channels at 56 x 56 places for 4 outputs; a grouped one of half as many channels; 4 to 5 numbers.
    strided, grouped = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 56, groups=2)
    network = nn.Sequential(strided, grouped, nn.Flatten(), nn.Linear(4, 5))
    assert products(network) == 56 * 56 * 4 * 27 + 4 * 2 * 56 * 56 + 20
    assert network.training


def test_each_network_has_four_times():
    (found,) = student_steps(["cnn_tiny"], batch=2, repeats=1)
    assert (found.network, found.parameters) == ("cnn_tiny", 171_008)
    assert min(found.plain, found.last, found.own, found.half) > 0


def test_a_table_has_a_line_each():
    said = table(iter([Step("a", 1_500_000, 12.3, 4.0, 3.0, 2.5, 2.0)])).splitlines()
    assert len(said) == 3
    assert [cell.strip() for cell in said[2].strip("|").split("|")] == [
        "`a`",
        "1.50 M",
        "12",
        "4.0",
        "3.0",
        "2.5",
        "2.0",
    ]
