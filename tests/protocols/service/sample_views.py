"""Views as a desk would give them: twelve hospitals, one of which lies, one refuses, one vanishes."""

import json

from protocols.service.views import BudgetView, MemberView, PhaseView, ServiceView, SessionView, State, WaitingView

NOW = 1_795_900_000.0
HOSPITALS = tuple(f"hospital-{i:02}" for i in range(1, 13))
LIAR, VANISHED, UNWILLING = "hospital-03", "hospital-07", "hospital-11"
TOO_FEW = "7 of 12 clients have answered, but 8 are needed"
RUNNING, DONE, FAILED, STATISTICS = (digit * 32 for digit in "abcd")


def phases(*, last_open: bool) -> tuple[PhaseView, ...]:
    keys = tuple(name for name in HOSPITALS if name != UNWILLING)
    shares = tuple(name for name in keys if name != LIAR)
    inputs = tuple(name for name in shares if name != VANISHED)
    begun = NOW - 40
    return (
        PhaseView("advertise-keys", HOSPITALS, keys, 8, begun, begun + 60, begun + 4.2, 2_112),
        PhaseView("share-keys", keys, shares, 8, begun + 4.2, begun + 64, begun + 9, 64_000),
        PhaseView(
            "masked-input", shares, inputs[:6] if last_open else inputs, 8, begun + 9, NOW + 21.4,
            None if last_open else begun + 30, 2_400_000,
        ),
    )  # fmt: skip


def session(name: str, title: str, state: State, **more: object) -> SessionView:
    facts = {
        "session": name,
        "title": title,
        "protocol": "masking",
        "adversary": "semi-malicious-server",
        "state": state,
        "participants": HOSPITALS,
        "phases": phases(last_open=state is State.RUNNING),
        "excluded": {LIAR: "MalformedMessage: 17 shares are listed, but 10 neighbours are asked"},
        "refused": {UNWILLING: "consent-withdrawn: the participant has opted out of admissions"},
        "created": NOW - 41,
    }
    return SessionView(**(facts | more))  # type: ignore[arg-type]


def over(name: str, title: str, state: State, ago: float, **more: object) -> SessionView:
    return session(name, title, state, created=NOW - ago - 31, ended=NOW - ago, **more)


def finding(statistic: str, columns: list[str], value: object, **more: object) -> dict[str, object]:
    facts = {"statistic": statistic, "columns": columns, "group": None, "value": value, "error": 0.0001, "n": 2380}
    return facts | {"suppressed": None, "reason": None} | more


SUMS = {
    "version": 1,
    "kind": "sum",
    "survivors": [name for name in HOSPITALS if name not in (LIAR, VANISHED, UNWILLING)],
    "total_weight": None,
    "sums": {"patients": [2380], "update": [round(i / 7, 4) for i in range(40)]},
    "levels": {"patients": [2380], "update": list(range(40))},
    "clipped": {"patients": 0},
    "liars": [LIAR],
}
FOUND = {
    "version": 1,
    "kind": "statistics",
    "sites": 11,
    "records": 2380,
    "query": "00" * 32,
    "policy": {"min_cell": 10, "min_sites": 3, "min_records": 20},
    "results": [
        finding("mean", ["age"], 62.14),
        finding("deviation", ["age"], 13.7),
        finding("correlation", ["age", "pressure"], 0.562, interval=[0.53, 0.59]),
        finding("mean", ["stay"], None, error=None, n=None, suppressed="cell", group="rare"),
        finding(
            "table",
            ["ward", "sex"],
            {
                "rows": ["heart", "lung", "rare"],
                "columns": ["f", "m"],
                "counts": [[700, 721], [460, 480], [None, None]],
                "row_totals": [1421, 940, None],
                "column_totals": [1170, 1210],
            },
            suppressed={"rare, f": "cell", "rare, m": "complementary"},
        ),
        finding(
            "histogram",
            ["stay"],
            {"edges": [0, 5, 10, 20], "counts": [900, 800, 600], "below": 0, "above": 80, "missing": None},
        ),
    ],
}


def service() -> ServiceView:
    members = tuple(
        MemberView(name, f"{i:016x}", NOW - 3 * i if i else None, 1 if i != 4 else 0, i == 8)
        for i, name in enumerate(HOSPITALS)
    )
    return ServiceView(
        (
            session(RUNNING, "Length of stay <by ward>", State.RUNNING),
            over(STATISTICS, "Age & pressure", State.COMPLETED, 300, result=json.dumps(FOUND)),
            over(DONE, "Weekly update", State.COMPLETED, 3_600, result=json.dumps(SUMS)),
            over(FAILED, "Nightly counts", State.FAILED, 7_200, error="ThresholdError", reason=TOO_FEW),
        ),
        members,
        (BudgetView("admissions <2026>", 3.0, 1e-6, 1.25), BudgetView("votes", 1.0, 1e-6, 1.0)),
        (
            WaitingView(
                "Beds <next>", 5, 2, ("clinic <lost>", "hospital-09", "hospital-13 <new>"),
                ("clinic <lost>", "hospital-02", "hospital-03", "hospital-09", "hospital-13 <new>"),
            ),
            WaitingView("Any forty", 40, 10),
        ),
        ("hospital-13 <new>", "hospital-14"),
        {State.RUNNING: 1, State.COMPLETED: 2, State.FAILED: 1},
    )  # fmt: skip
