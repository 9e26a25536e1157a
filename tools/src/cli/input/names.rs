//! Names of actors and peers, as arguments give them.

use thingdb::trust::KnownActor;
use thingdb::{Actor, Db};

use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::text::{printable, quoted};

/// The name of the actor who signs: the one that was named, or the default.
pub(crate) fn signer(db: &Db, named: Option<&str>) -> Outcome<String> {
    let own = db.own_actors();
    let found = own.iter().find(|actor| named.map_or(actor.default, |name| actor.name == name));
    match (found, named) {
        (Some(actor), _) => Ok(actor.name.clone()),
        (None, Some(name)) => {
            let names: Vec<String> = own.iter().map(|actor| printable(&actor.name).into_owned()).collect();
            Err(Failure::not_found(format!("no actor of this database is named {}", printable(name)))
                .cause(format!("there are: {}", names.join(", ")))
                .hint(format!("thingdb actor new {}", quoted(name))))
        }
        (None, None) => Err(Failure::not_found("this database has no actor").hint("thingdb actor new NAME")),
    }
}

/// The peers that `--to` names: one, or several with commas between them. A
/// comma may be part of a name.
pub(crate) fn peers(db: &Db, names: &[String]) -> Vec<String> {
    let several = |name: &String| match db.peer(name) {
        Ok(_) => vec![name.clone()],
        Err(_) => name.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    names.iter().flat_map(several).collect()
}

/// Says that a name was that of another key, in which trust was withdrawn: what
/// that one signed is shown under it, too.
pub(crate) fn tell_namesake(console: &Console, db: &Db, name: &str, key: &Actor) {
    let is_other = |known: &KnownActor| known.name == name && known.key != *key && known.withdrawn.is_some();
    for other in db.known_actors().into_iter().filter(is_other) {
        let at = other.withdrawn.map(|at| at.to_string()).unwrap_or_default();
        let fact = format!(
            "{} is also the name of the key {}, in which trust was withdrawn on {at}: its entries bear it, too",
            printable(name),
            other.key
        );
        console.note(&fact);
        console.hint(&format!("thingdb actor rename {} OTHER-NAME", other.key));
    }
}
