//! `thingdb hold`: what it says, and what it refuses.

use serde_json::json;

use super::world::World;

#[test]
fn a_hold_is_put_told_and_ended() {
    let world = World::new();
    world.run(&["put", "person-7", "{\"name\":\"Ada\"}"]).ok();
    assert_eq!(world.run(&["hold", "--json"]).ok().json(), json!([]));
    world.run(&["hold", "--format", "table"]).ok().says("nothing is on hold");
    // A thing and a reason go together.
    world.run(&["hold", "person-7"]).exit(2).says("--reason");
    world.run(&["hold", "--reason", "why"]).exit(2);
    world.run(&["hold", "person-7", "--reason", "why", "--release", "person-7"]).exit(2);
    world.run(&["hold", "nobody", "--reason", "why"]).exit(3).says("no thing named nobody");
    world.run(&["hold", "person-7", "--reason", ""]).exit(2);
    let told = world.run(&["hold", "person-7", "--reason", "a lawsuit", "--json"]).ok().json();
    assert_eq!(told, json!({"thing": "person-7", "held": true}));
    let listed = world.run(&["hold", "--json"]).ok().json();
    assert_eq!((&listed[0]["thing"], &listed[0]["reason"]), (&json!("person-7"), &json!("a lawsuit")));
    assert!(world.run(&["hold", "--format", "table"]).ok().stdout.contains("a lawsuit"));
    let refused = world.run(&["erase", "person-7", "--all", "--reason", "asked for", "--yes"]).exit(2);
    refused.says("error[on-hold]").says("person-7 is on hold: a lawsuit").says("thingdb hold");
    world.run(&["hold", "--release", "nobody"]).exit(3).says("nobody is not on hold");
    let told = world.run(&["hold", "--release", "person-7", "--json"]).ok().json();
    assert_eq!(told, json!({"thing": "person-7", "held": false}));
    world.run(&["erase", "person-7", "--all", "--reason", "asked for", "--yes"]).ok();
    let listed = world.run(&["erasures", "--json"]).ok().json();
    let receipt = &listed[0]["receipts"][0];
    assert_eq!(
        (&receipt["own"], &receipt["verdict"], &receipt["count"], &receipt["of"], &receipt["reason"]),
        (&json!(true), &json!("erased"), &json!(1), &json!(1), &json!(null))
    );
    assert!(receipt["note"].as_str().unwrap().starts_with("thingdb.receipt/"));
    assert_eq!(listed[0]["unanswered"], json!([]));
}
