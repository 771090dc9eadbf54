"""Logs of the node, looked at afterwards; the node writes them (robot_ppo_node)."""
