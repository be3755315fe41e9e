"""Options that one way of using a command does not read are refused where they are typed, whatever their value."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.cli.app import app
from tests.command_line import separating_runner

PARAMS = ["params", "--clients", "10"]
ROUND = ["round", "--clients", "10", "--dim", "5"]
GOAL = ["--epsilon", "1", "--delta", "1e-6"]
ONE = ["serve", "--integers", "v:1:1", "--members", "5"]
JOIN = ["join", "https://localhost:1", "--name", "a", "--state", "s", "--patience", "0"]
STATS = ["stats", "--data", "*.csv"]
CALIBRATE = ["dp", "calibrate", "--epsilon", "1"]
RESERVE = ["budget", "reserve", "b", "--ledger", "none.sqlite", "--round", "1"]
NOISELESS = "without --epsilon or --noise-multiplier"
NO_FILE = "without --query, --integers or --floats"

UNREAD: list[tuple[list[str], str]] = [
    *(
        ([*command, option, value], f"{option} is not read {NOISELESS}")
        for command in (PARAMS, ROUND)
        for option, value in (("--clip", "1"), ("--min-participants", "10"), ("--adjacency", "replace-one"))
    ),
    ([*PARAMS, "--unit", "client"], f"--unit is not read {NOISELESS}"),  # the default, and typed all the same
    ([*PARAMS, "--max-records", "2", "--rounds", "9"], f"--rounds, --max-records are not read {NOISELESS}"),
    ([*PARAMS, *GOAL, "--bits", "8"], "--bits is not read where noise is planned"),
    ([*ROUND, *GOAL, "--bits", "8"], "--bits is not read where noise is planned"),
    (["demo", "--plot", "no/x.png", "--unit", "client"], "--unit is not read without --private"),
    (
        ["demo", "--plot", "no/x.png", "--epsilon", "1", "--subject", "b"],
        "--epsilon, --subject are not read without --private",
    ),
    (["keygen", "a", "b", "--out", "k", "--count", "5"], "--count is not read where names are given"),
    (
        ["serve", "s.toml", "--adversary", "malicious-server", "--corrupt", "0.3"],
        "--corrupt, --adversary are not read with a file of sessions",
    ),
    *(
        (["serve", "s.toml", option, *value], f"{option} is not read with a file of sessions")
        for option, *value in (
            *(("--dropout", "0.2"), ("--quorum", "0.5"), ("--seconds", "9"), ("--grace", "1"), ("--members", "5")),
            *(("--member", "a"), ("--to-members",), ("--title", "x"), ("--unit", "client"), ("--budget", "b")),
            ("--epsilon", "1"),
        )
    ),
    (["serve", "s.toml", "--training-seconds", "9"], "--training-seconds is not read where no session trains"),
    (["serve", "--forever", "--members", "5"], f"--members is not read {NO_FILE}"),
    ([*ONE, "--min-participants", "10"], "--min-participants is not read without --epsilon"),
    ([*ONE, "--training-seconds", "9"], "--training-seconds is not read where no session trains"),
    ([*JOIN, "--training", "m:f", "--weight", "2"], "--weight is not read without --values"),
    ([*JOIN, "--training", "m:f", "--data", "d.csv"], "--data is not read without --site"),
    ([*JOIN, "--values", "v.json", "--rounds", "1"], "--rounds is not read without --epsilon"),
    ([*JOIN, "--values", "v.json", "--page-token", "t"], "--page-token is not read without --page"),
    ([*STATS, *GOAL, "--count", "--min-cell", "5"], "--min-cell is not read with --epsilon"),
    ([*STATS, *GOAL, "--count", "--preset", "cms"], "--preset is not read with --epsilon"),
    ([*STATS, "--count", "--unit", "record"], "--unit is not read without --epsilon"),
    ([*STATS, "--count", "--explain", "--adversary", "curious-server"], "--adversary is not read with --explain"),
    ([*STATS, "query.toml", "--bits", "9"], "--bits is not read beside a query file"),
    ([*STATS, "--count", "--address", "auto"], "--address is not read without --engine"),
    ([*CALIBRATE, "--mechanism", "laplace", "--method", "pld"], "--method is not read for laplace noise"),
    ([*RESERVE, "--epsilon", "1", "--sampling-rate", "0.1"], "--sampling-rate is not read without --noise-multiplier"),
    (
        ["budget", "create", "b", "--ledger", "l", "--epsilon", "1", "--sampling-rate", "1"],
        "--sampling-rate is not read",
    ),
    (
        ["budget", "commit", "b", "--ledger", "l", "--round", "1", "--adjacency", "replace-one"],
        f"is not read {NOISELESS}",
    ),
]


@pytest.mark.parametrize(("line", "told"), UNREAD, ids=[" ".join(line) for line, _ in UNREAD])
def test_an_option_of_another_mode_is_refused(
    line: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text('[[session]]\ntitle = "x"\nmembers = 5\nvectors.v = {length = 1, max_value = 1}\n')
    done = separating_runner().invoke(app, line)
    assert done.exit_code == 2, (done.stdout, done.stderr, done.exception)
    assert told in " ".join(done.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]  # before anything is made
