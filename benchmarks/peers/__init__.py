"""The same task learned by `robot-ppo` and by other libraries, side by side."""
