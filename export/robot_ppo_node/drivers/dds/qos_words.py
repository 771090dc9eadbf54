"""Quality of service in words, as far as it decides whether a writer and a reader connect.

in_words(endpoint.qos)       # "reliable, transient local"
"""

from typing import Any

WORDS = {
    "Reliability.Reliable": "reliable",
    "Reliability.BestEffort": "best effort",
    "Durability.Volatile": "volatile",
    "Durability.TransientLocal": "transient local",
    "Durability.Transient": "transient",
    "Durability.Persistent": "persistent",
    "Ownership.Exclusive": "exclusive ownership",
}
"""Policy -> words; the ownership that is not named is shared."""
NEVER = 2**63 - 1
"""[ns] Of a deadline that nobody has set."""


def in_words(qos: Any) -> str:
    """Return the settings of a writer or reader."""
    from cyclonedds.core import Policy

    stated = [str(policy).partition("(")[0].removeprefix("Policy.") for policy in qos]
    words = [text for name, text in WORDS.items() if name in stated]
    for policy in qos:
        if isinstance(policy, Policy.Partition) and any(policy.partitions):
            words.append(f"partition {', '.join(policy.partitions)}")
        if isinstance(policy, Policy.Deadline) and policy.deadline < NEVER:
            words.append(f"a deadline of {policy.deadline / 1e9:g} s")
    return ", ".join(words)
