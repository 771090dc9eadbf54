"""The algorithm: networks, rollout, advantages, objectives, update. Knows nothing of robots."""
