"""The robot in a browser: mujoco's web viewer beside our own panel, behind one port of ours.

run.py       `robot-ppo play --web`: drive.py, the node and its robot in real time
watch.py     `robot-ppo sim --web`: a robot that a node in another process drives
page.py      starts the process that serves the page, and ends it
serve.py     that process: scene.py, gate.py and panel.py, fed through link.py

asked.py     what a page asks for        figures.py   what it shows
knobs.py     what it may change          steering.py  its command, and policies that take turns
pace.py      real time                   library.py   the policies there are

link.py      what goes to and fro between the two processes
scene.py     mujoco's viewer, on a socket that only this computer's user can open
gate.py      the one public port: who may connect, and to what
panel.py     the page's commands and figures: one drives, several look
"""
