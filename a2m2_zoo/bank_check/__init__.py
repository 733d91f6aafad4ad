"""What to act on in a folder of supports before it is used: bad clips, wrong labels, copies, confusions."""

from __future__ import annotations

from .check import BankReport, Finding, check_bank, check_supports
from .growth import Growth
from .labels import Confusion

__all__ = ["BankReport", "Confusion", "Finding", "Growth", "check_bank", "check_supports"]
