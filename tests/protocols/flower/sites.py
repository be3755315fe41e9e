"""Hospitals for nodes: each a table, a journal and a file of its operator's, and what they say when pooled."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from protocols.statistics import Levels, Number, Query, asked

DATASET = "admissions"
AGE, WARD = Number("age", 0, 120, edges=(0.0, 40.0, 60.0, 80.0, 120.0)), Levels("ward", ("heart", "lung"))
QUERY = Query(
    DATASET,
    (AGE, WARD),
    (asked("count"), asked("mean", "age"), asked("variance", "age"), asked("histogram", "age")),
)
ROWS = 60


def patients(partition: int, count: int = ROWS) -> dict[str, Any]:
    """Columns as a site holds them."""
    rng = np.random.default_rng([17, partition])
    return {"age": rng.uniform(20, 100, count).round(1), "ward": rng.choice(["heart", "lung"], count).astype(object)}


def ages(partitions) -> np.ndarray:
    return np.concatenate([patients(partition)["age"] for partition in partitions])


def write_site(folder: Path, partition: int, *, count: int = ROWS, policy: str = "", **changes: Any) -> Path:
    """Write a hospital's table and its operator's file, and return the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = patients(partition, count)
    with (folder / "patients.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *columns])
        writer.writerows([f"{partition}-{at}", *row] for at, row in enumerate(zip(*columns.values(), strict=True)))
    given = {"dataset": DATASET, "table": "patients.csv", "journal": "journal", "ids": "patient"} | changes
    text = "".join(f"{key} = {value!r}\n" for key, value in given.items() if value is not None)
    path = folder / "site.toml"
    path.write_text(f'{text}\n[columns]\nage = "number"\nward = "text"\n\n[policy]\n{policy}')
    return path
