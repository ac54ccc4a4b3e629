"""Lets the published chio-sdk verify the receipts in a file, one by one; prints what it says about each."""

import json
import sys

from chio.invariants import verify_receipt_json

with open(sys.argv[1]) as file:
    # A receipt stands on a line of its own, exactly as it was signed.
    lines = [line.rstrip().rstrip(",") for line in file]
verdicts = [verify_receipt_json(line) for line in lines if line.startswith("{")]
json.dump(verdicts, sys.stdout)
