"""The data and the models: 1797 real digits of 8 by 8 pixels, and two ways to tell them apart."""

import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

NUM_CLASSES = 10
NUM_PIXELS = 64
TEST_DIGITS = 360


def load_data(partition_id: int, num_partitions: int):
    """Return one node's images and labels, and what it tests on; the server tests on the last TEST_DIGITS itself."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:-TEST_DIGITS] / 16, labels[:-TEST_DIGITS]
    mine = np.arange(partition_id, len(labels), num_partitions)
    held_out = len(mine) // 5
    train, test = mine[held_out:], mine[:held_out]
    return images[train], labels[train], images[test], labels[test]


def load_test_data():
    """Return the images and labels that no node has."""
    images, labels = load_digits(return_X_y=True)
    return images[-TEST_DIGITS:] / 16, labels[-TEST_DIGITS:]


class Softmax:
    """Multinomial logistic regression in numpy, trained by stochastic gradient descent."""

    def __init__(self) -> None:
        self.weights = np.zeros((NUM_PIXELS, NUM_CLASSES), dtype=np.float32)
        self.biases = np.zeros(NUM_CLASSES, dtype=np.float32)

    def get(self) -> list[np.ndarray]:
        return [self.weights, self.biases]

    def set(self, arrays: list[np.ndarray]) -> None:
        self.weights, self.biases = (array.copy() for array in arrays)

    def train(self, images, labels, epochs: int, learning_rate: float) -> float:
        for _ in range(epochs):
            for start in range(0, len(labels), 16):
                batch, wanted = images[start : start + 16], labels[start : start + 16]
                error = self.probabilities(batch)
                error[np.arange(len(wanted)), wanted] -= 1
                self.weights -= learning_rate * (batch.T @ error / len(wanted)).astype(np.float32)
                self.biases -= learning_rate * error.mean(axis=0).astype(np.float32)
        return self.loss(images, labels)

    def probabilities(self, images):
        logits = images @ self.weights + self.biases
        logits -= logits.max(axis=1, keepdims=True)
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def loss(self, images, labels) -> float:
        return float(-np.log(self.probabilities(images)[np.arange(len(labels)), labels] + 1e-12).mean())

    def accuracy(self, images, labels) -> float:
        return float((self.probabilities(images).argmax(axis=1) == labels).mean())


class Mlp:
    """scikit-learn's neural network with one hidden layer."""

    def __init__(self) -> None:
        self.network = MLPClassifier(hidden_layer_sizes=(32,), solver="sgd", batch_size=16, random_state=1)
        # One step at a rate of zero makes the arrays, the same ones everywhere, without training them.
        self.network.set_params(learning_rate_init=1e-12)
        images = np.zeros((NUM_CLASSES, NUM_PIXELS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the batch is larger than the data here
            self.network.partial_fit(images, np.arange(NUM_CLASSES), classes=np.arange(NUM_CLASSES))

    def get(self) -> list[np.ndarray]:
        return [*self.network.coefs_, *self.network.intercepts_]

    def set(self, arrays: list[np.ndarray]) -> None:
        half = len(arrays) // 2
        self.network.coefs_ = [array.copy() for array in arrays[:half]]
        self.network.intercepts_ = [array.copy() for array in arrays[half:]]

    def train(self, images, labels, epochs: int, learning_rate: float) -> float:
        self.network.set_params(learning_rate_init=learning_rate)
        if hasattr(self.network, "_optimizer"):
            del self.network._optimizer  # it holds the arrays of before
        for _ in range(epochs):
            self.network.partial_fit(images, labels)
        return float(self.network.loss_)

    def accuracy(self, images, labels) -> float:
        return float(self.network.score(images, labels))


def make_model(name: str):
    """Return a fresh model, the same everywhere."""
    return {"softmax": Softmax, "mlp": Mlp}[name]()
