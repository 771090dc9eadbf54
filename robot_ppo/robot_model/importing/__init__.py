"""A model file of somebody's robot, MJCF or URDF -> `robots/NAME/`: robot.yaml, MJCF, report."""
