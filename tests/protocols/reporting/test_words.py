import pytest

from protocols.reporting.words import duration, many, moment, size_of


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"), (-3, "0.0 s"), (0.44, "0.4 s"), (9.4, "9.4 s"), (9.6, "10 s"), (59.4, "59 s"), (59.6, "1 min"),
        (75, "1 min 15 s"), (3599, "59 min 59 s"), (3600, "1 h"), (7500, "2 h 5 min"), (90000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_times_are_said_in_two_units(seconds, said):
    assert duration(seconds) == said


def test_sizes_moments_and_counts():
    assert [size_of(n) for n in (0, 1023, 1024, 5 << 20, 3 << 30)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 MiB",
        "3.00 GiB",
    ]
    assert moment(0) == "1970-01-01 00:00:00 UTC"
    assert [many(1, "entry", "entries"), many(0, "entry", "entries"), many(1200, "site")] == [
        "1 entry",
        "0 entries",
        "1,200 sites",
    ]
