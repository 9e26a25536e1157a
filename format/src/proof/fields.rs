//! The fields of an entry in its line of a proof file.

use serde::de::MapAccess;

use crate::Error;
use crate::codec::within;
use crate::fields::{FieldName, MAX_FIELDS, MAX_SHOWN, ShownField, ShownFields};
use crate::header::MAX_PAYLOAD_BYTES;
use crate::json::{
    List, Members, Object, Seed, base64_array, escaped_base64, hashes, push_base64, push_number, push_string,
};

/// Hashes of the longest path.
const MAX_PATH_BYTES: usize = 16 * 32;

pub(super) fn encode(shown: &ShownFields, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"key\":\"");
    push_base64(out, &shown.key);
    out.extend_from_slice(b"\",\"count\":");
    push_number(out, u64::from(shown.count));
    out.extend_from_slice(b",\"shown\":[");
    for (place, field) in shown.fields.iter().enumerate() {
        if place != 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"index\":");
        push_number(out, u64::from(field.index));
        out.extend_from_slice(b",\"field\":");
        push_string(out, field.name.as_str());
        let path: Vec<u8> = field.path.iter().flat_map(|hash| hash.0).collect();
        for (name, bytes) in [("value", &field.value[..]), ("salt", &field.salt), ("path", &path)] {
            out.extend_from_slice(format!(",\"{name}\":\"").as_bytes());
            push_base64(out, bytes);
            out.push(b'"');
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

pub(super) struct WireFields;

impl Object for WireFields {
    const NAME: &'static str = "fields";
    const MEMBERS: &'static [&'static str] = &["key", "count", "shown"];
    type Value = ShownFields;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<ShownFields, A::Error> {
        let faults = members.faults;
        let (mut key, mut count, mut fields) = (None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "key" => members.text(name, &mut key, |text| base64_array(name, text))?,
                "count" => members.number(name, &mut count, |found| number(name, found))?,
                _ => {
                    let item = || Seed::<WireField>::new(faults);
                    members.value(name, &mut fields, List { name, faults, most: MAX_SHOWN, item })?;
                }
            }
        }
        Ok(ShownFields {
            key: members.need("key", key)?,
            count: members.need("count", count)?,
            fields: members.need("shown", fields)?,
        })
    }
}

struct WireField;

impl Object for WireField {
    const NAME: &'static str = "field that is shown";
    const MEMBERS: &'static [&'static str] = &["index", "field", "value", "salt", "path"];
    type Value = ShownField;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<ShownField, A::Error> {
        let (mut index, mut field, mut value, mut salt, mut path) = (None, None, None, None, None);
        let most = usize::try_from(MAX_PAYLOAD_BYTES).unwrap_or(usize::MAX);
        while let Some(name) = members.next()? {
            match name {
                "index" => members.number(name, &mut index, |found| number(name, found))?,
                "field" => members.text(name, &mut field, str::parse::<FieldName>)?,
                "value" => members.raw(name, &mut value, |text| escaped_base64(name, text, most))?,
                "salt" => members.text(name, &mut salt, |text| base64_array(name, text))?,
                _ => members.text(name, &mut path, |text| hashes(name, text, MAX_PATH_BYTES))?,
            }
        }
        Ok(ShownField {
            index: members.need("index", index)?,
            name: members.need("field", field)?,
            value: members.need("value", value)?,
            salt: members.need("salt", salt)?,
            path: members.need("path", path)?,
        })
    }
}

fn number(name: &'static str, found: u64) -> Result<u32, Error> {
    within(name, found, 0, u64::from(MAX_FIELDS))?;
    Ok(u32::try_from(found).unwrap_or(u32::MAX))
}
