"""`robot-ppo tune`: search over settings, judged by behaviour."""
