"""`robot-ppo bench table1`: the comparison of objectives of the PPO paper's Table 1, again.

protocol.py says what is compared, training.py trains one run, worker.py and sweep.py train them
all on every core, results.py keeps them, scores.py and report.py say what came out.
"""
