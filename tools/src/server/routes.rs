//! The one table of what can be asked, who may ask it, and what is answered.
//! The router, the check of scopes and the OpenAPI description are made from
//! it.

use axum::http::Method;
use thingdb::Scope;

use super::call::{Answer, Call};
use super::encoding::{EVENTS, FRAMES, JSON, NDJSON, PROOF, RECEIPT, TEXT};
use super::route::{Content, Id, Kind, MAX_NUMBER, MAX_PAGE, MAX_WAIT, Needs, Parameter, Reply, Route, Shape, handler};
use super::{
    checkpoint, description, entries, erasures, export, forks, have, health, import, info, proof, stats, sync, things,
    witness,
};

const PREFIX: Parameter = Parameter { name: "prefix", kind: Kind::Text, about: "Only things whose id begins so" };
const LIMIT: Parameter = Parameter { name: "limit", kind: Kind::Count(MAX_PAGE), about: "At most this many; 100" };
const BASE64: Parameter = Parameter {
    name: "base64",
    kind: Kind::Flag,
    about: "The bytes of the data in base64, JSON too: nothing of its spelling is lost",
};
const ACCEPT: Parameter = Parameter { name: "Accept", kind: Kind::Text, about: "In which form to answer" };

/// The description of all routes.
async fn described(_: Call) -> Answer {
    description::answer_with(all)
}

/// All routes.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(sync::ROUTES).chain(witness::ROUTES)
}

