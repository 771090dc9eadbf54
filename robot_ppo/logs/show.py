"""`robot-ppo log`: show a log of the node as text, a picture or an MCAP file."""

from pathlib import Path

from robot_ppo.logs import mcap as mcap_file
from robot_ppo.logs import plot as picture
from robot_ppo.logs.log import Log
from robot_ppo.logs.summary import summary


def show(path: Path, mcap: Path | None, plot: Path | None) -> None:
    """Print the summary of the log at `path`; write the MCAP file and the picture if given."""
    log = Log.load(path)
    print(summary(log))
    if mcap:
        mcap_file.write(log, mcap)
        print(f"\nMCAP: {mcap}")
    if plot:
        picture.write(log, plot)
        print(f"\nPlot: {plot}")
