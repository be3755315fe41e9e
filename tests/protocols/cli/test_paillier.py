import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from protocols.cli import paillier as cli_paillier
from protocols.cli.app import app
from protocols.simulation import paillier as paillier_simulation
from secagg.errors import ParameterError, ThresholdError
from tests.command_line import separating_runner
from tests.secagg.paillier.fixed_keys import dealt

SMALL = ("--clients", "4", "--dim", "10", "--committee", "4", "--threshold", "3", "--workers", "1")


@pytest.fixture(autouse=True)
def _small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deal published keys of 512 bits: searching for safe primes is not what is tested here."""

    def deal(threshold: int, members: int, **_: Any) -> Any:
        key, shares = dealt(threshold, members, 512)
        return key, list(shares)

    monkeypatch.setattr(paillier_simulation, "deal", deal)


def run(*arguments: str) -> tuple[int, str, str]:
    outcome = separating_runner().invoke(app, ["paillier-sum", *arguments])
    return outcome.exit_code, outcome.stdout, outcome.stderr


def test_a_round_with_dropouts_reports_as_json() -> None:
    code, out, _ = run(
        "--clients", "10", "--dim", "50", "--key-bits", "2048", "--dropout", "0.3", "--workers", "1", "--json"
    )
    assert code == 0
    report = json.loads(out)
    assert report.keys() == {
        "exact",
        "clients",
        "survivors",
        "lanes",
        "ciphertexts",
        "seconds",
        "bytes",
        "peak_memory_bytes",
        "workers",
    }
    assert report["seconds"].keys() == {"client_mean", "server", "decrypt", "wall"}
    assert report["bytes"].keys() == {"client_sent_mean"}
    assert (report["exact"], report["clients"], report["survivors"], report["workers"]) == (True, 10, 7, 1)
    assert report["lanes"] * report["ciphertexts"] >= 50
    assert report["bytes"]["client_sent_mean"] > report["ciphertexts"] * 128


def test_a_round_on_two_workers_reports_as_a_table() -> None:
    code, out, _ = run("--clients", "4", "--dim", "30", "--committee", "4", "--threshold", "3", "--workers", "2")
    assert code == 0
    assert "exact" in out
    assert "peak memory" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--key-bits", "1024"],
        ["--committee", "4", "--threshold", "2"],
        ["--committee", "3", "--threshold", "4"],
        ["--clients", "3", "--dropout", "0.9"],
        ["--clients", "1"],
        ["--dim", "0"],
        ["--dropout", "1.5"],
    ],
)
def test_impossible_rounds_are_refused_with_a_reason(arguments: list[str]) -> None:
    code, out, err = run(*arguments, "--workers", "1")
    assert code == 2
    assert "Error" in err or "secagg: " in err  # typer's, or ours
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--committee", "4", "--threshold", "2"],
        ["--committee", "3", "--threshold", "4"],
        ["--committee", "3", "--threshold", "2"],
        ["--committee", "4", "--threshold", "3", "--corrupt-members", "2"],
        ["--clients", "3", "--dropout", "0.9"],
    ],
)
def test_impossible_rounds_are_refused_before_a_key_is_dealt(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paillier_simulation, "deal", None)
    code, out, _ = run(*arguments, "--json")
    assert (code, json.loads(out)["error"]) == (2, "ParameterError")


def test_a_wrong_sum_exits_with_4(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = cli_paillier.simulate
    monkeypatch.setattr(cli_paillier, "simulate", lambda *a, **k: replace(honest(*a, **k), exact=False))
    code, out, _ = run(*SMALL, "--json")
    assert (code, json.loads(out)["exact"]) == (4, False)


def test_a_round_without_a_sum_exits_with_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise ThresholdError("too few are [left]", needed=2, have=1)

    monkeypatch.setattr(cli_paillier, "simulate", end)
    code, out, err = run(*SMALL, "--json")
    assert (code, json.loads(out)) == (3, {"error": "ThresholdError", "message": "too few are [left]"})
    assert "secagg: too few are [left]\n" in err


def test_it_is_mounted() -> None:
    assert separating_runner().invoke(app, ["paillier-sum", "--key-bits", "1024"]).exit_code == 2
    outcome = separating_runner().invoke(app, ["paillier-sum", *SMALL, "--json"])
    assert json.loads(outcome.stdout)["exact"] is True


def test_the_simulation_refuses_too() -> None:
    simulate = partial(paillier_simulation.simulate, key_bits=2048, committee=4, threshold=3)
    for dropout in (-0.1, 1.0):
        with pytest.raises(ParameterError):
            simulate(5, 5, dropout=dropout)
    with pytest.raises(ParameterError, match="workers"):
        simulate(5, 5, workers=0)
