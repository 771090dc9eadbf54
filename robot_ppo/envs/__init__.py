"""The simulated world: a gymnasium VectorEnv over mujoco.batch."""
