"""The figures that the project publishes, measured from a checkout; not part of the wheel.

python -m benchmarks.speed env --json FILE     # beside the raw engine, Gymnasium, the clock
python -m benchmarks.generated                 # robots that nobody has seen: how many walk
python -m benchmarks.scaling                   # the cost of an iteration on more processes
python -m benchmarks.faults                    # every fault, injected into a walking robot
python -m benchmarks.ppo_paper                 # the objectives of the PPO paper's Table 1
python -m benchmarks.peers                     # beside other learning libraries
"""
