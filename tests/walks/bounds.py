"""What a walk may amount to at most. A bound is lowered when the code allows it, and never raised without a reason.

Only walks without timers have bounds: the others differ by one or two from run to run.
"""

from tests.walks.tracer import Figures

BOUNDS = {"a": Figures(modules=23, walked=12, returns=9, leading_on=2, upward=0)}
"""By the walk's letter."""
