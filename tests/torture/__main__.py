"""`python -m tests.torture --rounds 2000 --seed 1`: see docs/reliability.md."""

import argparse
import sys

from tests.torture.rounds import run

parser = argparse.ArgumentParser(prog="tests.torture")
parser.add_argument("--rounds", type=int, default=200)
parser.add_argument("--seed", type=int, default=1)
asked = parser.parse_args()
sys.exit(run(asked.rounds, asked.seed))
