"""Read, summarize, draw and convert the logs that robot_ppo_node writes."""
