"""Every guard of the safety envelope, in the order in which they run.

What a robot measures is judged by state_guards.py, what it is to be told by target_guards.py. A
guard is one function and one line of a table (guard.py).
"""

from robot_ppo_node.safety.state_guards import STATE_GUARDS
from robot_ppo_node.safety.target_guards import TARGET_GUARDS

GUARDS = STATE_GUARDS + TARGET_GUARDS
"""Bit i of the log's `guards` is entry i."""
