//! The receipt log: roots, proofs, checkpoints and bundles.

use std::collections::BTreeMap;

use chio_core::checkpoint::{CheckpointFault, verify, verify_successor};
use chio_core::merkle::{
    Frontier, MerkleFault, NodeId, consistency_proof, inclusion_proof, leaf_hash, verify_consistency,
    verify_inclusion, verify_receipt,
};
use chio_json::{MerkleHash, strict};
use chio_spec::{KernelCheckpoint, ReceiptProofBundle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::family::{Family, Named, named, same};
use crate::make::{KERNEL, NOW, STRANGER, hash, public, sign, signature, tampered, text, with, without};
use crate::receipts;

pub(crate) enum Log {}

#[derive(Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub(crate) enum Case {
    Root {
        leaves: Vec<String>,
        root: MerkleHash,
    },
    Inclusion {
        leaf: String,
        index: u64,
        size: u64,
        path: Vec<MerkleHash>,
        root: MerkleHash,
        valid: bool,
    },
    Consistency {
        old: u64,
        old_root: MerkleHash,
        new: u64,
        new_root: MerkleHash,
        path: Vec<MerkleHash>,
        valid: bool,
    },
    Checkpoint {
        checkpoint: String,
        fault: Option<String>,
    },
    Successor {
        previous: String,
        next: String,
        consistency: Vec<MerkleHash>,
        fault: Option<String>,
    },
    Bundle {
        bundle: String,
        valid: bool,
    },
}

impl Family for Log {
    const NAME: &'static str = "log";
    const ABOUT: &'static str = "The receipt log as an RFC 6962 tree. `root`: the root over these leaves, given as \
        text. `inclusion`, `consistency`: whether the proof leads to the roots. `checkpoint`: whether it holds by \
        itself. `successor`: whether `next` directly follows `previous` and the log only grew. `bundle`: whether \
        receipt, proof and checkpoint belong together; the leaf is the canonical text of the whole signed receipt.";
    type Case = Case;

    fn cases() -> Vec<Named<Case>> {
        let tree = Tree::of(&(0..9).map(|leaf| format!("leaf-{leaf}")).collect::<Vec<_>>());
        let mut cases = tree.proofs();
        cases.extend(spoilt_proofs(&tree));
        cases.extend(checkpoints(&tree));
        cases.extend(bundles());
        cases
    }

    fn judge(case: &Case) -> Result<(), String> {
        match case {
            Case::Root { leaves, root } => same("root", *root, Tree::of(leaves).root(leaves.len())),
            Case::Inclusion { leaf, index, size, path, root, valid } => {
                let verdict = verify_inclusion(&leaf_hash(leaf.as_bytes()), *index, *size, path, root);
                same("valid", *valid, verdict.is_ok())
            }
            Case::Consistency { old, old_root, new, new_root, path, valid } => {
                same("valid", *valid, verify_consistency(*old, *new, old_root, new_root, path).is_ok())
            }
            Case::Checkpoint { checkpoint, fault } => {
                let found = match strict::from_str::<KernelCheckpoint>(checkpoint) {
                    Ok(checkpoint) => verify(&checkpoint).err().as_ref().map(name),
                    Err(_) => Some("malformed"),
                };
                same("fault", fault.as_deref(), found)
            }
            Case::Successor { previous, next, consistency, fault } => {
                let read = |text: &str| strict::from_str::<KernelCheckpoint>(text).unwrap();
                let found = verify_successor(&read(previous), &read(next), consistency).err();
                same("fault", fault.as_deref(), found.as_ref().map(name))
            }
            Case::Bundle { bundle, valid } => {
                let found = strict::from_str::<ReceiptProofBundle>(bundle).is_ok_and(|bundle| {
                    verify(&bundle.checkpoint).is_ok()
                        && verify_receipt(&bundle.receipt, &bundle.inclusion, &bundle.checkpoint.body).is_ok()
                        && chio_core::receipt::verify(bundle.receipt.text()).valid()
                });
                same("valid", *valid, found)
            }
        }
    }
}

/// A tree with everything that proofs are made from.
struct Tree {
    leaves: Vec<String>,
    nodes: BTreeMap<(u8, u64), MerkleHash>,
    roots: Vec<MerkleHash>,
}

impl Tree {
    fn of(leaves: &[String]) -> Self {
        let (mut frontier, mut nodes) = (Frontier::new(), BTreeMap::new());
        let mut roots = vec![frontier.root()];
        for leaf in leaves {
            let keep = |id: NodeId, hash| nodes.extend([((id.level, id.index), hash)]);
            frontier.append(leaf_hash(leaf.as_bytes()), keep).unwrap();
            roots.push(frontier.root());
        }
        Self { leaves: leaves.to_vec(), nodes, roots }
    }

