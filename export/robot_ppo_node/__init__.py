"""The runtime on the robot: the envelope, the drivers, the recorder and the state machine.

Import order, one way: clock, commands, safety, drivers, recorder, log -> node -> replay.
"""
