"""The load witness: clients that send requests while something happens to a host, and report what they saw.

Tests use :class:`Witness`; its command line is ``python -m tests.support.witness http://127.0.0.1:8040``.
"""

from tests.support.witness.process import Window, Witness, WitnessError
from tests.support.witness.report import Phase, Report

__all__ = ["Phase", "Report", "Window", "Witness", "WitnessError"]
