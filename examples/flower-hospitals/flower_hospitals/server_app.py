"""flower-hospitals: the ServerApp, which asks two questions."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from flower_hospitals.task import BY_WARD, QUESTION
from protocols.flower import ask
from protocols.statistics import ReleasePolicy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Ask, and print what may be shown."""
    release = ReleasePolicy(min_cell=int(context.run_config["min-cell"]))
    options = {
        "min_available_nodes": int(context.run_config["min-hospitals"]),
        "stage_timeout": float(context.run_config["stage-timeout"]),
    }
    for query in (QUESTION, BY_WARD):
        answer = ask(grid, query, release, **options)
        print(f"{answer.sites} hospitals, {answer.records} patients")
        for finding in answer.findings:
            print("  " + line(finding), flush=True)


def line(finding) -> str:
    """A finding in words."""
    what = " ".join([finding.statistic, *finding.columns] + ([f"in {finding.group}"] if finding.group else []))
    if finding.value is None:
        return f"{what}: {'nobody has one' if finding.suppressed == 'undefined' else f'hidden, {finding.suppressed}'}"
    if isinstance(finding.value, dict):
        ((low, high),) = finding.value["brackets"]
        return f"{what}: from {low:g} to {high:g}"
    return f"{what}: {float(finding.value):.6g}, off by at most {float(finding.error):.1g}"
