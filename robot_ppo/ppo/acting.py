"""An actor in use: arrays in, mean actions out, with its memory between the steps."""

import numpy as np
import torch

from robot_ppo.ppo.networks import Actor


class Acting:
    """The mean action of an actor as a function of arrays; it remembers where the actor does."""

    def __init__(self, actor: Actor) -> None:
        """Start without memory."""
        self._actor = actor
        self._state: torch.Tensor | None = None

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Return raw actions (n, k) of the next observations (n, size), of always the same n."""
        return self.with_latent(observations)[0]

    @torch.no_grad()
    def with_latent(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return raw actions, and the latents (n, width) of which they are made."""
        if self._state is None:
            self._state = torch.zeros(len(observations), self._actor.state_size)
        latent, self._state = self._actor.encode_step(torch.from_numpy(observations), self._state)
        return self._actor.decode(latent)[0].numpy(), latent.numpy()

    def reset(self, ids: np.ndarray) -> None:
        """Forget what the simulations `ids`, (n,) bool, remember: their episodes are over."""
        if self._state is not None:
            self._state[torch.from_numpy(ids)] = 0.0

    @property
    def state(self) -> np.ndarray | None:
        """(n, S) that is remembered; None: nothing yet."""
        return None if self._state is None else self._state.numpy()

    @state.setter
    def state(self, state: np.ndarray) -> None:
        self._state = torch.from_numpy(state)
