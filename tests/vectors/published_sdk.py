"""Asks the published Python client about signed objects; reads and writes JSON, one verdict for each question."""

import json
import sys

from chio import invariants


def accepts(kind, text, now, max_depth):
    if kind == "receipt":
        report = invariants.verify_receipt_json(text)
        return report["signature_valid"] and report["parameter_hash_valid"]
    if kind == "capability":
        report = invariants.verify_capability_json(text, now, max_depth)
        return report["signature_valid"] and report["delegation_chain_valid"] and report["time_valid"]
    return all(invariants.verify_signed_manifest_json(text).values())


def verdict(question):
    try:
        return bool(accepts(question["kind"], question["text"], question["now"], question["max_depth"]))
    except Exception:  # It raises on much of what is malformed, in many ways.
        return False


json.dump([verdict(question) for question in json.load(sys.stdin)], sys.stdout)
