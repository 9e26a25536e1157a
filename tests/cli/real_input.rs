//! The git history of a checkout becomes provenance.

use super::world::{Answer, World, skip};

/// Makes a repository with names and subjects that are hard to quote.
fn repository(world: &World) -> Option<Answer> {
    let made = world.shell(
        r#"
        git --version >/dev/null 2>&1 || exit 99
        export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
        git init -q repo && cd repo || exit 1
        git config user.name 'A "quoted" \ name'
        git config user.email a@example.org
        tab=$(printf '\t') newline='
'
        for name in plain 'with space' 'quo"te' 'back\slash' "tab${tab}here" "new${newline}line" 'é漢' -dash ':colon' 'Hx' \
            ',"action":"D",x' "it's" '$(true)`' 'sub/dir/file'
        do
            mkdir -p "./$(dirname -- "./$name")"
            printf 1 > "./$name"
        done
        git add -A && git commit -q -m "first \"commit\" \\ with${tab}tab$(printf '\033')[31m" || exit 1
        printf 2 > plain; printf 2 > './back\slash'
        git add -A && git commit -q -m "H ünïcode" || exit 1
        git rm -q plain && git commit -q -m 'removed' || exit 1
        "#,
    );
    (made.code != 99).then(|| made.ok())
}

#[test]
fn every_file_becomes_a_thing_and_every_commit_an_entry() {
    let world = World::new();
    if repository(&world).is_none() {
        return skip("there is no git");
    }
    let answer = world.shell("git-history.sh repo | thingdb append").ok();
    assert_eq!((answer.json()["added"].as_u64(), answer.json()["refused"].as_u64()), (Some(17), Some(0)));

    let names: Vec<String> =
        world.run(&["ls"]).ok().lines().iter().map(|thing| thing["thing"].as_str().unwrap().into()).collect();
    for name in ["plain", "with space", "-dash", ":colon", "Hx", "é漢", "it's", "$(true)`", "sub/dir/file"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    // What a thing id may not hold is in git's own quotes.
    for name in [r#""quo\"te""#, r#""back\\slash""#, r#""tab\there""#, r#""new\nline""#, r#"",\"action\":\"D\",x""#] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert_eq!(names.len(), 14);

    let log = world.run(&["log", "plain", "--reverse"]).ok().lines();
    let actions: Vec<&str> = log.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["create", "update", "retire"]);
    assert_eq!(log[0]["data"]["data"]["author"], "A \"quoted\" \\ name <a@example.org>");
    assert_eq!(log[0]["data"]["data"]["subject"], "first \"commit\" \\ with tab?[31m");
    assert_eq!(log[1]["data"]["data"]["subject"], "H ünïcode");
    assert_eq!(log[2]["data"]["data"]["mode"], "000000");
    assert_eq!(log[0]["data"]["data"]["commit"].as_str().unwrap().len(), 40);
    assert!(log[0]["data"]["time"].as_str().unwrap().starts_with("20"));
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 17);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_are_refused_and_named() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    if repository(&world).is_none() {
        return skip("there is no git");
    }
    let path = world.path("repo").join(std::ffi::OsStr::from_bytes(b"latin-\xe9"));
    if std::fs::write(path, "1").is_err() {
        return skip("this file system takes no names that are not UTF-8");
    }
    world.shell("cd repo && git add -A && git commit -q -m latin").ok();
    let answer = world.shell("git-history.sh repo | thingdb append").exit(6).says("line 18, column ");
    assert_eq!((answer.json()["added"].as_u64(), answer.json()["refused"].as_u64()), (Some(17), Some(1)));
}

#[test]
fn git_log_arguments_choose_the_part() {
    let world = World::new();
    if repository(&world).is_none() {
        return skip("there is no git");
    }
    let answer = world.shell("git-history.sh repo HEAD~1..HEAD -- plain | thingdb append").ok();
    assert_eq!(answer.json()["added"], 1);
    world.shell("git-history.sh /nowhere | thingdb append").ok();
}