    fn root(&self, size: usize) -> MerkleHash {
        self.roots[size]
    }

    fn inclusion(&self, size: u64, index: u64) -> Vec<MerkleHash> {
        inclusion_proof(size, index, |id| Ok::<_, MerkleFault>(self.nodes[&(id.level, id.index)])).unwrap()
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<MerkleHash> {
        consistency_proof(old, new, |id| Ok::<_, MerkleFault>(self.nodes[&(id.level, id.index)])).unwrap()
    }

    fn proofs(&self) -> Vec<Named<Case>> {
        let mut cases = Vec::new();
        for size in 0..self.roots.len() {
            let case = Case::Root { leaves: self.leaves[..size].to_vec(), root: self.root(size) };
            cases.push(named(format!("root-{size}"), "", case));
        }
        for size in [1, 2, 3, 5, 7, 8, 9] {
            for index in 0..size {
                let id = format!("inclusion-{size}-{index}");
                cases.push(named(id, "", self.included(size, index, |_| {})));
            }
        }
        for (old, new) in
            [(1, 1), (1, 2), (1, 9), (2, 3), (3, 4), (3, 7), (4, 7), (6, 8), (7, 8), (8, 9), (9, 9)]
        {
            cases.push(named(format!("consistency-{old}-{new}"), "", self.consistent(old, new, |_| {})));
        }
        cases
    }

    fn included(&self, size: u64, index: u64, edit: fn(&mut Case)) -> Case {
        let leaf = self.leaves[usize::try_from(index).unwrap()].clone();
        let root = self.root(usize::try_from(size).unwrap());
        let mut case =
            Case::Inclusion { leaf, index, size, path: self.inclusion(size, index), root, valid: true };
        edit(&mut case);
        case
    }

    fn consistent(&self, old: u64, new: u64, edit: fn(&mut Case)) -> Case {
        let root = |size: u64| self.root(usize::try_from(size).unwrap());
        let path = self.consistency(old, new);
        let mut case =
            Case::Consistency { old, old_root: root(old), new, new_root: root(new), path, valid: true };
        edit(&mut case);
        case
    }
}

fn flip(hash: &mut MerkleHash) {
    let mut bytes = *hash.as_bytes();
    bytes[31] ^= 1;
    *hash = MerkleHash::from_bytes(bytes);
}

fn spoilt_proofs(tree: &Tree) -> Vec<Named<Case>> {
    let included = |id: &str, about: &str, edit: fn(&mut Case)| named(id, about, tree.included(7, 4, edit));
    let consistent =
        |id: &str, about: &str, edit: fn(&mut Case)| named(id, about, tree.consistent(3, 7, edit));
    macro_rules! spoil {
        ($kind:ident, $case:ident, |$($field:ident),+| $change:expr) => {
            |$case| {
                if let Case::$kind { valid, $($field,)+ .. } = $case {
                    *valid = false;
                    $change;
                }
            }
        };
    }
    vec![
        included(
            "inclusion-size-unproven",
            "the path of leaf 4 looks alike with seven and eight leaves: it proves the root, and the signed checkpoint \
             states the size",
            |case| {
                if let Case::Inclusion { size, .. } = case {
                    *size = 8;
                }
            },
        ),
        included("inclusion-other-leaf", "", spoil!(Inclusion, case, |leaf| leaf.push('x'))),
        included(
            "inclusion-other-index",
            "the neighbour's place",
            spoil!(Inclusion, case, |index| *index = 5),
        ),
        included("inclusion-other-size", "another tree", spoil!(Inclusion, case, |size| *size = 9)),
        included("inclusion-outside", "no such leaf", spoil!(Inclusion, case, |index| *index = 7)),
        included("inclusion-other-root", "", spoil!(Inclusion, case, |root| flip(root))),
        included(
            "inclusion-short",
            "the last hash is missing",
            spoil!(Inclusion, case, |path| path.truncate(path.len() - 1)),
        ),
        included(
            "inclusion-long",
            "one hash too many",
            spoil!(Inclusion, case, |path, root| path.push(*root)),
        ),
        included("inclusion-swapped", "", spoil!(Inclusion, case, |path| path.swap(0, 1))),
        included(
            "inclusion-node-as-leaf",
            "an inner node is no leaf",
            spoil!(Inclusion, case, |path, size, index| {
                path.remove(0);
                *size = 4;
                *index = 2;
            }),
        ),
        included(
            "inclusion-huge",
            "sizes far beyond the path",
            spoil!(Inclusion, case, |size, index| {
                *size = u64::MAX;
                *index = u64::MAX - 1;
            }),
        ),
        consistent(
            "consistency-other-old-root",
            "the old log was another",
            spoil!(Consistency, case, |old_root| flip(old_root)),
        ),
        consistent("consistency-other-new-root", "", spoil!(Consistency, case, |new_root| flip(new_root))),
        consistent(
            "consistency-rewritten",
            "one hash of the path",
            spoil!(Consistency, case, |path| flip(&mut path[1])),
        ),
        consistent("consistency-short", "", spoil!(Consistency, case, |path| path.truncate(path.len() - 1))),
        consistent("consistency-empty", "", spoil!(Consistency, case, |path| path.clear())),
        consistent(
            "consistency-shrunk",
            "a log that lost receipts",
            spoil!(Consistency, case, |old, new, old_root, new_root| {
                std::mem::swap(old, new);
                std::mem::swap(old_root, new_root);
            }),
        ),
        consistent(
            "consistency-from-nothing",
            "from the empty log everything would be consistent",
            spoil!(Consistency, case, |old, path| {
                *old = 0;
                path.clear();
            }),
        ),
    ]
}

fn checkpoint(body: Value, signer: u8) -> Value {
    json!({"signature": signature(&body, signer), "body": body})
}

fn checkpoint_body(tree: &Tree, seq: u64, start: u64, end: usize, previous: Option<&Value>) -> Value {
    let mut body = json!({
        "batch_end_seq": end,
        "batch_start_seq": start,
        "checkpoint_seq": seq,
        "issued_at": NOW + 10 * seq,
        "kernel_key": public(KERNEL),
        "merkle_root": tree.root(end),
        "schema": "chio.checkpoint_statement.v1",
        "tree_size": end,
    });
    if let Some(previous) = previous {
        body["previous_checkpoint_sha256"] = json!(hash(&previous["body"]));
    }
    body
}

fn checkpoints(tree: &Tree) -> Vec<Named<Case>> {
    let first = checkpoint(checkpoint_body(tree, 1, 1, 3, None), KERNEL);
    let second = checkpoint(checkpoint_body(tree, 2, 4, 7, Some(&first)), KERNEL);
    let third = checkpoint(checkpoint_body(tree, 3, 8, 9, Some(&second)), KERNEL);
    let alone = |id: &str, about: &str, checkpoint: &Value, fault: Option<&str>| {
        named(id, about, Case::Checkpoint { checkpoint: text(checkpoint), fault: fault.map(Into::into) })
    };
    let edited = |id: &str, about: &str, fault: &str, edit: fn(&mut Value)| {
        let mut body = second["body"].clone();
        edit(&mut body);
        alone(id, about, &checkpoint(body, KERNEL), Some(fault))
    };
    let follows = |id: &str,
                   about: &str,
                   previous: &Value,
                   next: &Value,
                   path: Vec<MerkleHash>,
                   fault: Option<&str>| {
        let (previous, next) = (text(previous), text(next));
        named(id, about, Case::Successor { previous, next, consistency: path, fault: fault.map(Into::into) })
    };
    let forked = Tree::of(&(0..9).map(|leaf| format!("fork-{leaf}")).collect::<Vec<_>>());
    let fork = checkpoint(checkpoint_body(&forked, 2, 4, 7, Some(&first)), KERNEL);
    let mut other_first = first["body"].clone();
    other_first["issued_at"] = json!(NOW);
    let unchained =
        checkpoint(checkpoint_body(tree, 2, 4, 7, Some(&checkpoint(other_first, KERNEL))), KERNEL);
    let gap = checkpoint(checkpoint_body(tree, 2, 5, 7, Some(&first)), KERNEL);
    let mut cases = vec![
        alone("checkpoint-first", "", &first, None),
        alone("checkpoint-second", "it names the one before", &second, None),
        alone("checkpoint-other-signer", "", &checkpoint(first["body"].clone(), STRANGER), Some("signature")),
        edited("checkpoint-first-with-previous", "nothing comes before the first", "inconsistent", |body| {
            body["checkpoint_seq"] = json!(1)
        }),
        edited("checkpoint-zero", "counted from one", "inconsistent", |body| {
            body["checkpoint_seq"] = json!(0)
        }),
        edited("checkpoint-size", "size and last receipt differ", "inconsistent", |body| {
            body["tree_size"] = json!(8)
        }),
        edited("checkpoint-batch-empty", "a batch that ends before it begins", "inconsistent", |body| {
            body["batch_start_seq"] = json!(8)
        }),
        edited("checkpoint-weak-key", "", "key", |body| {
            body["kernel_key"] = json!(format!("01{}", "0".repeat(62)))
        }),
        edited("checkpoint-unknown-version", "", "malformed", |body| {
            body["schema"] = json!("chio.checkpoint_statement.v2")
        }),
        edited("checkpoint-unknown-member", "", "malformed", |body| body["note"] = json!(1)),
        follows(
            "successor",
            "the log grew from three to seven",
            &first,
            &second,
            tree.consistency(3, 7),
            None,
        ),
        follows("successor-again", "and to nine", &second, &third, tree.consistency(7, 9), None),
        follows(
            "successor-skipped",
            "one is missing in between",
            &first,
            &third,
            tree.consistency(3, 9),
            Some("not_successor"),
        ),
        follows("successor-backwards", "", &second, &first, tree.consistency(3, 7), Some("not_successor")),
        follows(
            "successor-unchained",
            "it names another predecessor",
            &first,
            &unchained,
            tree.consistency(3, 7),
            Some("not_successor"),
        ),
        follows(
            "successor-gap",
            "receipt 4 belongs to nobody",
            &first,
            &gap,
            tree.consistency(3, 7),
            Some("not_successor"),
        ),
        follows(
            "successor-forked",
            "signed and chained, but of another log",
            &first,
            &fork,
            tree.consistency(3, 7),
            Some("not_extension"),
        ),
        follows("successor-unproven", "without a proof", &first, &second, Vec::new(), Some("not_extension")),
    ];
    for member in second["body"].as_object().unwrap().keys().filter(|member| *member != "schema") {
        let spoilt = tampered(&second, &format!("/body/{member}"));
        // A tampered key may be no point at all; either way nobody signed this.
        let fault = if member == "kernel_key" { key_fault(&spoilt) } else { "signature" };
        cases.push(alone(
            &format!("checkpoint-tampered-{member}"),
            "changed after it was signed",
            &spoilt,
            Some(fault),
        ));
    }
    cases
}

fn key_fault(checkpoint: &Value) -> &'static str {
    let key = checkpoint["body"]["kernel_key"].as_str().unwrap();
    if chio_core::keys::PublicKey::parse(key).is_ok() { "signature" } else { "key" }
}

