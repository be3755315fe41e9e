"""Made-up patients, and what is asked about them.

`python -m flower_hospitals.task sites 10` writes ten folders, as ten operators would have them.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from protocols.statistics import Levels, Number, Query, SitePolicy, asked, even_edges

DATASET = "admissions"
POLICY = SitePolicy(columns={"age", "stay", "ward"})
COLUMNS = (
    Number("age", 0, 120),
    Number("stay", 0, 60, edges=even_edges(0, 60, 30)),
    Levels("ward", ("heart", "lung", "rare")),
)
QUESTION = Query(
    DATASET,
    COLUMNS,
    (asked("mean", "age"), asked("deviation", "age"), asked("correlation", "age", "stay"), asked("median", "stay")),
)
BY_WARD = Query(DATASET, COLUMNS, (asked("count"), asked("mean", "stay")), group_by="ward")
SITE = """\
dataset = "admissions"
table = "patients.csv"
journal = "journal"
ids = "patient"

[columns]
age = "number"
stay = "number"
ward = "text"

[policy]
min_sites = 5
"""


def patients(hospital: int):
    """Return the columns of one hospital's table: 200 patients and more."""
    rng = np.random.default_rng([2026, hospital])
    count = 200 + 10 * hospital
    age = np.clip(rng.normal(62, 14, count), 18, 100).round(1)
    stay = np.clip(rng.exponential(2 + age / 20), 0.1, 59).round(1)
    ward = rng.choice(["heart", "lung"], count, p=[0.6, 0.4]).astype(object)
    ward[: hospital % 2] = "rare"
    return {"age": age, "stay": stay, "ward": ward}


def write_sites(folder: Path, count: int) -> None:
    """Write a table and its operator's file for each of some hospitals."""
    for hospital in range(count):
        own = folder / f"hospital-{hospital}"
        own.mkdir(parents=True)
        columns = patients(hospital)
        with (own / "patients.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["patient", *columns])
            writer.writerows([number, *row] for number, row in enumerate(zip(*columns.values(), strict=True)))
        (own / "site.toml").write_text(SITE)


if __name__ == "__main__":
    write_sites(Path(sys.argv[1]), int(sys.argv[2]))
