"""A process that trains one run after the other. It alone loads torch."""

import signal
import traceback
from multiprocessing.connection import Connection


def serve(connection: Connection, steps: int) -> None:
    """Train what comes through the connection until it closes.

    Receives: a `Run`. Sends: ("done", (result, curve)) or ("failed", why). A run that is stopped by
    SIGTERM ends the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the sweep, which ends us
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
