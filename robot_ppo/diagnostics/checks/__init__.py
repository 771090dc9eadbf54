"""Checks of `robot-ppo doctor`: each recognizes one way in which a training goes wrong."""
