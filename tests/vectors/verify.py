"""Verifies spec/vectors with nothing but Python's standard library.

An independent second opinion on the golden vectors: canonical JSON, SHA-256, strict Ed25519, tokens, proofs of
possession, receipts, delegations, the log, manifests and the outer form of frames are judged here by code that shares
nothing with the Rust crates. Constraints and the inner form of frames are left to the library.

Use: python3 tests/vectors/verify.py spec/vectors
"""

import hashlib
import json
import re
import struct
import sys
from pathlib import Path

from delegations import admission_fault

HEX = re.compile(r"[0-9a-f]*\Z")
MAX_DEPTH, MAX_FRAME, SAFE = 64, 16 << 20, 2**53 - 1


class Refused(ValueError):
    """What a strict reader does not accept."""


# Canonical JSON -----------------------------------------------------------------------------------------------------


def members(pairs):
    if len(dict(pairs)) != len(pairs):
        raise Refused("duplicate key")
    return dict(pairs)


def integer(text):
    number = int(text)
    return number if -(2**63) <= number < 2**64 and text != "-0" else double(text)


def double(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Refused("number out of range")
    return number


def constant(text):
    raise Refused(f"{text} is not JSON")


def parse(text):
    value = json.loads(
        text, object_pairs_hook=members, parse_int=integer, parse_float=double, parse_constant=constant
    )
    check(value, 0)
    return value


def check(value, depth):
    if isinstance(value, str) and any(0xD800 <= ord(char) < 0xE000 for char in value):
        raise Refused("lone surrogate")
    if isinstance(value, (dict, list)):
        if depth == MAX_DEPTH:
            raise Refused("too deep")
        for item in value.items() if isinstance(value, dict) else value:
            for part in item if isinstance(value, dict) else [item]:
                check(part, depth + 1)


def canonical(value):
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{quoted(key)}:{canonical(item)}" for key, item in ordered) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float):
        return ecmascript(value)
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def quoted(text):
    return '"' + "".join(SHORT.get(ord(c)) or (f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def ecmascript(number):
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    tail = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def sha256(value):
    return hashlib.sha256(canonical(value).encode()).hexdigest()


# Strict Ed25519 (RFC 8032, section 5.1) -------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    k, l = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    m, n = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = l - k, n - m, n + m, l + k
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def equal(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def point(data):
    """The point, or the reason why this is no usable one."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None, "not_canonical"
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None, "not_a_point"
    if x & 1 != sign:
        x = P - x
    found = (x % P, y, 1, x * y % P)
    return (None, "weak") if equal(times(8, found), NEUTRAL) else (found, None)


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))[0]


def digits(text, length):
    if not isinstance(text, str) or len(text) != length or not HEX.match(text):
        raise Refused("not the hexadecimal digits that belong here")
    return bytes.fromhex(text)


def verifies(key, message, signature):
    try:
        key, signature = digits(key, 64), digits(signature, 128)
    except Refused:
        return False
    holder, r, s = point(key)[0], point(signature[:32])[0], int.from_bytes(signature[32:], "little")
    if holder is None or r is None or s >= L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    return equal(times(s, BASE), add(r, times(challenge, holder)))


def signs(key, value, signature):
    return verifies(key, canonical(value).encode(), signature)


def unsigned(value):
    return {name: item for name, item in value.items() if name not in ("signature", "algorithm")}


def self_signed(value, key):
    return value.get("algorithm", "ed25519") == "ed25519" and signs(value.get(key), unsigned(value), value.get("signature"))


def seconds(value):
    return type(value) is int and value >= 0


# The files ------------------------------------------------------------------------------------------------------------


def read(text):
    try:
        return parse(text)
    except (ValueError, RecursionError):
        return Refused


def judge_canonical(case):
    value = read(case["text"])
    return {"canonical": None if value is Refused else canonical(value)}


def judge_hashing(case):
    if case["of"] == "value":
        return {"sha256": sha256(parse(case["text"]))}
    if case["of"] == "stream":
        texts = [canonical(parse(chunk)).encode() for chunk in case["chunks"]]
        hashes = [hashlib.sha256(text).hexdigest() for text in texts]
        whole = hashlib.sha256("".join(hashes).encode()).hexdigest()
        return {"chunk_hashes": hashes, "total_bytes": sum(map(len, texts)), "content_hash": whole}
    text = canonical(parse(case["text"])).encode()
    if len(text) > case["limit_bytes"]:
        digest = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        text = canonical({"chio_digest": digest}).encode()
    return {"parameters": text.decode(), "parameter_hash": hashlib.sha256(text).hexdigest()}


def judge_keys(case):
    if "seed" in case:
        digest = hashlib.sha512(bytes.fromhex(case["seed"])).digest()
        scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        x, y, z, _ = times(scalar, BASE)
        x, y = x * pow(z, P - 2, P) % P, y * pow(z, P - 2, P) % P
        return {"key": (y | (x & 1) << 255).to_bytes(32, "little").hex()}
    try:
        return {"fault": point(digits(case["key"], 64))[1]}
    except Refused:
        return {"fault": "not_hex"}


def judge_signatures(case):
    return {"valid": verifies(case["public_key"], case["message"].encode(), case["signature"])}


def links_hold(token, limit):
    chain = token.get("delegation_chain", [])
    if not isinstance(chain, list) or limit is not None and len(chain) > limit:
        return False
    before = None
    for link in chain:
        body = {name: item for name, item in link.items() if name != "signature"}
        if not seconds(link.get("timestamp")) or not signs(link.get("delegator"), body, link.get("signature")):
            return False
        if before and (before["delegatee"] != link["delegator"] or before["timestamp"] > link["timestamp"]):
            return False
        before = link
    return True


def judge_capabilities(case):
    token, expected = read(case["token"]), dict(case["expected"])
    expected.pop("usable")
    if not isinstance(token, dict):
        return {"expected": {**case["expected"], "signature_valid": False, "delegation_chain_valid": False, "time_status": None}}
    start, end, now, status = token.get("issued_at"), token.get("expires_at"), case["now"], None
    if seconds(start) and seconds(end):
        status = "expired" if now >= end else "not_yet_valid" if now < start else "valid"
    found = {
        "signature_valid": self_signed(token, "issuer"),
        "delegation_chain_valid": links_hold(token, case["max_depth"]),
        "time_status": status,
    }
    return {"expected": {**case["expected"], **found}}


def judge_delegations(case):
    ancestors = [parse(text) for text in case["ancestors"]]
    fault = admission_fault(parse(case["token"]), ancestors, case["trusted_issuers"], case["max_depth"])
    return {"fault": fault}


def judge_dpop(case):
    proof, call = parse(case["proof"]), case["call"]
    body, now = proof["body"], call["now"]
    fault = None
    known = {"action_hash", "agent_key", "capability_id", "issued_at", "nonce", "schema", "tool_name", "tool_server"}
    if set(body) != known or body["schema"] != "chio.dpop_proof.v1" or not 1 <= len(body["nonce"]) <= 256:
        fault = "malformed"
    elif body["agent_key"] != call["subject"]:
        fault = "wrong_key"
    else:
        wanted = {**call, "action_hash": sha256(parse(call["arguments"]))}
        order = ("capability_id", "tool_server", "tool_name", "action_hash")
        fault = next((name for name in order if body[name] != wanted[name]), None)
    if fault is None and body["issued_at"] > now + 30:
        fault = "from_the_future"
    if fault is None and body["issued_at"] + 300 < now:
        fault = "expired"
    if fault is None and not signs(call["subject"], body, proof["signature"]):
        fault = "signature"
    return {"fault": fault, "keep_until": body["issued_at"] + 330 if fault is None else None}


def judge_receipts(case):
    receipt = read(case["receipt"])
    receipt = receipt if isinstance(receipt, dict) else {}
    action, decision = receipt.get("action", {}), receipt.get("decision", {})
    verdict = decision.get("verdict")
    verdict = verdict if verdict in ("allow", "deny", "cancelled", "incomplete") else None
    signed = self_signed(receipt, "kernel_key")
    hashed = "parameters" in action and sha256(action["parameters"]) == action.get("parameter_hash")
    trust = "invalid"
    if signed and hashed and verdict:
        trust = "trusted" if receipt["kernel_key"] in case["trusted"] else "integrity_only"
    found = {"signature_valid": signed, "parameter_hash_valid": hashed, "decision": verdict, "trust": trust}
    return {"expected": {**case["expected"], **found}}


def leaf(text):
    return hashlib.sha256(b"\0" + text.encode()).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaves):
    """RFC 6962, section 2.1, as it is written there."""
    if len(leaves) < 2:
        return leaf(leaves[0]) if leaves else hashlib.sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root(leaves[:split]), root(leaves[split:]))


def hashes(texts):
    return [digits(text[2:], 64) for text in texts]


def included(start, index, size, path, expected):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    at, last, current = index, size - 1, start
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            current = node(sibling, current)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            current = node(current, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and current == expected


def consistent(old, old_root, new, new_root, path):
    """RFC 9162, section 2.1.4.2."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old & (old - 1) == 0:
        path = [old_root, *path]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node(sibling, first), node(sibling, second)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            second = node(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def checkpoint_fault(checkpoint):
    body, named = checkpoint["body"], "previous_checkpoint_sha256"
    known = {"batch_end_seq", "batch_start_seq", "checkpoint_seq", "issued_at", "kernel_key", "merkle_root", "schema", "tree_size"}
    if set(body) - {named} != known or body["schema"] != "chio.checkpoint_statement.v1":
        return "malformed"
    if point(digits(body["kernel_key"], 64))[0] is None:
        return "key"
    if not signs(body["kernel_key"], body, checkpoint["signature"]):
        return "signature"
    first = body["checkpoint_seq"] == 1
    fits = body["checkpoint_seq"] >= 1 and body["batch_end_seq"] == body["tree_size"]
    fits = fits and 1 <= body["batch_start_seq"] <= body["batch_end_seq"]
    fits = fits and (named not in body) == first and (body["batch_start_seq"] == 1) == first
    return None if fits else "inconsistent"


def successor_fault(case):
    old, new = parse(case["previous"]), parse(case["next"])
    alone = checkpoint_fault(old) or checkpoint_fault(new)
    if alone:
        return alone
    before, after = old["body"], new["body"]
    follows = after["checkpoint_seq"] == before["checkpoint_seq"] + 1
    follows = follows and after["batch_start_seq"] == before["batch_end_seq"] + 1
    if not follows or after["previous_checkpoint_sha256"] != sha256(before):
        return "not_successor"
    roots = hashes([before["merkle_root"], after["merkle_root"]])
    grew = consistent(before["tree_size"], roots[0], after["tree_size"], roots[1], hashes(case["consistency"]))
    return None if grew else "not_extension"


def bundle_holds(bundle):
    if set(bundle) != {"checkpoint", "inclusion", "receipt"} or checkpoint_fault(bundle["checkpoint"]):
        return False
    receipt, inclusion, body = bundle["receipt"], bundle["inclusion"], bundle["checkpoint"]["body"]
    proof = inclusion["proof"]
    agrees = inclusion["checkpoint_seq"] == body["checkpoint_seq"] and inclusion["merkle_root"] == body["merkle_root"]
    agrees = agrees and proof["tree_size"] == body["tree_size"] and proof["leaf_index"] == inclusion["leaf_index"]
    agrees = agrees and inclusion["receipt_seq"] == inclusion["leaf_index"] + 1
    expected = hashes([body["merkle_root"]])[0]
    start = leaf(canonical(receipt))
    agrees = agrees and included(start, proof["leaf_index"], proof["tree_size"], hashes(proof["audit_path"]), expected)
    return agrees and self_signed(receipt, "kernel_key")


def judge_log(case):
    kind = case["of"]
    if kind == "root":
        return {"root": "0x" + root(case["leaves"]).hex()}
    if kind == "inclusion":
        path, expected = hashes(case["path"]), hashes([case["root"]])[0]
        return {"valid": included(leaf(case["leaf"]), case["index"], case["size"], path, expected)}
    if kind == "consistency":
        roots = hashes([case["old_root"], case["new_root"]])
        return {"valid": consistent(case["old"], roots[0], case["new"], roots[1], hashes(case["path"]))}
    if kind == "checkpoint":
        return {"fault": checkpoint_fault(parse(case["checkpoint"]))}
    if kind == "successor":
        return {"fault": successor_fault(case)}
    return {"valid": bundle_holds(parse(case["bundle"]))}


def judge_manifests(case):
    signed = parse(case["signed_manifest"])
    manifest, expected = signed.get("manifest"), case["expected"]
    if manifest is None:
        return {"expected": dict.fromkeys(expected, False)}
    embedded = manifest["public_key"]
    valid = point(digits(embedded, 64))[0] is not None
    found = {
        "signature_valid": signs(signed["signer_key"], manifest, signed["signature"]),
        "embedded_public_key_valid": valid,
        "embedded_public_key_matches_signer": valid and embedded == signed["signer_key"],
    }
    return {"expected": {**expected, **found}}


def judge_frames(case):
    data, outcome = bytes.fromhex(case["bytes"]), case["outcome"]
    if len(data) < 4:
        return {"outcome": "incomplete"}
    (length,) = struct.unpack(">I", data[:4])
    if length > MAX_FRAME:
        return {"outcome": "message_too_large"}
    if len(data) < 4 + length:
        return {"outcome": "incomplete"}
    try:
        text = data[4 : 4 + length].decode()
        if canonical(parse(text)) == text:
            # Which canonical texts are messages is the schema's business.
            return {"outcome": outcome if outcome in ("message", "not_of_family") else "message"}
    except ValueError:
        pass
    return {"outcome": "not_canonical"}


FILES = (
    "canonical", "hashing", "keys", "signatures", "capabilities", "delegations", "dpop", "receipts", "log", "manifests",
    "frames",
)  # fmt: skip


def main(folder):
    count, faults = 0, []
    for name in FILES:
        cases = json.loads((Path(folder) / f"{name}.json").read_text("utf-8"))["cases"]
        for case in cases:
            found = globals()[f"judge_{name}"](case)
            faults += [
                f"{name}/{case['id']}: {key} is {value!r} here and {case[key]!r} in the file"
                for key, value in found.items()
                if case[key] != value
            ]
        count += len(cases)
    if faults:
        sys.exit("\n".join(faults))
    print(f"{count} vectors agree with an independent verifier")


if __name__ == "__main__":
    main(sys.argv[1])
