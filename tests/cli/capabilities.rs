//! The life of a capability on the command line.

use serde_json::Value;

use crate::program::Program;

#[test]
fn issued_inspected_verified_narrowed_and_revoked() {
    let program = Program::new();
    let (first_key, first) = program.holder();
    let (second_key, second) = program.holder();
    let (_, third) = program.holder();
    let issue = ["capability", "issue", "--subject", &first, "--server", "fs", "--tool", "*", "--delegate"];
    let root =
        program.run(issue.iter().chain(&["--max-invocations", "10", "--ttl", "1h", "--json"])).expect(0);
    let token = root.json();
    assert_eq!(token["subject"], Value::from(first.as_str()));
    assert_eq!(token["scope"]["grants"][0]["max_invocations"], 10);
    assert_eq!(token["expires_at"].as_u64().unwrap() - token["issued_at"].as_u64().unwrap(), 3600);
    let root = program.file("root.json", &root.out);

    let seen = program.run(["capability", "inspect", &root]).expect(0).out;
    assert!(seen.contains("fs/*") && seen.contains("at most 10 calls"), "{seen}");
    program.run(["capability", "verify", &root]).expect(0);
    program.run(["capability", "verify", &root, "--at", "2001-01-01"]).expect(2);
    program.feed(["capability", "verify", "-"], &std::fs::read_to_string(&root).unwrap()).expect(0);

    let narrow =
        ["capability", "attenuate", &root, "--key", &first_key, "--subject", &second, "--delegate", "--json"];
    let child = program
        .run(narrow.iter().chain(&[
            "--tool",
            "read",
            "--max-invocations",
            "5",
            "--add-constraint",
            "path_prefix=/work",
        ]))
        .expect(0);
    let grant = &child.json()["scope"]["grants"][0];
    assert_eq!((grant["tool_name"].as_str(), grant["max_invocations"].as_u64()), (Some("read"), Some(5)));
    assert_eq!(grant["constraints"][0]["type"], "path_prefix");
    let child = program.file("child.json", &child.out);
    let narrow = ["capability", "attenuate", &child, "--key", &second_key, "--subject", &third, "--json"];
    let grandchild = program.run(narrow.iter().chain(&["--ttl", "60"])).expect(0);
    assert_eq!(grandchild.json()["delegation_chain"].as_array().unwrap().len(), 2);
    let grandchild = program.file("grandchild.json", &grandchild.out);

    program.run(["capability", "verify", &grandchild]).expect(3);
    let verify = ["capability", "verify", &grandchild, "--ancestors", &root, "--ancestors", &child];
    program.run(verify).expect(0);
    // A kernel of a home with this policy admits no chain as long.
    std::fs::write(program.home().join("policy.yaml"), "kernel: { delegation_depth_limit: 1 }\n").unwrap();
    program.run(verify).expect(2);
    std::fs::remove_file(program.home().join("policy.yaml")).unwrap();
    let stranger = Program::new();
    stranger.run(verify).expect(3);
    let issuer = token["issuer"].as_str().unwrap();
    stranger.run(verify.iter().chain(&["--trust-issuer", issuer])).expect(0);

    program.run(["capability", "revoke", token["id"].as_str().unwrap()]).expect(0);
    let revoked = program.run(verify.iter().chain(&["--json"])).expect(2).json();
    assert_eq!(revoked["revoked"], token["id"]);
    let again =
        program.run(["capability", "revoke", token["id"].as_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(again["new"], false);
}

#[test]
fn what_would_be_wider_is_not_made() {
    let program = Program::new();
    let (key, holder) = program.holder();
    let issue = ["capability", "issue", "--subject", &holder, "--server", "fs", "--tool", "read", "--json"];
    let closed = program.run(issue).expect(0).out;
    let narrow = ["capability", "attenuate", closed.trim(), "--key", &key, "--subject", &holder, "--json"];
    program.run(narrow).expect(1);
    let open = program.run(issue.iter().chain(&["--delegate", "--max-invocations", "3"])).expect(0).out;
    let narrow = ["capability", "attenuate", open.trim(), "--key", &key, "--subject", &holder, "--json"];
    for wider in [["--tool", "write"], ["--max-invocations", "4"], ["--ttl", "2d"], ["--server", "other"]] {
        let ran = program.run(narrow.iter().chain(&wider)).expect(1);
        assert!(ran.out.is_empty() && ran.err.starts_with("error: "), "{ran:#?}");
    }
    program.run(narrow).expect(0);
    let (stranger, _) = program.holder();
    program.run(["capability", "attenuate", open.trim(), "--key", &stranger, "--subject", &holder]).expect(1);
}

#[test]
fn a_changed_token_is_invalid() {
    let program = Program::new();
    let (_, holder) = program.holder();
    let issue = ["capability", "issue", "--subject", &holder, "--server", "fs", "--tool", "read", "--json"];
    let token = program.run(issue).expect(0).out;
    let changed = token.replace("\"read\"", "\"writ\"");
    assert_ne!(token, changed);
    program.run(["capability", "verify", changed.trim()]).expect(2);
    program.run(["capability", "verify", "{\"id\":1}"]).expect(2);
    program.run(["capability", "verify", "no-such-file"]).expect(1);
}

#[test]
fn the_policy_of_the_home_limits_the_validity() {
    let program = Program::new();
    let (_, holder) = program.holder();
    let issue = [
        "capability",
        "issue",
        "--subject",
        &holder,
        "--server",
        "fs",
        "--tool",
        "read",
        "--ttl",
        "1d",
        "--json",
    ];
    program.run(issue).expect(0);
    program.run(["init"]).expect(0);
    let refused = program.run(issue).expect(1);
    assert!(refused.err.contains("3600") && refused.err.contains("policy.yaml"), "{}", refused.err);
}

#[test]
fn a_manifest_is_signed_and_checked() {
    let program = Program::new();
    let (key, publisher) = program.holder();
    let manifest = serde_json::json!({
        "schema": "chio.manifest.v1", "server_id": "fs", "name": "Files", "description": null, "version": "1.0.0",
        "public_key": publisher, "required_permissions": null,
        "tools": [{
            "name": "read", "description": "Reads.", "input_schema": {"type": "object"}, "has_side_effects": false,
            "latency_hint": null,
        }],
    });
    let signed = program.run(["manifest", "sign", &manifest.to_string(), "--key", &key]).expect(0).out;
    program.run(["manifest", "verify", signed.trim()]).expect(3);
    program.run(["manifest", "verify", signed.trim(), "--key", &publisher]).expect(0);
    let changed = signed.replace("Reads.", "Sends.");
    program.run(["manifest", "verify", changed.trim(), "--key", &publisher]).expect(2);
    let (other, _) = program.holder();
    program.run(["manifest", "sign", &manifest.to_string(), "--key", &other]).expect(1);
}
