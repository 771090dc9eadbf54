"""`python -m benchmarks.ppo_paper`: repeat the comparison of objectives of the PPO paper's Table 1.

protocol.py lists the runs, training.py trains one of them, sweep.py trains all of them on every
core, results.py keeps the results, scores.py and report.py summarize them.
"""
