"""The order of the suite."""

WAITING = ("test_node_cli", "test_watchdog_dds", "test_node_bench", "test_watchdog")
"""Files that wait in real time, the longest of all: they come first, so that no worker is left
alone with one at the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in WAITING)  # stable: files stay together
