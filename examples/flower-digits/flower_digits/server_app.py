"""flower-digits: the ServerApp."""

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from flower_digits.task import load_test_data, make_model
from protocols.flower import SecAgg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train by federated averaging, and test on digits that no node has."""
    name = str(context.run_config["model"])

    def test(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        model = make_model(name)
        model.set(arrays.to_numpy_ndarrays())
        return MetricRecord({"accuracy": model.accuracy(*load_test_data())})

    strategy = FedAvg(
        fraction_evaluate=0.0,  # its metrics would be in clear; training returns them under masks
        min_train_nodes=int(context.run_config["min-nodes"]),
        min_available_nodes=int(context.run_config["min-nodes"]),
    )
    stage_timeout = float(context.run_config["stage-timeout"])
    strategy = SecAgg(strategy, metrics=["train_loss", "accuracy_before"], stage_timeout=stage_timeout)
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(make_model(name).get()),
        num_rounds=int(context.run_config["num-server-rounds"]),
        timeout=float(context.run_config["train-timeout"]),
        evaluate_fn=test,
    )
    accuracy = result.evaluate_metrics_serverapp[int(context.run_config["num-server-rounds"])]["accuracy"]
    print(f"accuracy on the server's digits: {accuracy:.3f}")
