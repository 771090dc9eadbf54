"""Reasons: a code that programs compare, and a sentence for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Its code is the name of a guard, a check or one of the codes of the module that gives it. It
    does not change from tick to tick; the sentence does, with the values in it.
    """

    code: str
    text: str

    def __str__(self) -> str:
        """Return the sentence."""
        return self.text

    def adding(self, text: str) -> "Reason":
        """Return the same reason, whose sentence ends in `text`."""
        return Reason(self.code, f"{self.text}; {text}")
