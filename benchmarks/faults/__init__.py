"""`python -m benchmarks.faults`: inject every known fault and check the node's reaction.

fault.py says what a fault is. World (world.py) is a node with its robot in lockstep; robot.py and
packets.py make its faults, files.py those of the files, processes.py and over_dds.py those of
processes in real time. command.py runs them all and writes docs/safety_results.md.
"""