fn bundles() -> Vec<Named<Case>> {
    let receipts: Vec<Value> = (1..=5)
        .map(|seq| sign(with(&receipts::body(), "id", json!(format!("rcpt-{seq}"))), KERNEL))
        .collect();
    let tree = Tree::of(&receipts.iter().map(text).collect::<Vec<_>>());
    let statement = checkpoint(checkpoint_body(&tree, 1, 1, 5, None), KERNEL);
    let bundle = json!({
        "checkpoint": statement,
        "inclusion": {
            "checkpoint_seq": 1,
            "leaf_index": 2,
            "merkle_root": tree.root(5),
            "proof": {"audit_path": tree.inclusion(5, 2), "leaf_index": 2, "tree_size": 5},
            "receipt_seq": 3,
        },
        "receipt": receipts[2],
    });
    let case = |id: &str, about: &str, bundle: &Value, valid: bool| {
        named(id, about, Case::Bundle { bundle: text(bundle), valid })
    };
    let set = |pointer: &str, value: Value| {
        let mut bundle = bundle.clone();
        *bundle.pointer_mut(pointer).unwrap() = value;
        bundle
    };
    vec![
        case("bundle", "receipt 3 of 5", &bundle, true),
        case(
            "bundle-other-receipt",
            "a good receipt that stands elsewhere in the log",
            &set("/receipt", receipts[3].clone()),
            false,
        ),
        case("bundle-tampered-receipt", "", &tampered(&bundle, "/receipt/timestamp"), false),
        case(
            "bundle-named-algorithm",
            "the leaf is the whole receipt, also what is not signed",
            &set("/receipt", with(&receipts[2], "algorithm", json!("ed25519"))),
            false,
        ),
        case("bundle-other-place", "", &tampered(&bundle, "/inclusion/leaf_index"), false),
        case("bundle-other-number", "", &tampered(&bundle, "/inclusion/receipt_seq"), false),
        case("bundle-other-checkpoint", "", &tampered(&bundle, "/inclusion/checkpoint_seq"), false),
        case("bundle-other-size", "", &tampered(&bundle, "/inclusion/proof/tree_size"), false),
        case("bundle-other-root", "", &tampered(&bundle, "/inclusion/merkle_root"), false),
        case("bundle-tampered-checkpoint", "", &tampered(&bundle, "/checkpoint/body/issued_at"), false),
        case("bundle-without-proof", "", &without(&bundle, "inclusion"), false),
    ]
}

fn name(fault: &CheckpointFault) -> &'static str {
    match fault {
        CheckpointFault::Key { .. } => "key",
        CheckpointFault::Signature { .. } => "signature",
        CheckpointFault::Inconsistent { .. } => "inconsistent",
        CheckpointFault::NotSuccessor { .. } => "not_successor",
        CheckpointFault::NotExtension { .. } => "not_extension",
        _ => "another fault",
    }
}