static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/healthz",
        needs: Needs::Nothing,
        name: "healthz",
        about: "Whether the server answers",
        id: None,
        query: &[],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "It does", content: &[Content(TEXT, Shape::Text)] }],
        problems: &[],
        handler: handler!(health::alive),
    },
    Route {
        method: Method::GET,
        path: "/readyz",
        needs: Needs::Token,
        name: "readyz",
        about: "Whether the database can be written to and the disk has room",
        id: None,
        query: &[],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "It can", content: &[Content(TEXT, Shape::Text)] }],
        problems: &[],
        handler: handler!(health::ready),
    },
    Route {
        method: Method::GET,
        path: "/info",
        needs: Needs::Token,
        name: "info",
        about: "What this node is, what it takes, and what the token allows",
        id: None,
        query: &[],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "The node", content: &[Content(JSON, Shape::One("Info"))] }],
        problems: &[],
        handler: handler!(info::info),
    },
    Route {
        method: Method::GET,
        path: "/openapi.json",
        needs: Needs::Token,
        name: "openapi",
        about: "This description",
        id: None,
        query: &[],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "OpenAPI 3.1", content: &[Content(JSON, Shape::Any)] }],
        problems: &[],
        handler: handler!(described),
    },
    Route {
        method: Method::GET,
        path: "/things",
        needs: Needs::Scope(Scope::Read),
        name: "things",
        about: "Things in the order of their ids, page by page: `Link` with `rel=\"next\"` is the next one",
        id: None,
        query: &[
            PREFIX,
            Parameter { name: "after", kind: Kind::Text, about: "Only things after this one" },
            Parameter { name: "similar", kind: Kind::Text, about: "Only things with names like this, three at most" },
            LIMIT,
        ],
        headers: &[ACCEPT],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "A page of things",
            content: &[Content(JSON, Shape::Many("Thing")), Content(NDJSON, Shape::Text)],
        }],
        problems: &[400, 403, 406],
        handler: handler!(things::list),
    },
    Route {
        method: Method::GET,
        path: "/things/{id}",
        needs: Needs::Scope(Scope::Read),
        name: "thing",
        about: "The latest entry of a thing, or an older one",
        id: Some(Id::Thing),
        query: &[
            Parameter {
                name: "seq",
                kind: Kind::Number(MAX_NUMBER),
                about: "The entry with this seq; of several, the one that counts as latest",
            },
            Parameter { name: "at", kind: Kind::Text, about: "The entry that was the latest at this time" },
            Parameter { name: "strict", kind: Kind::Flag, about: "409 if the thing has several heads" },
            BASE64,
        ],
        headers: &[Parameter {
            name: "If-None-Match",
            kind: Kind::Text,
            about: "Entry ids in quotes: 304 if one of them is the entry and the only head",
        }],
        body: &[],
        answers: &[
            Reply { status: 200, about: "The entry; `ETag` is its id", content: &[Content(JSON, Shape::One("Entry"))] },
            Reply { status: 304, about: "It is the one that is known", content: &[] },
        ],
        problems: &[400, 403, 404, 409, 422],
        handler: handler!(things::latest),
    },
    Route {
        method: Method::GET,
        path: "/things/{id}/entries",
        needs: Needs::Scope(Scope::Read),
        name: "history",
        about: "The history of a thing, oldest first, page by page: `Link` with `rel=\"next\"` is the next one",
        id: Some(Id::Thing),
        query: &[
            Parameter { name: "since", kind: Kind::Text, about: "From this seq or time on" },
            Parameter { name: "until", kind: Kind::Text, about: "Up to this seq or time" },
            Parameter { name: "newest_first", kind: Kind::Flag, about: "The newest first" },
            Parameter { name: "after_seq", kind: Kind::Number(MAX_NUMBER), about: "Only entries with a greater seq" },
            Parameter { name: "before_seq", kind: Kind::Number(MAX_NUMBER), about: "Only entries with a smaller seq" },
            LIMIT,
            BASE64,
        ],
        headers: &[ACCEPT],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "A page of entries; entries of one seq are on one page",
            content: &[Content(JSON, Shape::Many("Entry")), Content(NDJSON, Shape::Text)],
        }],
        problems: &[400, 403, 404, 406, 422],
        handler: handler!(things::history),
    },
    Route {
        method: Method::GET,
        path: "/things/{id}/proof",
        needs: Needs::Scope(Scope::Read),
        name: "proof",
        about: "A file by which a stranger, without a database, believes the history of a thing or a part of it. \
                Whoever has the file reads what is shown, unless `to` names the one reader",
        id: Some(Id::Thing),
        query: &[
            Parameter { name: "since", kind: Kind::Count(MAX_NUMBER), about: "From this seq on" },
            Parameter { name: "until", kind: Kind::Count(MAX_NUMBER), about: "Up to this seq" },
            Parameter { name: "entry", kind: Kind::Text, about: "Only these entries: ids, with commas between them" },
            Parameter {
                name: "withhold",
                kind: Kind::Text,
                about: "Entries whose content is not shown: seqs or ids, with commas between them",
            },
            Parameter { name: "stubs_only", kind: Kind::Flag, about: "Show no content at all" },
            Parameter { name: "absent", kind: Kind::Flag, about: "Show that there is no such thing: 422 if there is" },
            Parameter { name: "to", kind: Kind::Text, about: "Show content only to the owner of this card, its text" },
            Parameter {
                name: "fields",
                kind: Kind::Text,
                about: "Show these fields only, of entries that were written so that it can be done: JSON pointers, \
                        `@actor`, `@action`, `@media-type`, with commas between them, or a JSON array of them",
            },
            Parameter {
                name: "checkpoint",
                kind: Kind::Text,
                about: "Show that the ledger grew out of this checkpoint of the node, which somebody kept: 409 if not",
            },
            Parameter {
                name: "form",
                kind: Kind::Text,
                about: "For tools of others, with `entry` alone, which names one entry: `tlog-proof` \
                        (c2sp.org/tlog-proof) or `cose` (a receipt, RFC 9942)",
            },
        ],
        headers: &[],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "The proof file (docs/format.md); one that breaks off lacks its last line. With `form` the proof \
                    of the one entry",
            content: &[Content(PROOF, Shape::Text), Content(TEXT, Shape::Text), Content(RECEIPT, Shape::Bytes)],
        }],
        problems: &[400, 403, 404, 409, 422],
        handler: handler!(proof::prove),
    },
    Route {
        method: Method::POST,
        path: "/things/{id}/entries",
        needs: Needs::Scope(Scope::Write),
        name: "write",
        about: "Writes an entry, signed by an actor of this node. The body is the data, its media type that of the data",
        id: Some(Id::Thing),
        query: &[
            Parameter { name: "action", kind: Kind::Text, about: "create, update, retire, or another word" },
            Parameter { name: "actor", kind: Kind::Text, about: "Who signs, an actor of this node by name" },
            Parameter {
                name: "fields_provable",
                kind: Kind::Flag,
                about: "Keep it possible to show single fields of it later, the rest hidden (`fields` of a proof)",
            },
            Parameter {
                name: "public",
                kind: Kind::Flag,
                about: "Everybody who gets the entry can read it, for good; at most 64 KiB",
            },
        ],
        headers: &[
            Parameter {
                name: "If-Match",
                kind: Kind::Text,
                about: "The heads of the thing in quotes: 412 if it has others. * if it must exist",
            },
            Parameter { name: "If-None-Match", kind: Kind::Text, about: "*: 412 if the thing exists" },
        ],
        body: &[Content(JSON, Shape::Any), Content("application/octet-stream", Shape::Bytes)],
        answers: &[Reply {
            status: 201,
            about: "Written and durable; `ETag` is its id, `Location` its path",
            content: &[Content(JSON, Shape::One("Receipt"))],
        }],
        problems: &[400, 403, 408, 412, 413, 415, 422],
        handler: handler!(entries::write),
    },
    Route {
        method: Method::POST,
        path: "/things/{id}/erasures",
        needs: Needs::Scope(Scope::Erase),
        name: "erase",
        about: "Takes the content of entries away for good, with a record that an actor of this node signs and \
                everybody can read. The body says which entries (`all`, or `seqs` and `before`), `reason`, `basis` \
                and `actor`",
        id: Some(Id::Thing),
        query: &[Parameter { name: "dry_run", kind: Kind::Flag, about: "Only tell what would be signed" }],
        headers: &[],
        body: &[Content(JSON, Shape::Any)],
        answers: &[Reply {
            status: 200,
            about: "It is gone; with `dry_run` an `ErasurePlan`",
            content: &[Content(JSON, Shape::One("Erased"))],
        }],
        problems: &[400, 403, 404, 408, 413, 415, 422],
        handler: handler!(erasures::erase),
    },
    Route {
        method: Method::GET,
        path: "/erasures",
        needs: Needs::Scope(Scope::Read),
        name: "erasures",
        about: "Erasure records in the order of the ledger, page by page: `Link` with `rel=\"next\"` is the next one",
        id: None,
        query: &[
            Parameter { name: "thing", kind: Kind::Text, about: "Only those of this thing" },
            PREFIX,
            Parameter { name: "from", kind: Kind::Number(MAX_NUMBER), about: "Only from this ledger position on" },
            LIMIT,
        ],
        headers: &[ACCEPT],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "A page of records; it may be empty and not the last",
            content: &[Content(JSON, Shape::Many("ErasureRecord")), Content(NDJSON, Shape::Text)],
        }],
        problems: &[400, 403, 404, 406, 422],
        handler: handler!(erasures::list),
    },
    Route {
        method: Method::GET,
        path: "/entries/{id}",
        needs: Needs::Scope(Scope::Read),
        name: "entry",
        about: "All of one entry, by its id, which may be abbreviated to four digits or more",
        id: Some(Id::Entry),
        query: &[BASE64],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "The entry", content: &[Content(JSON, Shape::One("WholeEntry"))] }],
        problems: &[404, 409, 422],
        handler: handler!(entries::read),
    },
    Route {
        method: Method::GET,
        path: "/forks",
        needs: Needs::Scope(Scope::Read),
        name: "forks",
        about: "Things with several heads that no entry joins, page by page: `Link` with `rel=\"next\"` is the next one",
        id: None,
        query: &[
            Parameter { name: "thing", kind: Kind::Text, about: "Only this thing" },
            PREFIX,
            Parameter { name: "after", kind: Kind::Text, about: "Only things after this one" },
            LIMIT,
        ],
        headers: &[ACCEPT],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "A page of forks; it may be empty and not the last",
            content: &[Content(JSON, Shape::Many("Fork")), Content(NDJSON, Shape::Text)],
        }],
        problems: &[400, 403, 406, 422],
        handler: handler!(forks::list),
    },
    Route {
        method: Method::GET,
        path: "/stats",
        needs: Needs::Scope(Scope::Read),
        name: "stats",
        about: "What is stored, in numbers. Not for tokens that are for a prefix",
        id: None,
        query: &[],
        headers: &[],
        body: &[],
        answers: &[Reply { status: 200, about: "The numbers", content: &[Content(JSON, Shape::One("Counts"))] }],
        problems: &[403],
        handler: handler!(stats::stats),
    },
    Route {
        method: Method::GET,
        path: "/export",
        needs: Needs::Scope(Scope::Export),
        name: "export",
        about: "Entries in the order of the ledger, as a stream with header and trailer. \
                `Thingdb-Next-Position` is what to give to `since` the next time",
        id: None,
        query: &[
            Parameter { name: "since", kind: Kind::Number(MAX_NUMBER), about: "Only from this ledger position on" },
            Parameter { name: "things", kind: Kind::Text, about: "Only things whose id begins so" },
            Parameter { name: "to", kind: Kind::Text, about: "What this peer may read, the rest as stubs" },
            Parameter { name: "only_addressed", kind: Kind::Flag, about: "With `to`: without stubs" },
            Parameter {
                name: "past_holes",
                kind: Kind::Flag,
                about: "Go on behind entries that cannot be read, and name them behind the trailer, as one line of \
                        JSON; else the stream breaks off there",
            },
            Parameter {
                name: "wait",
                kind: Kind::Number(MAX_WAIT),
                about: "If there is nothing new, wait for it so many seconds",
            },
        ],
        headers: &[
            ACCEPT,
            Parameter { name: "Last-Event-ID", kind: Kind::Text, about: "With events: the position to go on from" },
        ],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "The stream; as events it does not end",
            content: &[Content(NDJSON, Shape::Text), Content(EVENTS, Shape::Text), Content(FRAMES, Shape::Bytes)],
        }],
        problems: &[400, 403, 404, 406, 422],
        handler: handler!(export::export),
    },
    Route {
        method: Method::POST,
        path: "/import",
        needs: Needs::Scope(Scope::Import),
        name: "import",
        about: "Takes a stream in and stores what is not here. A line for each line that is refused, \
                while it runs, then the summary; or the summary with the reasons as one document",
        id: None,
        query: &[
            Parameter { name: "dry_run", kind: Kind::Flag, about: "Only tell what would become of it" },
            Parameter { name: "fail_fast", kind: Kind::Flag, about: "Stop at the first line that is refused: 422" },
        ],
        headers: &[ACCEPT],
        body: &[Content(NDJSON, Shape::Text), Content(JSON, Shape::Any), Content(FRAMES, Shape::Bytes)],
        answers: &[Reply {
            status: 200,
            about: "What became of it",
            content: &[Content(NDJSON, Shape::Text), Content(JSON, Shape::One("Imported"))],
        }],
        problems: &[400, 403, 406, 408, 413, 415, 422],
        handler: handler!(import::import),
    },
    Route {
        method: Method::POST,
        path: "/have",
        needs: Needs::Scope(Scope::Import),
        name: "have",
        about: "Which of these entries are not here",
        id: None,
        query: &[],
        headers: &[],
        body: &[Content(JSON, Shape::Many("EntryId"))],
        answers: &[Reply {
            status: 200,
            about: "Those that are missing",
            content: &[Content(JSON, Shape::One("Missing"))],
        }],
        problems: &[400, 403, 408, 413, 415, 422],
        handler: handler!(have::have),
    },
    Route {
        method: Method::GET,
        path: "/checkpoint",
        needs: Needs::Token,
        name: "checkpoint",
        about: "The signed state of the ledger: as text the note (C2SP), as JSON also the proof that the ledger of \
                `since` entries is a part of it",
        id: None,
        query: &[Parameter {
            name: "since",
            kind: Kind::Number(MAX_NUMBER),
            about: "The size of an older checkpoint, to be proven consistent with this one",
        }],
        headers: &[ACCEPT],
        body: &[],
        answers: &[Reply {
            status: 200,
            about: "The checkpoint",
            content: &[Content(TEXT, Shape::Text), Content(JSON, Shape::One("Checkpoint"))],
        }],
        problems: &[400, 406, 422],
        handler: handler!(checkpoint::checkpoint),
    },
];
