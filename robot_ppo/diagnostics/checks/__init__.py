"""Signs of illness in a run: what `robot-ppo doctor` looks for."""
