"""Writes the golden vectors into fuzz/corpus, one file for each input of each target."""

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).parent
VECTORS = HERE.parent / "spec" / "vectors"


def cases(name):
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))["cases"]


def texts(name, member):
    return [case[member].encode("utf-8", "surrogatepass") for case in cases(name)]


SEEDS = {
    "frame": [bytes.fromhex(case["bytes"]) for case in cases("frames")],
    "canonical": texts("canonical", "text") + texts("capabilities", "token") + texts("receipts", "receipt"),
    "token": texts("capabilities", "token") + texts("delegations", "token"),
    "receipt": texts("receipts", "receipt"),
}

for target, inputs in SEEDS.items():
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    print(f"{target}: {len(inputs)} seeds")
