"""What is run: settings that the model is fitted to, and others that it has to predict."""

from dataclasses import dataclass

from benchmarks.rank_runs import Setting

INFINITE = float("inf")
MEGABYTE = 1e6


@dataclass(frozen=True)
class Run:
    """One measured setting."""

    ranks: int
    per_rank: int
    """Simulations of a rank."""
    minibatches: int = 4
    form: str = "float32"
    delay: float = 0.0
    """One way, injected [s]."""
    bandwidth: float = INFINITE
    """Injected [bytes/s]."""
    held_out: bool = False

    @property
    def name(self) -> str:
        """A short description."""
        network = f", {1e3 * self.delay:g} ms" if self.delay else ""
        if self.bandwidth < INFINITE:
            network += f", {self.bandwidth / MEGABYTE:g} MB/s"
        return f"{self.ranks} x {self.per_rank}, {self.minibatches} mb, {self.form}{network}"

    @property
    def slowed(self) -> bool:
        """Whether delay or bandwidth is injected."""
        return self.delay > 0 or self.bandwidth < INFINITE

    def setting(self, cores: tuple[int, ...]) -> Setting:
        """Return what is started; a single rank keeps to the first of the cores."""
        return Setting(
            self.ranks,
            (
                f"num_envs={self.ranks * self.per_rank}",
                f"ppo.minibatches={self.minibatches}",
                f"ppo.reduction={self.form}",
                "threads=1",
            ),
            cores[:1] if self.ranks == 1 else (),
        )


FITTED = (
    Run(1, 256),
    Run(1, 1024),
    Run(1, 512, minibatches=16),
    Run(2, 512),
    Run(2, 256),
    Run(2, 512, form="int8"),
    Run(2, 512, delay=4e-3),
    Run(2, 512, bandwidth=20 * MEGABYTE),
    Run(3, 256),
    Run(4, 256),
    Run(4, 256, form="int8", delay=2e-3),
    Run(4, 256, delay=2e-3),
)
HELD_OUT = (
    Run(1, 768, minibatches=8, held_out=True),
    Run(2, 384, minibatches=8, held_out=True),
    Run(2, 768, delay=2e-3, held_out=True),
    Run(2, 512, minibatches=8, form="int8", delay=4e-3, held_out=True),
    Run(3, 384, delay=3e-3, held_out=True),
    Run(4, 384, bandwidth=40 * MEGABYTE, held_out=True),
)
