"""The robot in a browser: mujoco's web viewer beside our own panel, behind one port of ours.

drive.py     the node and its robot in real time, and what the page may ask of them
link.py      what goes to and fro between that process and the one that serves the page
scene.py     mujoco's viewer, on a socket that only this computer's user can open
gate.py      the one public port: who may connect, and to what
panel.py     the page's commands and figures: one drives, several look
serve.py     the process of the last three
run.py       `robot-ppo play --web`
"""
