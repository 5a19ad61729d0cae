"""`python -m tests.walks [--walk a] [--verbose]`: the figures of the walks, and with `--verbose` their paths."""

from __future__ import annotations

import argparse
import asyncio
import logging

from tests.walks.scenarios import WALKS
from tests.walks.tracer import traced


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.walks", description="What a request walks through.")
    parser.add_argument("--walk", choices=WALKS, action="append", help="one of them; all of them if not given")
    parser.add_argument("--verbose", action="store_true", help="print the path, too")
    options = parser.parse_args()
    logging.disable()
    print(f"  {'':32} modules  walked  returns  leading on  upward")
    for name in options.walk or WALKS:
        title, scenario = WALKS[name]
        walk = asyncio.run(traced(scenario))
        modules, walked, returns, leading_on, upward = walk.figures()
        print(f"{name} {title:32} {modules:7}  {walked:6}  {returns:7}  {leading_on:10}  {upward:6}")
        if options.verbose:
            print("", *walk.path(), "", sep="\n    ")


if __name__ == "__main__":
    main()
