//! What a client sends and takes: media types and compression, from its
//! headers.

use axum::http::{HeaderMap, StatusCode, header};

use super::problem::Problem;
use crate::bytes::compress::Compression;

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";
/// The media type of a JSON object a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// The media type of a binary stream of entries.
pub(crate) const FRAMES: &str = crate::sync::stream::MEDIA_TYPE;
/// The media type of a proof file.
pub(crate) const PROOF: &str = thingdb::format::proof::MEDIA_TYPE;
/// The media type of a COSE receipt.
pub(crate) const RECEIPT: &str = thingdb::format::receipt::MEDIA_TYPE;
/// The media type of server-sent events.
pub(crate) const EVENTS: &str = "text/event-stream";
/// The media type of plain text.
pub(crate) const TEXT: &str = "text/plain";

/// The media type of a witness's answer to whoever does not know what it knows.
pub(crate) const LOG_SIZE: &str = "text/x.tlog.size";

/// The one of `offered` that the client wants most; the first if it does not
/// say.
pub(crate) fn accepted(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let mut best: Option<(&'static str, u16)> = None;
    let wanted = list(headers, &header::ACCEPT);
    for offer in offered {
        let quality = if wanted.is_empty() { 1000 } else { quality_of(&wanted, offer) };
        if quality > best.map_or(0, |(_, best)| best) {
            best = Some((offer, quality));
        }
    }
    best.map(|(offer, _)| offer).ok_or_else(|| {
        let detail = format!("Accept takes none of what there is: {}", offered.join(", "));
        Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail)
    })
}

/// The quality that the most specific matching range gives to an offer, in
/// thousandths.
fn quality_of(wanted: &[(String, u16)], offer: &str) -> u16 {
    let kind = offer.split('/').next().unwrap_or_default();
    let matching = wanted.iter().filter_map(|(range, quality)| {
        let specific = match range.as_str() {
            "*/*" => 0,
            range if range.strip_suffix("/*") == Some(kind) => 1,
            range if range == offer => 2,
            _ => return None,
        };
        Some((specific, *quality))
    });
    matching.max().map_or(0, |(_, quality)| quality)
}

/// How the client wants a stream to be compressed.
pub(crate) fn compression(headers: &HeaderMap) -> Compression {
    let wanted = list(headers, &header::ACCEPT_ENCODING);
    let quality = |name: &str| {
        let named = wanted.iter().find(|(known, _)| known == name);
        named.or_else(|| wanted.iter().find(|(known, _)| known == "*")).map_or(0, |(_, quality)| *quality)
    };
    match (quality("zstd"), quality("gzip")) {
        (0, 0) => Compression::None,
        (zstd, gzip) if zstd >= gzip => Compression::Zstd,
        _ => Compression::Gzip,
    }
}

/// The name of a compression as `Content-Encoding` has it.
pub(crate) const fn content_encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::Zstd => Some("zstd"),
        Compression::Gzip => Some("gzip"),
        Compression::None => None,
    }
}

/// How a body is compressed.
pub(crate) fn compressed_with(headers: &HeaderMap) -> Result<Compression, Problem> {
    let names: Vec<&str> = headers.get_all(header::CONTENT_ENCODING).iter().filter_map(|it| it.to_str().ok()).collect();
    match names.join(",").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Compression::None),
        "zstd" => Ok(Compression::Zstd),
        "gzip" | "x-gzip" => Ok(Compression::Gzip),
        other => Err(unsupported(format!("a body compressed with {other:?} is not understood here"))
            .header(header::ACCEPT_ENCODING, "zstd, gzip")),
    }
}

/// The media type of the body, without parameters, in small letters.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// A body of a kind that is not understood.
pub(crate) fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
}

/// The elements of a list with their qualities, in thousandths.
fn list(headers: &HeaderMap, name: &header::HeaderName) -> Vec<(String, u16)> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(element).collect()
}

fn element(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(1.0, |text| text.parse::<f32>().unwrap_or(0.0));
    // Three digits are all that RFC 9110 gives a quality.
    Some((name, (quality.clamp(0.0, 1.0) * 1000.0) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))])
    }

    #[test]
    fn the_best_of_what_there_is_is_chosen() {
        let offered = [JSON, NDJSON];
        let best = |accept| accepted(&headers(header::ACCEPT, accept), &offered).ok();
        assert_eq!(accepted(&HeaderMap::new(), &offered).ok(), Some(JSON));
        assert_eq!(best("*/*"), Some(JSON));
        assert_eq!(best("application/x-ndjson"), Some(NDJSON));
        assert_eq!(best("application/*;q=0.5, application/json;q=0.1"), Some(NDJSON));
        assert_eq!(best("application/json;q=0, */*"), Some(NDJSON));
        assert_eq!(best("image/png"), None);
    }

    #[test]
    fn zstd_is_preferred_where_both_are_taken() {
        let best = |accept| compression(&headers(header::ACCEPT_ENCODING, accept));
        assert_eq!(best("gzip, deflate, zstd"), Compression::Zstd);
        assert_eq!(best("gzip, zstd;q=0.5"), Compression::Gzip);
        assert_eq!(best("gzip;q=0"), Compression::None);
        assert_eq!(best("*"), Compression::Zstd);
        assert_eq!(compression(&HeaderMap::new()), Compression::None);
    }

    #[test]
    fn encodings_upon_encodings_are_refused() {
        assert!(compressed_with(&headers(header::CONTENT_ENCODING, "gzip, zstd")).is_err());
        assert!(compressed_with(&headers(header::CONTENT_ENCODING, "br")).is_err());
        assert_eq!(compressed_with(&headers(header::CONTENT_ENCODING, "GZIP")).unwrap(), Compression::Gzip);
    }
}
