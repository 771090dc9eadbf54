"""Tasks that are a function of the robot's model: docs/any_robot.md."""
