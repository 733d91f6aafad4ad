"""What to act on in a folder of supports before it is used: bad clips, wrong labels, copies, confusions."""

from __future__ import annotations

from a2m2_zoo.evaluation.bank_check.check import BankReport, Finding, check_bank, check_supports
from a2m2_zoo.evaluation.bank_check.growth import Growth
from a2m2_zoo.evaluation.bank_check.labels import Confusion

__all__ = ["BankReport", "Confusion", "Finding", "Growth", "check_bank", "check_supports"]
