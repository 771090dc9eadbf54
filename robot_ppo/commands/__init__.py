"""The commands of `robot-ppo`, by what they are about."""
