"""Whether a delegated token may be admitted: the rules of attenuation, written a second time for verify.py.

The signatures of all tokens in delegations.json are good; capabilities.json asks about those.
"""


def admission_fault(token, ancestors, trusted, max_depth):
    """The first fault from the root downwards, or None."""
    chain = links(token)
    if len(chain) > max_depth:
        return "too_deep"
    if len(ancestors) > len(chain):
        return "ancestor_count"
    for place, link in enumerate(chain):
        if place >= len(ancestors) or ancestors[place]["id"] != link["capability_id"]:
            return "ancestor_unknown"
    lineage = [*ancestors, token]
    if lineage[0]["issuer"] not in trusted:
        return "issuer_untrusted"
    if links(lineage[0]):
        return "chain"
    faults = (step_fault(parent, child) for parent, child in zip(lineage, lineage[1:]))
    return next((fault for fault in faults if fault), None)


def links(token):
    return token.get("delegation_chain", [])


def step_fault(parent, child):
    chain = links(child)
    if not chain or chain[:-1] != links(parent):
        return "chain"
    link = chain[-1]
    if link["capability_id"] != parent["id"]:
        return "parent_id"
    if any(link["capability_id"] == child["id"] for link in chain):
        return "id_reused"
    if link["delegator"] != parent["subject"]:
        return "delegator"
    if link["delegatee"] != child["subject"]:
        return "delegatee"
    if child["issuer"] != link["delegator"]:
        return "issuer"
    if not parent["issued_at"] <= link["timestamp"] < parent["expires_at"]:
        return "timestamp"
    if child["issued_at"] < link["timestamp"]:
        return "issued_before_link"
    if child["expires_at"] > parent["expires_at"]:
        return "expires_after_parent"
    wider = scope_fault(child["scope"], parent["scope"])
    if wider:
        return "wider_" + wider
    kept = all(holds(attenuation, child) for attenuation in link.get("attenuations", []))
    return None if kept else "undeclared"


# The rules, in the order in which they are tried; a parent grant that gets furthest names the fault.
RULES = [
    "target", "delegate", "operations", "max_invocations", "constraints", "max_cost_per_invocation", "max_total_cost",
    "dpop_required",
]  # fmt: skip


def scope_fault(child, parent):
    for kind in ("grants", "resource_grants", "prompt_grants"):
        for own in child.get(kind, []):
            faults = [grant_fault(kind, own, origin) for origin in parent.get(kind, [])]
            if None not in faults:
                return max([*faults, "target"], key=RULES.index)
    return None


def grant_fault(kind, own, origin):
    if not covers(kind, own, origin):
        return "target"
    if "delegate" not in origin["operations"]:
        return "delegate"
    if not set(own["operations"]) <= set(origin["operations"]):
        return "operations"
    if "max_invocations" in origin and own.get("max_invocations", float("inf")) > origin["max_invocations"]:
        return "max_invocations"
    if any(constraint not in own.get("constraints", []) for constraint in origin.get("constraints", [])):
        return "constraints"
    for cost in ("max_cost_per_invocation", "max_total_cost"):
        if cost in origin and not cheaper(own.get(cost), origin[cost]):
            return cost
    if origin.get("dpop_required") and not own.get("dpop_required"):
        return "dpop_required"
    return None


def covers(kind, own, origin):
    if kind == "grants":
        return all(origin[name] in ("*", own[name]) for name in ("server_id", "tool_name"))
    name = "uri_pattern" if kind == "resource_grants" else "prompt_name"
    wide, narrow = origin[name], own[name]
    if wide in ("*", narrow):
        return True
    climbs = kind == "resource_grants" and ".." in narrow.replace("?", "/").replace("#", "/").split("/")
    return wide.endswith("*") and narrow.startswith(wide[:-1]) and not climbs


def cheaper(own, limit):
    return own is not None and own["currency"] == limit["currency"] and own["units"] <= limit["units"]


def holds(attenuation, child):
    kind = attenuation["type"]
    if kind == "shorten_expiry":
        return child["expires_at"] <= attenuation["new_expires_at"]
    concerned = [
        grant
        for grant in child["scope"].get("grants", [])
        if all(
            grant[name] == attenuation[name] or "*" in (grant[name], attenuation[name])
            for name in ("server_id", "tool_name")
        )
    ]
    keeps = {
        "remove_tool": lambda grant: False,
        "remove_operation": lambda grant: attenuation["operation"] not in grant["operations"],
        "add_constraint": lambda grant: attenuation["constraint"] in grant.get("constraints", []),
        "reduce_budget": lambda grant: grant.get("max_invocations", float("inf")) <= attenuation["max_invocations"],
        "reduce_cost_per_invocation": lambda grant: cheaper(
            grant.get("max_cost_per_invocation"), attenuation["max_cost_per_invocation"]
        ),
        "reduce_total_cost": lambda grant: cheaper(grant.get("max_total_cost"), attenuation["max_total_cost"]),
    }[kind]
    return all(keeps(grant) for grant in concerned)
