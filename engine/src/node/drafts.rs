//! Drafts become entries but for their places: sealed in the caller's thread,
//! under a key of their own.

use std::collections::HashSet;
use std::sync::Arc;

use thingdb_format::{Attachment, Body, Cek, SigningKey, erasure, key_record, payload};

use super::Node;
use crate::access::actors;
use crate::committer::NewEntry;
use crate::entry::draft::{Draft, MAX_PUBLIC_BYTES};
use crate::error::{Error, Result};

impl Node {
    pub(super) fn seal(&self, drafts: Vec<Draft>) -> Result<Vec<NewEntry>> {
        let mut rng = rand::rng();
        let mut signers = Signers::default();
        let mut created = HashSet::new();
        let readers = self.store.readers();
        drafts
            .into_iter()
            .map(|draft| {
                let tag = self.store.tag(&draft.thing);
                if draft.key.is_none() && draft.thing.as_str().starts_with(key_record::RESERVED) {
                    return Err(Error::ReservedThing { thing: draft.thing });
                }
                let (name, signer, key) = match draft.key {
                    Some((record, name, signer)) => (name, signer, Some(record)),
                    None => {
                        let (name, signer) = signers.find(self, draft.actor.as_deref())?;
                        (name, signer, None)
                    }
                };
                let action = match &draft.action {
                    Some(action) => action,
                    None if !created.insert(tag) || self.store.state(&tag)?.is_some() => "update",
                    None => "create",
                };
                let attachment = draft.attachment.as_ref().map(|(media_type, bytes)| Attachment { media_type, bytes });
                let body = Body::with_attachment(&name, action, &draft.media_type, &draft.data, attachment)?;
                let body = match draft.fields_provable.unwrap_or(self.fields_provable) {
                    true => body.with_provable_fields(),
                    false => body,
                };
                // With another action it would be taken for one by people.
                if !draft.erases && draft.media_type == erasure::MEDIA_TYPE {
                    return Err(Error::ReservedRecord);
                }
                if draft.is_public && !draft.erases && draft.data.len() > MAX_PUBLIC_BYTES {
                    return Err(Error::PublicTooLarge { bytes: draft.data.len(), most: MAX_PUBLIC_BYTES });
                }
                if draft.is_public && draft.to.is_some() {
                    return Err(Error::PublicToSome);
                }
                // Everybody can open what is public.
                let to = if draft.is_public {
                    Vec::new()
                } else {
                    readers.keys(draft.thing.as_str(), draft.to.as_deref())?
                };
                let cek = Cek::generate(&mut rng);
                let sealed = payload::seal(self.suite, &cek, body)?;
                let expect = draft.expect;
                Ok(NewEntry {
                    thing: draft.thing,
                    tag,
                    signer,
                    expect,
                    suite: self.suite,
                    cek,
                    sealed,
                    to,
                    keep_cek: !readers.write_only || draft.is_public,
                    is_public: draft.is_public,
                    erases: draft.erases,
                    key,
                })
            })
            .collect()
    }
}

/// The actors of a batch, each looked up once.
#[derive(Default)]
struct Signers(Vec<(Option<String>, String, Arc<SigningKey>)>);

impl Signers {
    fn find(&mut self, node: &Node, name: Option<&str>) -> Result<(String, Arc<SigningKey>)> {
        if let Some((_, name, key)) = self.0.iter().find(|(asked, ..)| asked.as_deref() == name) {
            return Ok((name.clone(), Arc::clone(key)));
        }
        let keyring = node.store.keyring();
        let actor = match name {
            Some(name) => keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?,
            None => keyring.default_actor()?,
        };
        let logs = node.store.keys.logs();
        actors::check_trusted(&keyring, &logs, actor)?;
        actors::check_current(&logs, actor)?;
        let found = (actor.name.clone(), Arc::clone(&actor.key));
        self.0.push((name.map(str::to_owned), found.0.clone(), Arc::clone(&found.1)));
        Ok(found)
    }
}
