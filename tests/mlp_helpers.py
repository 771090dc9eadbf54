"""A normalizer and an MLP as plain arrays: what tests build policy files from."""

from dataclasses import dataclass

import numpy as np

from robot_ppo_export import to_onnx


@dataclass
class PlainMlp:
    """The weights, which a test may change."""

    mean: np.ndarray
    std: np.ndarray
    obs_clip: float
    layers: list[tuple[np.ndarray, np.ndarray]]
    """Weight (out, in) and bias (out,) of each layer, the last one the output."""
    activation: str

    def blocks(self) -> list[to_onnx.Block]:
        """Return the list of blocks that the ONNX writer takes."""
        blocks: list[to_onnx.Block] = [to_onnx.Normalizer(self.mean, self.std, self.obs_clip)]
        for weight, bias in self.layers:
            blocks += [to_onnx.Linear(weight, bias), to_onnx.Activation(self.activation)]
        return blocks[:-1]
