"""A process that trains one run after the other, on one thread.

Imports nothing heavy by itself: the number of threads must stand in the environment before numpy
and torch are loaded.
"""

import os
import signal
import traceback
from multiprocessing.connection import Connection

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def serve(connection: Connection, steps: int) -> None:
    """Train what comes through the connection until it closes.

    Receives: a `Run`. Sends: ("done", (result, curve)) or ("failed", why). A run that is stopped by
    SIGTERM ends the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the sweep, which ends us
    os.environ |= dict.fromkeys(THREADS, "1")
    from robot_ppo.table1 import training

    while True:
        try:
            run = connection.recv()
        except EOFError:
            return
        try:
            answer = "done", training.train(run, steps)
        except training.Stopped:
            return
        except Exception as error:
            answer = "failed", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        connection.send(answer)
